"""Published datasets, read by torchvision."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock

from visiontasks.core.compat import Pets, read_pets
from visiontasks.core.errors import InputError
from visiontasks.core.images import read_size
from visiontasks.core.objects import Objects, make_objects
from visiontasks.data.datasets.base import FileSet, VisionDataset
from visiontasks.data.datasets.beside import ImageFiles
from visiontasks.data.datasets.masks import MaskFolder
from visiontasks.data.datasets.records import Box, area, checked_box
from visiontasks.data.datasets.voc import read_voc
from visiontasks.data.masks import MaskEncoding
from visiontasks.data.splits import Splits, SplitsLike, find_part

TRIMAP = MaskEncoding(2, values=[2, 1], ignore=[3])  # 1 is the animal, 2 the background, 3 the border between them
# in the order of their pixel values; 255 is the border of the objects
VOC_NAMES = [
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]  # fmt: skip


@contextmanager
def opening(name: str, root: str, download: bool) -> Generator[None]:
    """Lets one process at a time download, and turns torchvision's exceptions into an `InputError`."""
    try:
        if download:
            Path(root).mkdir(parents=True, exist_ok=True)
        with FileLock(Path(root) / ".download.lock") if download else nullcontext():  # every rank runs this
            yield
    except (OSError, RuntimeError, ValueError, AssertionError) as error:  # missing, modified or cut short
        advice = "Set `root` to the folder that holds it, or set `download: true`."
        raise InputError(f"{root}: torchvision does not find {name} there ({error}). {advice}") from None


class TorchvisionSet(VisionDataset):
    """A torchvision dataset with published train and test parts; val is a share of the train part.

    Args:
        split: train, val or test.
        root: Folder as for torchvision's class of the same name.
        download: Download missing files. By default nothing is ever downloaded.
        splits: How the published train part is divided into train and val.
    """

    _has_test = True

    def __init__(self, split: str, root: str, download: bool = False, splits: SplitsLike = Splits(val=0.1)) -> None:
        self._source, self._part = self._open(split, root, download), "test" if split == "test" else "train"
        labels = self._read_labels(self._source)
        there = ("train", "test") if self._has_test else ()
        _, divider = find_part(split, splits, there, type(self).__name__)
        self._chosen = divider.indices(split, labels.tolist()) if divider else np.arange(len(labels))
        self._labels = labels[self._chosen]

    def __len__(self) -> int:
        return len(self._chosen)

    def image(self, index: int) -> np.ndarray:
        image = np.asarray(self._source.data[self._chosen[index]])
        return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image

    def target(self, index: int) -> dict[str, Any]:
        return {"label": int(self._labels[index])}

    def name(self, index: int) -> str:
        return f"{self._part}/{self._chosen[index]}"

    def _read_labels(self, source: Any) -> np.ndarray:
        self.class_names = list(source.classes)
        return np.asarray(source.targets)

    def _open(self, part: str, root: str, download: bool, **options: Any) -> Any:
        from torchvision import datasets  # takes seconds, so only when it is used

        name = type(self).__name__
        with opening(name, root, download):
            return getattr(datasets, name)(root, download=download, **(options or {"train": part != "test"}))


class MNIST(TorchvisionSet):
    """Handwritten digits, 28x28 gray, 10 classes, 60,000 + 10,000."""


class FashionMNIST(TorchvisionSet):
    """Clothes, 28x28 gray, 10 classes, 60,000 + 10,000."""


class CIFAR10(TorchvisionSet):
    """Small photos, 32x32 RGB, 10 classes, 50,000 + 10,000."""


