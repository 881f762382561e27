"""What a dataset is."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from visiontasks.core.errors import InputError
from visiontasks.core.sample import Sample
from visiontasks.targets import find_target, target_kinds


class VisionDataset(Dataset, ABC):
    """One split of a set of images with what is known about each.

    A subclass takes the split as its first argument, sets `class_names`, and answers three questions
    about an index: its `image`, its `target` and its `name`.

    Attributes:
        class_names: Name of every class; a label is an index into it. The same in every split.
        mask_names: Name of every class of a mask's pixels, in the same way; empty where there are no masks.
    """

    class_names: list[str]
    mask_names: Sequence[str] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """Reads one image: uint8 (H, W, 3), RGB, upright."""

    @abstractmethod
    def target(self, index: int) -> dict[str, Any]:
        """What is known of one image without reading it: `label`, `bbox` in pixels, ..., or nothing."""

    def objects(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """All objects of one image, without reading it: boxes, float32 (N, 4), xyxy in pixels, and labels, int64 (N,).

        The one of `target` unless a subclass knows of more; none where it has no box.
        """
        target = self.target(index)
        boxes = [target["bbox"]] if "bbox" in target else []
        return np.array(boxes, np.float32).reshape(-1, 4), np.array([target.get("label", 0)] * len(boxes), np.int64)

    def mask(self, index: int) -> np.ndarray | None:
        """Reads the class of every pixel, uint8 (H, W), 255 where it does not count; none if there is no mask."""
        return None

    def checked_mask(self, index: int, shape: tuple[int, ...]) -> np.ndarray | None:
        """Reads the mask of an image of this height and width.

        Raises:
            InputError: It has another size.
        """
        mask = self.mask(index)
        if mask is not None and mask.shape != shape[:2]:
            found, expected = (f"{width} x {height}" for height, width, *_ in (mask.shape, shape))
            raise InputError(f"{self.name(index)}: its mask has {found} pixels, the image {expected}. Export it anew.")
        return mask

    def names(self, key: str) -> list[str]:
        """Names of the classes of a target; empty where there are none."""
        return list(getattr(self, find_target(key).names_key, ()))

    def truth(self, index: int, shape: tuple[int, ...]) -> dict[str, Any]:
        """All targets of an image of this height and width.

        Raises:
            InputError: Its mask has another size.
        """
        mask = self.checked_mask(index, shape)
        return {**self.target(index), **({} if mask is None else {"mask": mask})}

    @abstractmethod
    def name(self, index: int) -> str:
        """Where a sample comes from: a path or another name that is the same on every machine."""

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one image in pixels; to be overridden where that is known without decoding it."""
        height, width = self.image(index).shape[:2]
        return height, width

    def labels(self) -> np.ndarray:
        """Class index of every sample, int64 (N,).

        Raises:
            InputError: The samples have no label.
        """
        targets = [self.target(index) for index in range(len(self))]
        if any("label" not in target for target in targets):
            raise InputError(f"{type(self).__name__} has samples without a label.")
        return np.array([target["label"] for target in targets], np.int64)

    def fingerprint(self) -> str:
        """Short hash of names, labels and boxes, not of pixels: tells whether two runs saw the same data."""
        names = [name for key in target_kinds() for name in self.names(key)]
        digest = hashlib.sha256("\n".join(names).encode())
        for index in range(len(self)):
            target = {key: np.asarray(value).tolist() for key, value in self.target(index).items()}
            digest.update(f"{self.name(index)}\t{target}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def __getitem__(self, index: int) -> Sample:
        image = self.image(index)
        return {"image": image, "index": index, "size": image.shape[:2], **self.truth(index, image.shape)}


def check_class_names(class_names: list[str], where: str) -> None:
    """Refuses a set that nothing can be learned from.

    Raises:
        InputError: There are fewer than two classes.
    """
    if len(class_names) < 2:
        found = f"one class, {class_names[0]!r}" if class_names else "no class"
        raise InputError(f"{where}: found {found}; classification needs at least two.")
