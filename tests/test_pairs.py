"""Pairs of images and masks by their names."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from visiontasks.data.layouts.base import Listing
from visiontasks.data.layouts.pairs import MANY, find_pairs


def listing(names: list[str]) -> Listing:
    return cast(Listing, SimpleNamespace(images=names, root=Path()))


@pytest.mark.parametrize("count", [20, 2 * MANY])
@pytest.mark.parametrize(
    ("image", "mask", "patterns"),
    [
        (
            "images/{split}/0016E5_{n:05}_left-cam.png",
            "masks/{split}/0016E5_{n:05}_left-cam_L.png",
            ("images/{split}/{stem}.png", "masks/{split}/{stem}_L.png"),
        ),
        ("{n:05}_sat.jpg", "{n:05}_mask.png", ("{stem}_sat.jpg", "{stem}_mask.png")),
        ("a/benign ({n}).png", "a/benign ({n})_mask.png", ("a/{stem}.png", "a/{stem}_mask.png")),
        ("t/x_{x}_y_{y}.jpg", "m/x_{x}_y_{y}.jpg", ("m/{stem}.jpg", "t/{stem}.jpg")),  # each word is common
    ],
)
def test_the_pairs_of_many_names_are_those_of_few(count: int, image: str, mask: str, patterns: tuple[str, str]) -> None:
    parts = [{"n": n, "split": "train" if n % 4 else "val", "x": n // 50, "y": n % 50} for n in range(count)]
    names = [form.format(**part) for part in parts for form in (image, mask)]
    pair = find_pairs(listing(names))[0]
    assert {kind.pattern for kind in pair.kinds} == {*patterns}
    assert len(pair.names) == count


def test_masks_of_train_alone_have_the_folder_of_train() -> None:
    names = [f"train/{n:05}.jpg" for n in range(MANY)] + [f"train_masks/{n:05}_mask.gif" for n in range(MANY)]
    names += [f"test/{n:05}.jpg" for n in range(MANY, 2 * MANY)]
    pair = find_pairs(listing(names))[0]
    assert [kind.pattern for kind in pair.kinds] == ["train/{stem}.jpg", "train_masks/{stem}_mask.gif"]


def test_many_images_without_masks_have_no_pairs() -> None:
    assert find_pairs(listing([f"train/img_{n}.jpg" for n in range(2 * MANY)])) == []
