"""The reader of images: every mode and every broken file, against references that do not use it."""

from __future__ import annotations

import io
import os
import resource
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from visiontasks.core.errors import InputError
from visiontasks.core.headers import MAX_PIXELS, has_pages
from visiontasks.core.images import decode_image, read_image, read_size
from visiontasks.data.masks import MaskEncoding
from visiontasks.predict.find import find_sources

YS, XS = np.mgrid[:24, :36]
COLOR = np.stack([XS * 7, YS * 10, 255 - XS * 3 - YS * 4], -1).astype(np.uint8)  # smooth: JPEG keeps it nearly
GRAY = COLOR[..., 0]
ALPHA = (XS * 5).astype(np.uint8)
TWELVE = ((YS * 36 + XS) * 4).astype(np.uint16)  # 0 .. 3452
TWELVE_8_BIT = np.rint(TWELVE / 4095 * 255).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    data = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(data, kind, **options)
    return data.getvalue()


def as_rgb(gray: np.ndarray) -> np.ndarray:
    return np.dstack([gray] * 3)


def rgb_with_alpha() -> Image.Image:
    return Image.fromarray(np.dstack([COLOR, ALPHA]))


def on_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(color * share + 255 * (1 - share)).astype(np.uint8)


def palette() -> tuple[Image.Image, np.ndarray]:
    colors = np.array([[250, 10, 20], [30, 240, 60], [70, 80, 230], [5, 5, 5]], np.uint8)
    places = ((XS // 9 + YS // 6) % 4).astype(np.uint8)
    image = Image.fromarray(places)
    image.putpalette(colors.tobytes())
    return image, colors[places]


def lossless_cases() -> Iterator[tuple[str, bytes, np.ndarray]]:
    """Name, file and the pixels that must come out."""
    bits = (XS + YS) % 3 == 0
    indexed, painted = palette()
    wide = (YS * 36 + XS).astype(np.uint16) * 75  # 0 .. 64,725
    wide_8_bit = np.rint(wide / 65535 * 255).astype(np.uint8)
    unit = (XS / 35).astype(np.float32)
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        yield f"rgb {kind}", encode(COLOR, kind), COLOR
        yield f"gray {kind}", encode(GRAY, kind), as_rgb(GRAY)
        yield f"1-bit {kind}", encode(Image.fromarray(bits), kind), as_rgb(bits * np.uint8(255))
    for kind in ("PNG", "BMP", "TIFF"):
        yield f"palette {kind}", encode(indexed, kind), painted
    yield "rgb WebP", encode(COLOR, "WEBP", lossless=True), COLOR
    yield "palette GIF", encode(indexed, "GIF"), painted
    place = ((XS // 9 + YS // 6) % 4)[..., None]
    for kind in ("PNG", "GIF"):
        yield (
            f"palette with a transparent color {kind}",
            encode(indexed, kind, transparency=1),
            np.where(place == 1, 255, painted),
        )
    alphas = np.array([0, 90, 200, 255])
    yield (
        "palette with alpha",
        encode(indexed, "PNG", transparency=bytes(alphas.tolist())),
        on_white(painted, alphas[place[..., 0]]),
    )
    yield "gray and alpha", encode(Image.fromarray(np.dstack([GRAY, ALPHA])), "PNG"), on_white(as_rgb(GRAY), ALPHA)
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})):
        yield f"rgb and alpha {kind}", encode(rgb_with_alpha(), kind, **options), on_white(COLOR, ALPHA)
    yield "gray with a transparent value", encode(GRAY, "PNG", transparency=14), as_rgb(np.where(GRAY == 14, 255, GRAY))
    yield (
        "rgb with a transparent color",
        encode(COLOR, "PNG", transparency=tuple(COLOR[3, 4].tolist())),
        np.where((COLOR[3, 4] == COLOR).all(-1, keepdims=True), 255, COLOR),
    )
    yield (
        "16-bit gray with a transparent value",
        encode(wide, "PNG", transparency=75),
        as_rgb(np.where(wide == 75, 255, wide_8_bit)),
    )
    yield "16-bit gray PNG", encode(wide, "PNG"), as_rgb(wide_8_bit)
    yield "16-bit gray TIFF", encode(wide, "TIFF"), as_rgb(wide_8_bit)
    yield "16-bit rgb PNG", cv2.imencode(".png", COLOR[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), COLOR
    yield "float TIFF 0..1", encode(unit, "TIFF"), as_rgb(np.rint(unit * 255).astype(np.uint8))
    yield "float TIFF 0..255", encode(GRAY.astype(np.float32), "TIFF"), as_rgb(GRAY)
    yield "12-bit gray PGM", b"P5 36 24 4095\n" + (TWELVE.astype(">u2")).tobytes(), as_rgb(TWELVE_8_BIT)
    for tag, value in ((281, 4095), (341, (4095,))):
        yield f"12-bit gray TIFF, tag {tag}", encode(TWELVE, "TIFF", tiffinfo={tag: value}), as_rgb(TWELVE_8_BIT)


@pytest.mark.parametrize(("data", "expected"), [pytest.param(*case, id=name) for name, *case in lossless_cases()])
def test_every_lossless_mode_becomes_the_same_8_bit_rgb(data: bytes, expected: np.ndarray) -> None:
    image = decode_image(data)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)


def test_16_bit_gray_keeps_all_its_levels() -> None:
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        assert decode_image(encode(levels, kind))[..., 0].ravel().tolist() == list(range(256))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_files_of_fewer_bits_are_an_error_unless_their_range_is_given(kind: str) -> None:
    """The brightness must not depend on the values of one image, and the maximum of a TIFF may be one of its values."""
    data = encode(TWELVE, kind, **({"tiffinfo": {281: 3452}} if kind == "TIFF" else {}))
    with pytest.raises(
        InputError, match=r"scan: 16-bit pixel values end at 3452, .* `data\.gray_range` .* \[0, 4095\]"
    ):
        decode_image(data, "scan")
    np.testing.assert_array_equal(decode_image(data, gray_range=(0, 4095)), as_rgb(TWELVE_8_BIT))
    window = np.clip((TWELVE - 1000.0) / 1000, 0, 1) * 255
    np.testing.assert_array_equal(decode_image(data, gray_range=(1000, 2000))[..., 0], np.rint(window))
    colors = cv2.imencode(f".{kind}", np.dstack([TWELVE] * 3))[1].tobytes()
    with pytest.raises(InputError, match=r"scan: 16-bit colors end at 3583, .* Convert it to 8 bits"):
        decode_image(colors, "scan")


def test_negative_integers_need_a_range() -> None:
    values = np.linspace(-1000, 1000, 81).reshape(9, 9).astype(np.int16)
    data = cv2.imencode(".tiff", values)[1].tobytes()
    with pytest.raises(InputError, match=r"pixel values -1000\.\.1000, .* `data\.gray_range` .* \[-1000, 4095\]"):
        decode_image(data)
    expected = np.rint((values + 1000) / 2000 * 255)
    np.testing.assert_array_equal(decode_image(data, gray_range=(-1000, 1000))[..., 0], expected)


def test_a_black_image_of_16_bits_is_black() -> None:
    assert not decode_image(encode(np.zeros((8, 8), np.uint16), "PNG")).any()


@pytest.mark.parametrize("value", [-0.5, 256.0, float("nan"), float("inf")])
def test_float_pixels_outside_the_known_ranges_are_an_error(value: float) -> None:
    pixels = np.zeros((8, 8), np.float32)
    pixels[3, 3] = value
    with pytest.raises(
        InputError,
        match=r"depth\.tif: pixel values .* (0\.\.1 or 0\.\.255\. Set `data|not finite)",
    ):
        decode_image(encode(pixels, "TIFF"), "depth.tif")


JPEGS = {
    "baseline": encode(COLOR, "JPEG", quality=95, subsampling=0),
    "subsampled": encode(COLOR, "JPEG", quality=95),
    "progressive": encode(COLOR, "JPEG", quality=95, progressive=True),
    "gray": encode(GRAY, "JPEG", quality=95),
    "progressive gray": encode(GRAY, "JPEG", quality=95, progressive=True),
    "kept as rgb": encode(COLOR, "JPEG", quality=95, keep_rgb=True),
    "cmyk": encode(Image.fromarray(COLOR).convert("CMYK"), "JPEG", quality=95),
}


@pytest.mark.parametrize("kind", [kind for kind in JPEGS if kind != "cmyk"])
def test_jpeg_agrees_with_pillow_and_the_picture_before_compression(kind: str) -> None:
    image = decode_image(JPEGS[kind])
    reference = np.asarray(Image.open(io.BytesIO(JPEGS[kind])).convert("RGB")).astype(int)
    assert np.abs(image - reference).max() <= 2
    original = as_rgb(GRAY) if "gray" in kind else COLOR
    assert np.abs(image - original.astype(int)).mean() < 3
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_cmyk_jpeg_is_converted_by_the_inks_it_names() -> None:
    inks = np.dstack([XS * 7, YS * 10, np.full_like(XS, 40), XS * 2 + YS * 3]).astype(np.uint8)
    data = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=98, subsampling=0)
    paper = 255 - inks.astype(float)
    expected = paper[..., :3] * paper[..., 3:] / 255
    assert np.abs(decode_image(data) - expected).mean() < 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_taken(kind: str, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr("visiontasks.core.headers._with_pages", [])
    frames = [Image.new("RGB", (12, 8), color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    for name in ("first", "second"):
        assert np.abs(decode_image(data, name) - np.array([255, 0, 0])).max() <= (3 if kind == "MPO" else 0)
    text = "first: only page 1 of 3 is read, here and in all files. `data.page` chooses another."
    assert caplog.messages == ([] if kind == "MPO" else [text])  # the other images of an MPO file are previews


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_any_page_can_be_read_and_one_that_is_absent_is_an_error(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr("visiontasks.core.headers._with_pages", [])
    frames = [Image.new("RGB", (12, 8), color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WEBP" else {}
    path = tmp_path / "pages"
    path.write_bytes(encode(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    for page, frame in enumerate(frames, 1):
        assert np.abs(read_image(path, page=page) - np.asarray(frame).astype(int)).max() <= (3 if kind == "MPO" else 0)
        assert read_size(path, page) == (8, 12)
    for read in (read_image, read_size):
        with pytest.raises(InputError, match=r"pages: no page 4; the file has 3\. Set `data\.page` to a page"):
            read(path, page=4)
    path.write_bytes(encode(frames[0], kind, **options))
    np.testing.assert_array_equal(read_image(path, page=1), read_image(path))
    with pytest.raises(InputError, match="pages: no page 2; the file has 1"):
        read_image(path, page=2)
    assert caplog.messages == []


def test_pages_have_sizes_and_depths_of_their_own(tmp_path: Path) -> None:
    first, second = Image.new("L", (36, 24), 9), Image.fromarray(TWELVE[:, :20])
    first.save(path := tmp_path / "a.tif", save_all=True, append_images=[second])
    assert (read_size(path), read_size(path, 2)) == ((24, 36), (24, 20))
    np.testing.assert_array_equal(read_image(path, (0, 4095), 2), as_rgb(TWELVE_8_BIT[:, :20]))
    with pytest.raises(InputError, match=r"a\.tif: 16-bit pixel values end at"):
        read_image(path, page=2)


@pytest.mark.parametrize("big", [False, True])
def test_files_with_several_pages_are_recognized_by_their_headers(tmp_path: Path, big: bool) -> None:
    page = Image.new("L", (9, 7))
    for name, options in (("1.tif", {"big_tiff": big}), ("1.gif", {}), ("2.tif", {"big_tiff": big}), ("2.gif", {})):
        more = {"save_all": True, "append_images": [Image.new("L", (9, 7), 200)]} if name[0] == "2" else {}
        page.save(tmp_path / name, **options, **more)
        with (tmp_path / name).open("rb") as file:
            assert has_pages(file) == (name[0] == "2"), name


def test_the_content_decides_the_format_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "really-a-png.jpg").write_bytes(encode(COLOR, "PNG"))
    np.testing.assert_array_equal(read_image(tmp_path / "really-a-png.jpg"), COLOR)


# what a camera did to the upright picture, by the EXIF orientation that it wrote
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image[:, ::-1].transpose(1, 0, 2),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: image[::-1].transpose(1, 0, 2),
}


XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>"""


def oriented(kind: str, exif: int | None = None, xmp: int | None = None) -> dict[str, Any]:
    """Options of `encode` that write the orientation into the metadata."""
    options: dict[str, Any] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    text = xmp and XMP.format(xmp)
    if kind == "TIFF":
        return {"tiffinfo": {tag: value for tag, value in ((274, exif), (700, text and text.encode())) if value}}
    if exif is not None:
        options["exif"] = Image.Exif()
        options["exif"][274] = exif
    if text and kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", text)
    elif text:
        options["xmp"] = text.encode()
    return options


PLACES = [(kind, where) for kind in ("JPEG", "PNG", "TIFF", "WEBP") for where in ("exif", "xmp", "both")]


@pytest.mark.parametrize(("kind", "where"), [*PLACES, ("AVIF", "exif"), ("AVIF", "xmp")])
@pytest.mark.parametrize("orientation", STORED)
def test_the_orientation_brings_the_picture_upright(tmp_path: Path, where: str, orientation: int, kind: str) -> None:
    """For training, for prediction, and where only the size is read; EXIF is preferred."""
    upright = np.full((24, 40, 3), 128, np.uint8)
    upright[:8, :8], upright[:8, 8:16], upright[16:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    given = {"exif": orientation, "xmp": 6} if where == "both" else {where: orientation}
    path = tmp_path / "photo.jpg"  # the content decides
    path.write_bytes(encode(stored, kind, **oriented(kind, **given)))
    image = read_image(path)
    assert image.shape == upright.shape
    assert image.flags.c_contiguous
    limit = {"JPEG": 12, "AVIF": 130}.get(kind, 0)  # AVIF halves the resolution of colors
    assert np.abs(image.astype(int) - upright).max() <= limit
    assert read_size(path) == upright.shape[:2]
    (source,) = find_sources([path])
    np.testing.assert_array_equal(source.read(), image)
    reference = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
    assert np.abs(image - reference).max() <= (2 if kind == "JPEG" else 0)


def test_metadata_far_behind_the_start_of_a_file_are_found(tmp_path: Path) -> None:
    """EXIF after a long color profile in a JPEG file, and after the pixels of a PNG file."""
    jpeg = encode(COLOR, "JPEG", **oriented("JPEG", exif=6))
    parts = [b"ICC_PROFILE\0" + bytes([number, 6]) + bytes(60_000) for number in range(1, 7)]
    profile = b"".join(struct.pack(">BBH", 255, 0xE2, len(part) + 2) + part for part in parts)
    png = encode(COLOR, "PNG", **oriented("PNG", exif=6))
    start, pixels = png.index(b"eXIf") - 4, png.index(b"IDAT") - 4
    exif, end = png[start:pixels], png.index(b"IEND") - 4
    moved = png[:start] + png[pixels:end] + exif + png[end:]
    for number, data in enumerate((jpeg[:2] + profile + jpeg[2:], moved)):
        path = tmp_path / str(number)
        path.write_bytes(data)
        assert read_size(path) == read_image(path).shape[:2] == (36, 24)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("kind", ["MPO", "PNG", "TIFF", "WEBP", "GIF", "AVIF"])
def test_the_size_is_read_without_the_pixels(
    tmp_path: Path, kind: str, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, images = tmp_path / "photo", [Image.fromarray(np.roll(COLOR, number)) for number in range(frames)]
    path.write_bytes(encode(images[0], kind, save_all=frames > 1, append_images=images[1:]))
    monkeypatch.setattr("visiontasks.core.images.read_image", None)
    monkeypatch.setattr(Image.Image, "load", None)
    assert read_size(path) == (24, 36)


@pytest.mark.parametrize("block", [b"Exif\0\0not a directory", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_broken_exif_block_does_not_cost_the_picture(block: bytes) -> None:
    np.testing.assert_array_equal(decode_image(encode(COLOR, "JPEG", exif=block)), decode_image(encode(COLOR, "JPEG")))


@pytest.mark.parametrize("orientation", [0, 9, 4000])
def test_an_orientation_that_does_not_exist_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    np.testing.assert_array_equal(decode_image(encode(COLOR, "PNG", exif=exif)), COLOR)
    assert decode_image(encode(COLOR, "JPEG", exif=exif)).shape == COLOR.shape


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_cut_anywhere_is_found(kind: str) -> None:
    data = JPEGS[kind]
    decode_image(data)
    for end in [*range(0, len(data), 5), *range(len(data) - 40, len(data))]:
        with pytest.raises(InputError, match=r"^cut\.jpg: "):
            decode_image(data[:end], "cut.jpg")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_other_formats_cut_in_the_pixels_are_found(kind: str) -> None:
    data = encode(np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8), kind)
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        with pytest.raises(InputError, match=r"^cut: "):
            decode_image(data[: int(len(data) * share)], "cut")


def test_a_jpeg_with_bytes_after_its_end_is_fine() -> None:
    np.testing.assert_array_equal(decode_image(JPEGS["baseline"] + b"\0" * 100), decode_image(JPEGS["baseline"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<html>404 Not Found</html>\n", "not an image of a known format"),
        (b"\xff\xd8\xff\xe0 and then text", "broken or truncated"),
        (b"\x89PNG\r\n\x1a\n and then text", "broken or truncated"),
        (JPEGS["baseline"][:-30], "broken or truncated"),
        (b"%PDF-1.4", "not an image of a known format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image, which is not read. Convert it to JPEG or PNG"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "not an image of a known format"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image, which is not read"),
        (encode(COLOR, "JPEG2000"), "a JPEG 2000 image, which is not read"),
        (cv2.imencode(".tiff", np.zeros((4, 4)))[1].tobytes(), "a broken TIFF image, or one with bands of a rare kind"),
        (encode(COLOR, "TIFF", tiffinfo={254: 1}), "a raw photo, whose first image is a thumbnail"),
        (encode(COLOR, "PNG")[:-40], "broken or truncated"),
        (encode(np.dstack([COLOR, ALPHA * 0]), "PNG"), "every pixel is transparent, and the colors below differ"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_no_regular_file_is_an_error_and_never_blocks(tmp_path: Path, time_limit: Any) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "folder.jpg"):
        with time_limit(5), pytest.raises(InputError, match=f"{name}: not a regular file"):
            read_image(tmp_path / name)
    with time_limit(5), pytest.raises(InputError, match="not a regular file"):
        read_image("/dev/zero")


@pytest.mark.parametrize("name", ["absent.jpg", "absent/photo.jpg", "x" * 300 + ".jpg", "zero\0byte.jpg"])
def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value)


def test_a_name_that_is_not_utf8_is_read_and_can_be_printed(tmp_path: Path) -> None:
    good, bad = (os.fsencode(tmp_path) + name for name in (b"/gr\xfcn.png", b"/gr\xfcn-leer.png"))
    Path(os.fsdecode(good)).write_bytes(encode(COLOR, "PNG"))
    Path(os.fsdecode(bad)).write_bytes(b"")
    for path in (os.fsdecode(good), Path(os.fsdecode(good))):
        np.testing.assert_array_equal(read_image(path), COLOR)
    with pytest.raises(InputError, match=r"n-leer\.png: the file is empty") as caught:
        read_image(os.fsdecode(bad))
    str(caught.value).encode("utf-8")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def tiny_png_of(width: int, height: int, more: bytes = b"") -> bytes:
    """All black and 1-bit: kilobytes that any reader could unpack."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def patched(kind: str, place: int, header: bytes) -> bytes:
    """A small file that claims another size."""
    data = encode(COLOR, kind)
    return data[:place] + header + data[place + len(header) :]


def tiff_of(width: int, height: int) -> bytes:
    data = encode(COLOR, "TIFF")
    for tag, value in ((256, width), (257, height)):
        place = data.index(struct.pack("<HHI", tag, 4, 1))
        data = data[: place + 8] + struct.pack("<I", value) + data[place + 12 :]
    return data


SIDE = 16_383  # of the largest WebP image
ZEROS = zlib.compress(bytes(1 << 20), 9)
BOMBS = {
    "just above the limit": tiny_png_of(MAX_PIXELS // 1000 + 1, 1000),
    "far above the limit": tiny_png_of(20_000, 20_000),
    "JPEG": patched("JPEG", JPEGS["baseline"].index(b"\xff\xc0") + 5, struct.pack(">HH", SIDE, SIDE)),
    "GIF": patched("GIF", 6, struct.pack("<HH", SIDE, SIDE)),
    "BMP": patched("BMP", 18, struct.pack("<ii", SIDE, SIDE)),
    "PPM": b"P6 16383 16383 255\n",
    "TIFF": tiff_of(SIDE, SIDE),
    "WebP": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + struct.pack("<I", SIDE)[:3] * 2,
}
PACKED = {
    "profile": tiny_png_of(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100 << 20), 9))),
    "texts": tiny_png_of(8, 8, chunk(b"zTXt", b"a\0\0" + ZEROS) * 100),
}


@pytest.mark.parametrize("read", [read_image, read_size])
@pytest.mark.parametrize("name", [*BOMBS, *PACKED])
def test_what_would_not_fit_is_refused_before_it_is_unpacked(tmp_path: Path, name: str, read: Any) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes((BOMBS | PACKED)[name])
    peak, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError, match=r"bomb\.png: .*(limit|too large|Too much)"):
        read(path)
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 80_000  # kilobytes


def test_a_large_image_below_the_limit_is_read() -> None:
    assert decode_image(tiny_png_of(3000, 1000)).shape == (1000, 3000, 3)


# Fuzzing: files with random faults


def seeds(kind: str) -> list[bytes]:
    """Sound files of a kind, of several modes, with metadata."""
    frames = [Image.fromarray(np.roll(COLOR, number, 1)) for number in range(3)]
    indexed, _ = palette()
    options = {"save_all": True, "append_images": frames[1:]}
    match kind:
        case "JPEG":
            return [*JPEGS.values(), encode(COLOR, kind, **oriented(kind, 6, 3))]
        case "PNG":
            deep = encode(TWELVE * 16, kind, **oriented(kind, 6, 3))
            return [encode(rgb_with_alpha(), kind), encode(indexed, kind, transparency=1), deep]
        case "WEBP":
            return [encode(COLOR, kind, lossless=lossless, exif=b"Exif\0\0II*\0") for lossless in (True, False)] + [
                encode(frames[0], kind, **options)
            ]
        case "TIFF":
            packed = [
                encode(COLOR, kind, compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")
            ]
            plain = [encode(COLOR, kind, **oriented(kind, 6, 3)), encode((XS / 35).astype(np.float32), kind)]
            return [*packed, *plain, encode(frames[0], kind, **options)]
        case "GIF":
            return [encode(frames[0], kind, **options), encode(indexed, kind, transparency=1)]
        case "MASK":
            return [encode(GRAY % 3, "PNG"), encode(indexed, "PNG"), encode(Image.fromarray(GRAY > 99), "PNG")]
    return [encode(image, kind) for image in (COLOR, GRAY)]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with some bytes changed, most often near its start, or with a part removed, repeated or cut off."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = int(len(found) * rng.random() ** rng.integers(1, 5))
        length = int(rng.integers(1, 65))
        match rng.integers(0, 8):
            case 0:
                del found[place : place + length]
            case 1:
                found[place:place] = found[place : place + length]
            case 2:
                del found[max(1, place) :]
            case 3:
                found[place : place + 4] = rng.choice(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\1\0"]
                )
            case _:
                found[place : place + 1] = rng.bytes(1)
    return bytes(found)


KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF", "MASK")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_files_with_random_faults_are_read_or_refused(tmp_path: Path, time_limit: Any, kind: str, count: int) -> None:
    """Each takes less than 5 seconds, nothing but an InputError is raised, and the size agrees with the pixels."""
    rng, sound, path = np.random.default_rng([count, KINDS.index(kind)]), seeds(kind), tmp_path / "fuzz.png"
    read = MaskEncoding(3).read if kind == "MASK" else read_image
    refused = sound_files = 0
    for _ in range(count):
        path.write_bytes(mutated(sound[rng.integers(len(sound))], rng))
        with time_limit(5):
            try:
                size = read(path).shape[:2]
            except InputError as error:
                refused += str(error).startswith(f"{path}: ")
                continue
            assert read_size(path) == size
        sound_files += 1
    assert refused + sound_files == count
    assert refused > 0
