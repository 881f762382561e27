"""Published sets in the layout that torchvision reads."""

from os.path import normpath

from visiontasks.data.layouts.base import Layout, Listing

MARKS = {  # a file that a set has, its class and what it is
    "cifar-10-batches-py/data_batch_1": ("CIFAR10", "CIFAR-10, 10 classes in 50,000 + 10,000 images of 32 x 32 pixels"),
    "FashionMNIST/raw/train-labels-idx1-ubyte": ("FashionMNIST", "Fashion-MNIST, 10 classes in 60,000 + 10,000 images"),
    "MNIST/raw/train-labels-idx1-ubyte": ("MNIST", "MNIST, the digits in 60,000 + 10,000 images"),
    "oxford-iiit-pet/annotations/list.txt": ("OxfordIIITPet", "Oxford-IIIT Pet, or a part of it"),
}


def find_published(files: Listing) -> Layout | None:
    """Recognizes a set by a file, also if the folder is that of the set itself."""
    for mark, (name, found) in MARKS.items():
        inner = mark.partition("/")
        if files.root.resolve().name == inner[0] and inner[2] in files.names:
            return Layout("label", name, {"root": normpath(files.root / "..")}, found, "certain")
        if place := next((one for one in files.names if f"/{one}".endswith(f"/{mark}")), None):
            return Layout("label", name, {"root": str(files.root / place[: -len(mark)])}, found, "certain")
    return None
