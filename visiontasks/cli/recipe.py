"""A config for a data set that was recognized: the recipe of an installed config, with the set's own data section."""

import json
import re
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from visiontasks.cli.configs import installed
from visiontasks.data.layouts import Layout

WIDTH = 110  # of a comment
BASES = {
    "label": "classification/folder",
    "labels": "multilabel/csv",
    "value": "regression/csv",
    "mask": "segmentation/folder",
    "objects": "detection/voc",
}
LIGHT = ("value", "objects")  # kinds that a strong augmentation harms
SCENES = "segmentation/camvid_unet"  # the recipe of masks with more than two classes
SAMPLES = {"label": 5500, "labels": 5500, "value": 11000, "mask": 7400}  # images of a training, each time it is seen
EPOCHS = (3, 60)
RARE = 4  # times that the most frequent class occurs as often as the rarest, from which on classes get weights
WHOLE, PART = 416, 288  # root of the pixels of an image that is predicted as a whole, and of a part that is trained on
LEAST_BATCH = {"mask": 4}  # of batches whose statistics normalize
SMALL_OBJECT = 16  # pixels of the side that three quarters of the objects should have at least
BETWEEN_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W_]+")  # left_hand, leftHand, left-hand
SIGN = re.compile(r"\d|[a-z]|.*\b(left|right|arrow)s?\b.*", re.IGNORECASE)  # has another meaning in a mirror
PICTURE = re.compile(r".*\b(hand|finger|sign|letter|digit|text|plate|clock)s?\b.*", re.IGNORECASE)  # may have one
UNMIRRORED = """\
  augment:  # without mirroring, because {why}
    - {{class_path: ObjectCrop, init_args: {{scale: [0.5, 1.0]}}}}
    - {{class_path: ColorJitter, init_args: {{p: 0.8}}}}
"""


@dataclass(frozen=True)
class Facts:
    """What is known of the training images.

    Attributes:
        count: Their number.
        sizes: Height and width of some of them, (N, 2).
        names: Names of the classes.
        counts: How many images have each class; empty if it was not counted.
        sides: Side of the square of the same area as each object, as a share of the side of its image.
    """

    count: int
    sizes: np.ndarray
    names: list[str]
    counts: np.ndarray
    sides: np.ndarray


def write_recipe(layout: Layout, facts: Facts, name: str) -> str:
    """Returns the text of a config, whose comments say what was found and chosen."""
    chosen = SCENES if layout.kind == "mask" and len(facts.names) > 2 else BASES[layout.kind]
    base = (installed() / f"{chosen}.yaml").read_text("utf-8")
    trainer, _, rest = base[base.index("trainer:") :].partition("model:")
    model = rest.partition("\ndata:")[0]
    size, why = image_size(layout.kind, facts)
    part = part_size(size) if layout.kind == "mask" else None
    batch = batch_size(layout.kind, facts.count)
    dataset = {"class_path": layout.dataset, "init_args": layout.options}
    head = _head(layout, facts)
    lines = [
        f"# visiontasks fit -c {shlex.quote(_printable(name))}",
        *(line for text in (layout.found, *layout.notes) for line in _comment(text)),
        _with_epochs(trainer, layout.kind, facts.count).rstrip(),
        f"model:{model.rstrip()}",
        *([_section("head", head, 4)] if head else []),
        "data:",
        _section("dataset", dataset, 2),
        f"  image_size: {size}  # {why}",
        *([f"  train_size: {part}  # parts of this size are trained on"] if part else []),
        f"  batch_size: {batch}",
    ]
    mirrored = _mirrored(layout.kind, facts.names)
    preset = f"  augment: {'light' if layout.kind in LIGHT else 'medium'}\n"
    return "\n".join(lines) + "\n" + (UNMIRRORED.format(why=mirrored) if mirrored else preset)


