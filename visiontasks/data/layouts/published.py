"""Published sets, which are recognized by a file that each of them has."""

from dataclasses import dataclass, field
from os.path import normpath
from typing import Any

from visiontasks.data.layouts.base import Layout, Listing


@dataclass(frozen=True)
class Published:
    """A set that is known.

    Attributes:
        dataset: Name of the class that reads it.
        found: What it is, as a sentence without a dot.
        kind: Key of its target.
        options: Arguments of the class beside its root.
    """

    dataset: str
    found: str
    kind: str = "label"
    options: dict[str, Any] = field(default_factory=dict)


STREETS = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
CAMVID = {
    "images": "{split}",
    "masks": "{split}annot",
    "class_names": STREETS,
    "ignore": [11],  # void
}
MARKS = {  # a file that a set has
    "cifar-10-batches-py/data_batch_1": Published(
        "CIFAR10", "CIFAR-10, 10 classes in 50,000 + 10,000 images of 32 x 32 pixels"
    ),
    "FashionMNIST/raw/train-labels-idx1-ubyte": Published(
        "FashionMNIST", "Fashion-MNIST, 10 classes in 60,000 + 10,000 images"
    ),
    "MNIST/raw/train-labels-idx1-ubyte": Published("MNIST", "MNIST, the digits in 60,000 + 10,000 images"),
    "oxford-iiit-pet/annotations/list.txt": Published("OxfordIIITPet", "Oxford-IIIT Pet, or a part of it"),
    "trainannot/0001TP_006690.png": Published(
        "MaskFolder", "CamVid as SegNet divides it, 11 classes; the value 11 is void and does not count", "mask", CAMVID
    ),
}


def find_published(files: Listing) -> Layout | None:
    """Recognizes a set by a file, also if the folder is that of the set itself."""
    for mark, known in MARKS.items():
        inner = mark.partition("/")
        if files.root.resolve().name == inner[0] and inner[2] in files.names:
            root = normpath(files.root / "..")
        elif place := next((one for one in files.names if f"/{one}".endswith(f"/{mark}")), None):
            root = str(files.root / place[: -len(mark)])
        else:
            continue
        return Layout(known.kind, known.dataset, {"root": root, **known.options}, known.found, "certain")
    return None
