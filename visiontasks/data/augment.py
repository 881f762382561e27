"""Transforms of a sample between reading and batching: augmentation for training, resizing for val and test."""

import importlib
import inspect
import os
import random
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property, partial
from typing import Any, Literal

import cv2
import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Resize, Size, height_width
from visiontasks.core.sample import FILL, IGNORE_MASK, Sample
from visiontasks.targets import find_target
from visiontasks.targets.sample import resize_sample, targets_of

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would look for updates on the network
cv2.setNumThreads(0)  # one thread per loader worker; OpenCV's pool does not survive a fork

KEPT, DRAWS = 0.5, 10  # smallest share of a box that each transform must keep, and number of draws

REPEATING = (cv2.BORDER_REFLECT, cv2.BORDER_REFLECT_101, cv2.BORDER_WRAP)

Preset = Literal["none", "light", "medium", "strong"]


class EvalTransform:
    """Resizes a sample for val and test, and keeps its original targets as `truth`, from which metrics are computed.

    Args:
        image_size: Size of the result in pixels.
        resize: How an image is resized; see `fit_into`.
    """

    def __init__(self, image_size: Size, resize: Resize = "stretch") -> None:
        self.image_size, self.resize = image_size, resize

    def __call__(self, sample: Sample, epoch: int, index: int) -> Sample:
        return {**resize_sample(sample, self.image_size, self.resize), "truth": targets_of(sample)}


class Augment:
    """One random pipeline that moves image, box and mask together and then resizes them.

    The randomness is a pure function of (seed, epoch, index): it is the same for any number of workers and ranks and
    after a resume, and different in every epoch. A draw that cuts off more than half of the one box is repeated; of
    any number of objects, those that are hardly left are dropped.

    Args:
        transforms: A preset, or a list of albumentations: objects, or dicts of `class_path` and `init_args` as in a
            config (a name without a dot is looked up in albumentations and in `visiontasks.data.transforms`).
        image_size: Size of a whole image in val and test in pixels.
        resize: How an image is resized; see `fit_into`.
        seed: Seed of all draws.
        train_size: Size of the result in pixels, if not `image_size`.
    """

    def __init__(
        self,
        transforms: Preset | Sequence[Any],
        image_size: Size,
        resize: Resize = "stretch",
        seed: int = 0,
        train_size: Size | None = None,
    ) -> None:
        self.image_size, self.resize, self.seed = image_size, resize, seed
        self.train_size = image_size if train_size is None else train_size
        self._transforms = transforms
        if not isinstance(transforms, str) or self.train_size != self.image_size:
            _ = self._pipelines  # reports a mistake in a config before the training

    @cached_property
    def _pipelines(self) -> dict[str, Any]:
        """The pipelines without a box, with one and with any number, because checks of boxes take long."""
        import albumentations as A  # takes half a second, so only when it is used

        from visiontasks.data.transforms import clip_boxes

        transforms = self._transforms
        if isinstance(transforms, str):
            transforms = preset(transforms, self.image_size, self.resize, self.train_size)
        data = {"size": height_width(self.train_size), "image_size": self.image_size, "resize": self.resize}
        steps = [_build(step, data) if isinstance(step, dict) else step for step in transforms]
        if self.train_size != self.image_size and "Crop" not in repr(steps):
            fault = f"{self.train_size} shows parts of images, and nothing in `augment` cuts them out"
            advice = "Add an ObjectCrop, use another preset than `none`, or remove train_size."
            raise InputError(f"train_size: {fault}. {advice}")
        box = A.BboxParams("pascal_voc", clip=True, min_visibility=KEPT)
        params = {"": None, "bbox": box, "objects": A.BboxParams("pascal_voc", clip=True)}
        pipelines = {key: A.Compose(steps, strict=True, bbox_params=one) for key, one in params.items()}
        pipelines["objects"].processors["bboxes"].filter = clip_boxes  # ty: ignore[invalid-assignment]
        return pipelines

    @cached_property
    def _repeating(self) -> str:
        """The name of a transform that fills the border with copies of the image; empty if there is none."""
        found = [step for step in _leaves(self.steps()) if getattr(step, "border_mode", 0) in REPEATING]
        return type(found[0]).__name__ if found else ""

    def steps(self) -> list[Any]:
        """Returns the transforms in order."""
        return list(self._pipelines[""].transforms)

    def __call__(self, sample: Sample, epoch: int, index: int) -> Sample:
        """Returns a new sample of the sample contract, of `train_size`."""
        from albumentations.augmentations.crops.transforms import CropSizeError

        targets = targets_of(sample)
        given: dict[str, Any] = {}
        for key, value in targets.items():
            given |= find_target(key).to_augment(value)
        key = next((key for key in ("objects", "bbox") if key in targets), "")
        if key and self._repeating:
            fault = f"augment: the border of {self._repeating} repeats the image, so an object appears twice"
            raise InputError(f"{fault}, but has one box. Set `border_mode: 0`.")
        pipeline = self._pipelines[key]
        rng = np.random.default_rng([self.seed, epoch, index])
        pipeline.set_random_state(rng, random.Random(int(rng.integers(1 << 62))))
        for _ in range(DRAWS):
            try:
                moved = pipeline(image=sample["image"], **given)
            except CropSizeError as error:
                raise InputError(f"augment: {error}. Add a PadIfNeeded or a Resize before the crop.") from None
            if (dtype := moved["image"].dtype) != np.uint8:
                raise InputError(f"augment: images become {dtype}, not uint8. Remove Normalize and ToFloat.")
            found = {key: find_target(key).from_augment(value, moved) for key, value in targets.items()}
            if all(value is not None for value in found.values()):
                return resize_sample({**sample, "image": moved["image"], **found}, self.train_size, self.resize)
        raise InputError(f"{DRAWS} draws of the augmentation cut off half of its box. Use weaker crops and shifts.")