def image_size(kind: str, facts: Facts) -> tuple[int | list[int], str]:
    """Chooses the size of the images in a batch, and says why."""
    height, width = np.median(facts.sizes, 0).astype(int).tolist()
    small, median = min(height, width), f"the median image has {width} x {height} pixels"
    if kind == "objects":
        lower = np.quantile(facts.sides, 0.25) if len(facts.sides) else 1.0
        wanted = int(np.clip(np.ceil(SMALL_OBJECT / lower / 32) * 32, 320, 512))
        return min(wanted, max(320, 32 * (max(height, width) // 32))), f"{median}; larger sizes find smaller objects"
    if kind == "mask":
        return _scaled(height, width, WHOLE), median
    return (96 if small < 64 else 128 if small < 112 else 224), median


def part_size(size: int | list[int]) -> int | list[int] | None:
    """Chooses the size of the parts of images of this size on which masks are trained; None for whole images."""
    height, width = (size, size) if isinstance(size, int) else size
    part = _scaled(height, width, PART)
    return None if part == size else part


def _scaled(height: int, width: int, largest: int) -> int | list[int]:
    """Returns sides about as long as these, multiples of 32 pixels, of an area of at most about `largest` squared."""
    scale = min(1.0, largest / np.sqrt(height * width))
    sides = [max(64, round(side * scale / 32) * 32) for side in (height, width)]
    return sides[0] if sides[0] == sides[1] else sides


def batch_size(kind: str, count: int) -> int:
    """Chooses a batch size that leaves at least eight batches per epoch."""
    largest = {"mask": 8, "objects": 4}.get(kind, 32)
    least = LEAST_BATCH.get(kind, 2)
    return int(min(largest, max(least, 2 ** int(np.log2(max(1, count / 8))))))


def _with_epochs(trainer: str, kind: str, count: int) -> str:
    if kind not in SAMPLES:
        return trainer
    epochs = int(np.clip(round(SAMPLES[kind] / max(1, count)), *EPOCHS))
    return re.sub(r"max_epochs: \d+", f"max_epochs: {epochs}", trainer)


def _head(layout: Layout, facts: Facts) -> Any:
    """Returns the head, if the default does not suit the classes."""
    if layout.kind == "objects":
        return "InstanceHead" if layout.masks else None
    if layout.kind == "label" and len(facts.counts) and facts.counts.max() >= RARE * max(1, facts.counts.min()):
        return {"class_path": "LabelHead", "init_args": {"loss": _weighted("sqrt_median_frequency")}}
    return None


def _weighted(rule: str) -> dict[str, Any]:
    return {"class_path": "CrossEntropy", "init_args": {"class_weights": rule}}


def _mirrored(kind: str, names: Sequence[str]) -> str:
    """Returns why images of these classes must not be mirrored; empty if they may.

    A sign among the things of a scene is the same sign in a mirror; one that is the whole image may be another one.
    """
    if kind == "value":  # a name of a number says nothing of the images
        return ""
    patterns = [SIGN] if kind in ("mask", "objects") else [SIGN, PICTURE]
    words = {name: BETWEEN_WORDS.sub(" ", name).strip() for name in names}
    odd = [name for name in names if any(pattern.fullmatch(words[name]) for pattern in patterns)]
    return f"{odd[0]!r} may mean something else in a mirror" if odd else ""


def _comment(text: str) -> list[str]:
    """Returns a sentence as lines of a comment."""
    return [f"# {line}" for line in textwrap.wrap(f"{text[0].upper()}{_printable(text[1:])}.", WIDTH)]


def _printable(text: str) -> str:
    """Replaces what could end a comment: YAML ends lines at some characters that a file name may have."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _section(key: str, content: Any, spaces: int) -> str:
    """Returns a key with its content as YAML, whose innermost lists and dicts are on one line."""
    if isinstance(content, str):
        return f"{' ' * spaces}{key}: {content}"
    readable = json.dumps(content, ensure_ascii=False).isprintable()  # YAML reads some other signs as ends of lines
    text = yaml.safe_dump(content, default_flow_style=None, sort_keys=False, allow_unicode=readable, width=WIDTH)
    return f"{' ' * spaces}{key}:\n{textwrap.indent(text.rstrip(), ' ' * (spaces + 2))}"