class OxfordIIITPet(FileSet, TorchvisionSet):
    """Oxford-IIIT Pet (Parkhi et al., CVPR 2012): 37 breeds of cats and dogs.

    Args:
        split: train, val or test.
        root: Folder that holds `oxford-iiit-pet`.
        classes: The breed, or the species: cat and dog.
        download: Download missing files.
        splits: How the published trainval list is divided into train and val, or all images into the three splits.
        head_boxes: Add the box of the head, which some images of trainval have.
        trimaps: Add the mask of background and animal; the border between them is ignored.
        parts: Use the `published` test list for test, or divide `all` images by `splits`, trainval before test.
        objects: Of several heads, use the `largest`, or `all` as the objects of an image; an image without a box is not
            annotated.
    """

    def __init__(
        self,
        split: str,
        root: str,
        classes: Literal["breed", "species"] = "breed",
        download: bool = False,
        splits: SplitsLike = Splits(val=0.2),
        head_boxes: bool = False,
        trimaps: bool = False,
        parts: Literal["published", "all"] = "published",
        objects: Literal["largest", "all"] = "largest",
    ) -> None:
        if objects == "all" and not head_boxes:
            raise InputError("OxfordIIITPet: `objects: all` are heads. Set `head_boxes: true`.")
        self._classes, self._root = classes, root
        self._has_test = parts == "published"
        self.mask_names = ["background", "animal"] if trimaps else []
        super().__init__(split, root, download, splits)
        self.paths = [self._source.images[i] for i in self._chosen]
        self.root = self.paths[0].parent
        self._all = objects == "all"
        self._boxes = self._read_boxes() if head_boxes else {}

    def target(self, index: int) -> dict[str, Any]:
        label, boxes = super().target(index), self._boxes.get(self.paths[index])
        if boxes is None:
            return label
        if self._all:
            return {**label, "objects": make_objects(boxes, [label["label"]] * len(boxes))}
        return {**label, "bbox": np.array(boxes[0], np.float32)}

    def objects(self, index: int) -> Objects:
        return self.target(index).get("objects") or super().objects(index)

    def mask(self, index: int) -> np.ndarray | None:
        path = self.paths[index]
        return TRIMAP.read(path.parents[1] / "annotations/trimaps" / f"{path.stem}.png") if self.mask_names else None

    def _read_boxes(self) -> dict[Path, list[Box]]:
        """Reads the boxes of the annotated images, the largest first."""
        boxes: dict[Path, list[Box]] = {}
        for path in self.paths:
            xml = path.parents[1] / "annotations" / "xmls" / f"{path.stem}.xml"
            if xml.is_file():
                found = read_voc(xml, ImageFiles(path.parent, [path]), path.stem).annotations
                known = [one.box for one in sorted(found, key=area, reverse=True) if one.box]
                if known := known if self._all else known[:1]:
                    size = read_size(path)
                    boxes[path] = [checked_box(box, size, "error", str(xml)) or box for box in known]
        return boxes

    def _open(self, part: str, root: str, download: bool, **options: Any) -> Any:
        names = ["test" if part == "test" else "trainval"] if self._has_test else ["trainval", "test"]
        published = super()._open
        parts = [read_pets(published(part, root, download, split=name)) for name in names]
        return Pets(*(list(chain(*lists)) for lists in zip(*parts, strict=True)))

    def _read_labels(self, source: Pets) -> np.ndarray:
        if self._classes == "species":
            self.class_names = ["cat", "dog"]
            return np.asarray(source.species)
        trainval = read_pets(super()._open("train", self._root, download=False, split="trainval"))
        self.class_names = trainval.classes  # in the order of their ids, which have gaps in a part of the set
        if unknown := set(source.classes) - set(self.class_names):
            raise InputError(f"{self._root}: {sorted(unknown)} in test.txt, but not in trainval.txt.")
        return np.searchsorted(np.unique(trainval.breeds), source.breeds)


class VOCSegmentation(MaskFolder):
    """Pascal VOC segmentation (Everingham et al., IJCV 2010): 20 classes and background; borders are ignored.

    train and val are the published lists; a test list was not published.

    Args:
        split: train, val or test.
        root: Folder that holds `VOCdevkit`, as for torchvision's class of the same name.
        year: 2007 to 2012.
        download: Download the year if it is missing.
    """

    def __init__(self, split: str, root: str, year: int = 2012, download: bool = False) -> None:
        above = "TrainVal" if year == 2011 else "."  # as in the archive of that year
        folder = Path(root, above, "VOCdevkit", f"VOC{year}")
        if download:
            from torchvision import datasets  # takes seconds, so only when it is used

            with opening("VOCSegmentation", root, download):
                if not folder.is_dir():  # torchvision would unpack it again
                    datasets.VOCSegmentation(root, year=str(year), download=True)
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder. `root` must hold VOCdevkit, or set `download: true`.")
        lists = "ImageSets/Segmentation/{split}.txt"
        super().__init__(split, str(folder), VOC_NAMES, "JPEGImages", "SegmentationClass", lists)
