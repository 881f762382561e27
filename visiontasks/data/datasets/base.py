"""Base class of the datasets."""

import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import Dataset

from visiontasks.core.depth import GrayRange
from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse
from visiontasks.core.images import read_image, read_size
from visiontasks.core.objects import Objects, make_objects
from visiontasks.core.sample import Sample
from visiontasks.core.text import invisible, is_missing, normal
from visiontasks.data.datasets.pages import check_pages
from visiontasks.targets import find_target, target_kinds


class VisionDataset(Dataset, ABC):
    """One split of a set of images and what is known about each image.

    A subclass takes the split as its first argument, sets `class_names`, and defines the `image` and the `name` of an
    index and its `target`, if any. Its constructor raises `MissingSplit` if the split is missing, and `InputError` if a
    file or another argument is missing or wrong; the message names it.

    Attributes:
        class_names: Names of the classes, the same in every split; a label is an index into them.
        mask_names: Names of the classes of mask pixels, in the same way; empty if there are no masks.
        gray_range: Values that become black and white in image files of more than 8 bits; see `read_image`.
        page: Page of image files that have several, from 1 on; by default the first.
        groups: Group of each image, such as a patient; empty if none is known.
    """

    class_names: list[str]
    mask_names: Sequence[str] = ()
    groups: Sequence[str] = ()
    gray_range: GrayRange | None = None
    page: int | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """Reads one image: uint8 (H, W, 3), RGB, upright."""

    def target(self, index: int) -> dict[str, Any]:
        """Returns what is known about an image without reading it: `label`, `bbox` in pixels, ..., or nothing."""
        return {}

    def objects(self, index: int) -> Objects:
        """Returns all objects of one image, without their masks; the image is not read.

        By default this is the object of `target`, or no object if it has no box.
        """
        target = self.target(index)
        boxes = [target["bbox"]] if "bbox" in target and target["bbox"].any() else []
        return make_objects(boxes, [target.get("label", 0)] * len(boxes))

    def instances(self, index: int) -> np.ndarray | None:
        """Reads the pixels of each object of `target`, bool (objects, H, W); None if they are not known."""
        return None

    def mask(self, index: int) -> np.ndarray | None:
        """Reads the class of every pixel, uint8 (H, W), 255 where it is ignored; None if there is no mask."""
        return None

    def names(self, key: str) -> list[str]:
        """Returns the names of the classes of a target; empty if there are none."""
        return list(getattr(self, find_target(key).names_key, ()))

    def truth(self, index: int, shape: tuple[int, ...]) -> dict[str, Any]:
        """Returns all targets of an image of this height and width; a mask of another size is an `InputError`."""
        known, mask, instances = self.target(index), self.mask(index), self.instances(index)
        if instances is not None:
            self._check_size(index, instances.shape[1:], shape)
            known = {**known, "objects": {**known["objects"], "masks": instances}}
        if mask is None:
            return known
        self._check_size(index, mask.shape, shape)
        return {**known, "mask": mask}

    def _check_size(self, index: int, mask: tuple[int, ...], image: tuple[int, ...]) -> None:
        if mask != image[:2]:
            found, expected = (f"{width} x {height}" for height, width, *_ in (mask, image))
            advice = "Turn the mask as EXIF turns the image" if mask == image[1::-1] else "Export it again"
            raise InputError(f"{self.name(index)}: its mask has {found} pixels, the image {expected}. {advice}.")

    def files(self) -> Sequence[Path]:
        """Returns the file of each image, to compare them; empty if there are none."""
        return ()

    @abstractmethod
    def name(self, index: int) -> str:
        """Returns where a sample comes from: a path or another name that is the same on every machine."""

    def size(self, index: int) -> tuple[int, int]:
        """Returns height and width of one image in pixels; override it if they are known without decoding."""
        return self.image(index).shape[:2]

    def labels(self) -> np.ndarray:
        """Returns the class index of every sample, int64 (N,); a sample without a label is an `InputError`."""
        try:
            return np.array([self.target(index)["label"] for index in range(len(self))], np.int64)
        except KeyError:
            raise InputError(f"{type(self).__name__} has samples without a label.") from None

    def fingerprint(self, targets: Iterable[dict[str, Any]] = ()) -> str:
        """Returns a short hash of names and targets, not of pixels: it shows whether two runs saw the same data.

        `targets` are those of all images, if they are known already.
        """
        keys = [key for key in target_kinds() if key != "objects"]  # its names are those of `label`, as in old runs
        names = [name for key in keys for name in self.names(key)]
        digest = hashlib.sha256("\n".join(names).encode())
        for index, target in enumerate(targets or map(self.target, range(len(self)))):
            target = {key: _plain(value) for key, value in target.items()}
            digest.update(f"{self.name(index)}\t{target}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def set_reading(self, gray_range: GrayRange | None, page: int | None = None) -> None:
        """Sets how image files of more than 8 bits, and of several pages, are read."""
        self.gray_range, self.page = gray_range, page

    def __getitem__(self, index: int) -> Sample:
        image = self.image(index)
        return {"image": image, "index": index, "size": image.shape[:2], **self.truth(index, image.shape)}


def _plain(value: Any) -> Any:
    """Returns a target as numbers, lists and dicts of them."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value if type(value) is int else np.asarray(value).tolist()


class FileSet(VisionDataset):
    """Images in files, `paths`, below a folder, `root`; their sizes are read without decoding."""

    root: Path
    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def files(self) -> Sequence[Path]:
        return self.paths

    def set_reading(self, gray_range: GrayRange | None, page: int | None = None) -> None:
        super().set_reading(gray_range, page)
        check_pages(self.paths, page)

    def image(self, index: int) -> np.ndarray:
        return read_image(self.paths[index], self.gray_range, self.page)

    def name(self, index: int) -> str:
        return self.paths[index].relative_to(self.root).as_posix()

    def size(self, index: int) -> tuple[int, int]:
        return read_size(self.paths[index], self.page)


def check_class_names(class_names: list[str], where: str, fewest: int = 2) -> None:
    """Raises an `InputError` if there are fewer classes, by default two, or if a name is none or occurs twice.

    A name with a character that cannot be seen is none, because it looks like another name.
    """
    if len(class_names) < fewest:
        found = f"one class, {class_names[0]!r}" if class_names else "no class"
        raise InputError(f"{where}: found {found}; classification needs at least two.")
    known: set[str] = set()
    seen: dict[str, str] = {}
    for name in class_names:
        if sign := invisible(name):
            fault = f"with the invisible character U+{ord(sign):04X} ({unicodedata.name(sign, 'a control character')})"
            refuse("class", where, InputError(f"{where}: a class is named {name!r}, {fault}. Remove this character."))
        elif is_missing(name) or name != normal(name) or any("\ud800" <= sign < "\ue000" for sign in name):
            fault = "which is how tables write a missing value" if is_missing(name) else "which is no name"
            refuse("class", where, InputError(f"{where}: a class is named {name!r}, {fault}. Rename it."))
        if name in known:
            raise InputError(f"{where}: the class {name!r} is named twice. Remove one.")
        known.add(name)
        if (twin := seen.setdefault(name.casefold(), name)) != name:
            rank_zero_warn(f"{where}: the classes {twin!r} and {name!r} differ only in case.")


def kept_classes(keep: list[str] | None, class_names: list[str], fewest: int = 1) -> list[str]:
    """Returns the classes that are used: those of `keep` in its order, or all; another name is an `InputError`."""
    if keep is None:
        return class_names
    check_class_names(keep, "keep", fewest)
    for name in keep:
        if name not in class_names:
            close = get_close_matches(name, class_names, 1)
            hint = f"did you mean {close[0]!r}" if close else f"there are {class_names}"
            raise InputError(f"keep: {name!r} is not a class of the set; {hint}?".replace("]?", "]."))
    return keep
