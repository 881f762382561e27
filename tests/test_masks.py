"""Masks: every way to write a class index a pixel, and what each odd file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.data.masks import MaskCode
from visiontasks.samples import InputError

CLASSES = np.array([[0, 1, 2], [2, 255, 0]], np.uint8)
RED, GREEN, BLUE, BLACK = [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]
PALETTE = [*RED, *GREEN, *BLUE, *[7] * 3 * 252, *BLACK]


def save(path: Path, pixels: Any, mode: str | None = None) -> Path:
    image = Image.fromarray(np.asarray(pixels))
    if mode == "P":
        image.putpalette(PALETTE)
    elif mode:
        image = image.convert(mode)
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "LA", "I"])
def test_indices_are_read_from_any_mode(tmp_path: Path, mode: str) -> None:
    found = MaskCode(3).read(save(tmp_path / ("a.tiff" if mode == "I" else "a.png"), CLASSES, mode))
    assert found.dtype == np.uint8
    assert found.tolist() == CLASSES.tolist()


def test_a_1_bit_mask_has_two_classes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[True, False]]))
    assert Image.open(path).mode == "1"
    assert MaskCode(2).read(path).tolist() == [[1, 0]]


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colours_are_looked_up_in_palettes_too(tmp_path: Path, mode: str) -> None:
    pixels = CLASSES if mode == "P" else np.array(PALETTE, np.uint8).reshape(-1, 3)[CLASSES]
    code = MaskCode(3, colours=[BLUE, GREEN, RED], ignore=[BLACK])
    assert code.read(save(tmp_path / "a.png", pixels, mode)).tolist() == [[2, 1, 0], [0, 255, 2]]


def test_values_are_mapped_and_some_ignored(tmp_path: Path) -> None:
    """Oxford-IIIT Pet: 1 is pet, 2 background, 3 the border."""
    code = MaskCode(2, values=[2, 1], ignore=[3])
    assert code.read(save(tmp_path / "a.png", np.array([[1, 2, 3, 255]], np.uint8))).tolist() == [[1, 0, 255, 255]]


def test_values_of_16_bits_are_kept(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[300, 40000]], np.uint16))
    assert MaskCode(2, values=[40000, 300]).read(path).tolist() == [[1, 0]]


def test_255_is_a_class_where_it_is_declared(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 255]], np.uint8))
    assert MaskCode(2, values=[0, 255]).read(path).tolist() == [[0, 1]]


def test_a_mask_is_turned_upright_as_its_image_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(CLASSES).save(tmp_path / "a.png", exif=exif)
    assert MaskCode(3).read(tmp_path / "a.png").tolist() == np.rot90(CLASSES, -1).tolist()


UNKNOWN = {
    "value": (
        {},
        [[0, 5], [5, 1]],
        r"a\.png: 2 pixels are 5, which is no class\. .* Declare it in `values` or `ignore`",
    ),
    "values": (
        {},
        [[4, 5], [5, 1]],
        "2 pixels are 5, which is no class, and 1 values more are none. Known are 0, 1, 2, 255",
    ),
    "colour": ({"colours": [RED, GREEN, BLUE]}, [[RED, BLACK]], r"1 pixels are \[0, 0, 0\], .* `colours` or `ignore`"),
    "colours": ({}, [[RED, GREEN]], r"a\.png: a mask in colours; declare the colour of each class in `colours`"),
}


@pytest.mark.parametrize("fault", UNKNOWN)
def test_a_pixel_of_no_class_is_an_error_with_file_value_and_count(tmp_path: Path, fault: str) -> None:
    options, pixels, message = UNKNOWN[fault]
    path = save(tmp_path / "a.png", np.array(pixels, np.uint8))
    with pytest.raises(InputError, match=message):
        MaskCode(3, **options).read(path)


def test_the_noise_of_a_jpeg_is_an_error(tmp_path: Path) -> None:
    pixels = np.kron(np.random.default_rng(0).integers(0, 3, (8, 8)), np.ones((5, 5))).astype(np.uint8) * 100
    with pytest.raises(InputError, match=r"a\.jpg: \d+ pixels are \d+, which is no class, and \d+ values more"):
        MaskCode(3, values=[0, 100, 200]).read(save(tmp_path / "a.jpg", pixels))


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_no_mask_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: broken or no mask"):
        MaskCode(3).read(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"b\.png: no such file"):
        MaskCode(3).read(tmp_path / "b.png")


WRONG = {
    "no class": ({"num_classes": 0}, "class_names: a mask tells 1 to 255 classes apart; found 0"),
    "too many": ({"num_classes": 256}, "found 256"),
    "both": ({"values": [0, 1], "colours": [RED, BLUE]}, "values and colours: "),
    "too few": ({"values": [1]}, "values: 1 for 2 classes"),
    "twice": ({"values": [1, 1]}, "values, ignore: 1 stands twice"),
    "class ignored": ({"colours": [RED, BLUE], "ignore": [BLUE]}, r"colours, ignore: \[0, 0, 255\] stands twice"),
    "no colour": ({"colours": [RED, 7]}, r"colours: 7 is not \[red, green, blue\]"),
    "colour too large": ({"colours": [RED, [0, 0, 256]]}, r"colours: \[0, 0, 256\] is not"),
    "colour for a value": ({"ignore": [BLACK]}, r"ignore: \[0, 0, 0\] is not a pixel value"),
    "value for a colour": ({"colours": [RED, BLUE], "ignore": [255]}, r"ignore: 255 is not \[red"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_code_without_sense_is_an_error(fault: str) -> None:
    options, message = WRONG[fault]
    with pytest.raises(InputError, match=message):
        MaskCode(**{"num_classes": 2, **options})