def _leaves(steps: Sequence[Any]) -> Iterator[Any]:
    for step in steps:
        yield from _leaves(step.transforms) if hasattr(step, "transforms") else [step]


def preset(name: str, image_size: Size, resize: Resize = "stretch", train_size: Size | None = None) -> list[Any]:
    """Returns the transforms of a preset, from `none` to `strong`; all but `none` flip left and right."""
    import albumentations as A

    from visiontasks.data.transforms import ColorJitter, ObjectAffine, ObjectCrop, Occlude

    crop = partial(ObjectCrop, height_width(train_size or image_size), image_size=image_size, resize=resize)
    outside: dict[str, Any] = {"fill": FILL, "fill_mask": IGNORE_MASK}
    match name:
        case "none":
            return []
        case "light":
            return [crop(scale=(0.5, 1.0)), A.HorizontalFlip()]
        case "medium":
            return [crop(scale=(0.35, 1.0)), A.HorizontalFlip(), ColorJitter(p=0.8)]
        case "strong":
            return [
                crop(scale=(0.25, 1.0)),
                A.HorizontalFlip(),
                # after the crop, so that no turned box is cropped; a reflected border would show a second object
                ObjectAffine(scale=(0.8, 1.0), rotate=(-20, 20), shear=(-8, 8), p=0.5, **outside),
                ColorJitter(0.4, 0.4, 0.4, 0.05, p=0.8),
                A.ToGray(p=0.05),
                A.GaussianBlur(p=0.1),
                Occlude(num_holes_range=(1, 3), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=0.3),
            ]
    raise InputError(f"augment: unknown preset {name!r}; use none, light, medium, strong or a list of transforms.")


def _build(step: dict[str, Any], data: dict[str, Any]) -> Any:
    """Builds a transform from `class_path` and `init_args`, with nested transforms (OneOf ...).

    An ObjectCrop gets missing arguments from `data`. Pixels that move into a mask from outside are ignored.
    """
    from albumentations import BaseCompose, BasicTransform

    if not isinstance(step, dict):
        raise InputError(f"augment: {str(step)[:100]!r} is not a transform with class_path and init_args.")
    class_path = str(step.get("class_path", ""))
    if unknown := set(step) - {"class_path", "init_args"}:
        raise InputError(f"augment: {class_path or 'a transform'} has the key {unknown.pop()!r}; expected init_args.")
    home, _, name = class_path.rpartition(".")
    homes = [home] if home else ["albumentations", "visiontasks.data.transforms"]
    try:
        modules = [importlib.import_module(home) for home in homes]
    except ImportError as error:
        raise InputError(f"augment: no transform {class_path!r}; {error}.") from None
    found = [getattr(module, name, None) for module in modules]
    cls = next((cls for cls in found if isinstance(cls, type) and issubclass(cls, (BasicTransform, BaseCompose))), None)
    if cls is None:
        close = get_close_matches(name, [known for module in modules for known in dir(module)], 1)
        raise InputError(f"augment: no transform {class_path!r}" + (f"; did you mean {close[0]!r}?" if close else "."))
    if not isinstance(given := step.get("init_args") or {}, dict):
        raise InputError(f"augment: {name}: init_args: {str(given)[:100]} is not a dict of arguments.")
    arguments = dict(given)
    if nested := arguments.get("transforms"):
        steps = nested if isinstance(nested, list) else [nested]
        arguments["transforms"] = [_build(inner, data) for inner in steps]
    if cls.__name__ == "ObjectCrop":
        arguments = data | arguments
    fill_mask = inspect.signature(cls).parameters.get("fill_mask")
    if fill_mask and fill_mask.default == 0:
        arguments.setdefault("fill_mask", IGNORE_MASK)
    try:
        return cls(**arguments) if issubclass(cls, BaseCompose) else cls(**arguments, strict=True)
    except (TypeError, ValueError) as error:
        raise InputError(f"augment: {name}: {error}") from None
