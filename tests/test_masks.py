"""Masks: every way to write a class index a pixel, and what each odd file says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.data import MaskFolder, Splits
from visiontasks.data.masks import MaskEncoding
from visiontasks.data.splits import MissingSplit
from visiontasks.models.heads.base import class_counts
from visiontasks.targets import find_target

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
    found = MaskEncoding(3).read(save(tmp_path / ("a.tiff" if mode == "I" else "a.png"), CLASSES, mode))
    assert found.dtype == np.uint8
    assert found.tolist() == CLASSES.tolist()


def test_a_1_bit_mask_has_two_classes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[True, False]]))
    assert Image.open(path).mode == "1"
    assert MaskEncoding(2).read(path).tolist() == [[1, 0]]


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colors_are_looked_up_in_palettes_too(tmp_path: Path, mode: str) -> None:
    pixels = CLASSES if mode == "P" else np.array(PALETTE, np.uint8).reshape(-1, 3)[CLASSES]
    code = MaskEncoding(3, colors=[BLUE, GREEN, RED], ignore=[BLACK])
    assert code.read(save(tmp_path / "a.png", pixels, mode)).tolist() == [[2, 1, 0], [0, 255, 2]]


def test_a_mask_of_several_pages_is_read_at_the_page_of_its_image(tmp_path: Path) -> None:
    first, second = Image.fromarray(np.zeros((2, 3), np.uint8)), Image.fromarray(CLASSES)
    first.save(path := tmp_path / "a.tif", save_all=True, append_images=[second])
    assert MaskEncoding(3).read(path, page=2).tolist() == CLASSES.tolist()
    with pytest.raises(InputError, match=r"a\.tif: no page 3; the file has 2"):
        MaskEncoding(3).read(path, page=3)
    second.save(tmp_path / "b.tif")  # for every page of the image
    assert MaskEncoding(3).read(tmp_path / "b.tif", page=2).tolist() == CLASSES.tolist()


def test_values_are_mapped_and_some_ignored(tmp_path: Path) -> None:
    """Oxford-IIIT Pet: 1 is pet, 2 background, 3 the border."""
    code = MaskEncoding(2, values=[2, 1], ignore=[3])
    assert code.read(save(tmp_path / "a.png", np.array([[1, 2, 3, 255]], np.uint8))).tolist() == [[1, 0, 255, 255]]


def test_values_of_16_bits_are_kept(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[300, 40000]], np.uint16))
    assert MaskEncoding(2, values=[40000, 300]).read(path).tolist() == [[1, 0]]


def test_255_is_a_class_where_it_is_declared(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 255]], np.uint8))
    assert MaskEncoding(2, values=[0, 255]).read(path).tolist() == [[0, 1]]


def test_a_mask_is_turned_upright_as_its_image_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(CLASSES).save(tmp_path / "a.png", exif=exif)
    assert MaskEncoding(3).read(tmp_path / "a.png").tolist() == np.rot90(CLASSES, -1).tolist()


UNKNOWN = {
    "value": (
        {},
        [[0, 5], [5, 1]],
        r"a\.png: 2 pixels are 5, which is no class\. .* Declare it in `values` or `ignore`",
    ),
    "values": (
        {},
        [[4, 5], [5, 1]],
        "2 pixels are 5, which is no class, and 1 other value is none. Known are 0, 1, 2, 255",
    ),
    "color": ({"colors": [RED, GREEN, BLUE]}, [[RED, BLACK]], r"1 pixel is \[0, 0, 0\], .* `colors` or `ignore`"),
    "colors": ({}, [[RED, GREEN]], r"a\.png: the mask has colors; declare the color of each class in `colors`"),
}


@pytest.mark.parametrize("fault", UNKNOWN)
def test_a_pixel_of_no_class_is_an_error_with_file_value_and_count(tmp_path: Path, fault: str) -> None:
    options, pixels, message = UNKNOWN[fault]
    path = save(tmp_path / "a.png", np.array(pixels, np.uint8))
    with pytest.raises(InputError, match=message):
        MaskEncoding(3, **options).read(path)


@pytest.mark.parametrize(
    ("name", "options"), [("a.jpg", {}), ("a.webp", {}), ("a.avif", {}), ("a.webp", {"exact": True})]
)
def test_a_lossy_format_is_an_error_even_where_its_noise_makes_classes(tmp_path: Path, name: str, options: Any) -> None:
    Image.fromarray(CLASSES * 100).convert("RGBA" if options else "L").save(tmp_path / name, **options)
    with pytest.raises(InputError, match=rf"{name}: (JPEG|WEBP|AVIF) compression changes pixel values, and .* PNG"):
        MaskEncoding(3, values=[0, 100, 200]).read(tmp_path / name)


def test_lossless_webp_and_plain_formats_are_read(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([CLASSES] * 3)).save(tmp_path / "a.webp", lossless=True)
    Image.fromarray(CLASSES).save(tmp_path / "a.pgm")
    for name in ("a.webp", "a.pgm"):
        assert MaskEncoding(3).read(tmp_path / name).tolist() == CLASSES.tolist()
    (tmp_path / "b.pgm").write_bytes(b"P5 3 2 2\n" + (CLASSES % 3).tobytes())
    with pytest.raises(InputError, match=r"b\.pgm: a PPM file with another maximum than 255 or 65535 changes"):
        MaskEncoding(3).read(tmp_path / "b.pgm")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_classes_in_the_alpha_channel_alone_are_an_error(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (3, 2))
    image.putalpha(Image.fromarray(CLASSES))
    image.save(tmp_path / "a.png")
    for options in ({}, {"colors": [BLACK, RED, BLUE]}):
        with pytest.raises(InputError, match=r"a\.png: only its alpha channel has different values"):
            MaskEncoding(3, **options).read(tmp_path / "a.png")


def test_floats_are_read_if_they_are_whole_numbers(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", CLASSES.astype(np.float32))
    assert MaskEncoding(3).read(path).tolist() == CLASSES.tolist()
    for value in (0.5, np.nan):
        with pytest.raises(InputError, match=r"a\.tif: its values are fractions"):
            MaskEncoding(3).read(save(path, np.full((2, 3), value, np.float32)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("pixels", [[[0, 255]], [[255, 255]]])
def test_0_and_255_of_two_classes_are_an_error_until_one_says_what_255_is(
    tmp_path: Path, pixels: list[list[int]], mode: str
) -> None:
    path = save(tmp_path / "a.png", np.array(pixels, np.uint8), mode)
    with pytest.raises(
        InputError, match=r"a\.png: \d pixels? (is|are) 255 and none is 1\. Set `values: \[0, 255\]` .*`ignore"
    ):
        MaskEncoding(2).read(path)
    assert MaskEncoding(2, ignore=[255]).read(path).tolist() == pixels
    assert MaskEncoding(2, values=[0, 255]).read(path).tolist() == (np.array(pixels) // 255).tolist()
    assert MaskEncoding(3).read(path).tolist() == pixels
    assert MaskEncoding(2).read(save(path, np.array([[0, 1, 255]], np.uint8))).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_no_mask_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: (the file is empty|broken or truncated mask)"):
        MaskEncoding(3).read(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"b\.png: no such file"):
        MaskEncoding(3).read(tmp_path / "b.png")


WRONG = {
    "no class": ({"num_classes": 0}, "class_names: a mask can have 1 to 255 classes; found 0"),
    "too many": ({"num_classes": 256}, "found 256"),
    "both": ({"values": [0, 1], "colors": [RED, BLUE]}, "values and colors: "),
    "too few": ({"values": [1]}, "values: 1 for 2 classes"),
    "twice": ({"values": [1, 1]}, "values, ignore: 1 occurs twice"),
    "class ignored": ({"colors": [RED, BLUE], "ignore": [BLUE]}, r"colors, ignore: \[0, 0, 255\] occurs twice"),
    "no color": ({"colors": [RED, 7]}, r"colors: 7 is not \[red, green, blue\]"),
    "color too large": ({"colors": [RED, [0, 0, 256]]}, r"colors: \[0, 0, 256\] is not"),
    "color for a value": ({"ignore": [BLACK]}, r"ignore: \[0, 0, 0\] is not a pixel value"),
    "value for a color": ({"colors": [RED, BLUE], "ignore": [255]}, r"ignore: 255 is not \[red"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_code_without_sense_is_an_error(fault: str) -> None:
    options, message = WRONG[fault]
    with pytest.raises(InputError, match=message):
        MaskEncoding(**{"num_classes": 2, **options})


# MaskFolder

NAMES = ["sky", "road"]
ALL = Splits(val=0.0)


@pytest.fixture
def write_pairs(tmp_path: Path) -> Callable[..., str]:
    """Writes photos and masks of 6 x 4 pixels, the first column of each mask of class 1; returns the folder."""

    def write(*names: str, images: str = "images", masks: str = "masks") -> str:
        mask = np.zeros((4, 6), np.uint8)
        mask[:, 0] = 1
        for number, name in enumerate(names):  # no two photos are the same file
            photo = np.full((4, 6, 3), 20 * number, np.uint8)
            for folder, pixels, suffix in ((images, photo, "jpg"), (masks, mask, "png")):
                path = tmp_path / "set" / folder / f"{name}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
        return str(tmp_path / "set")

    return write


def names(data: MaskFolder) -> list[str]:
    return [data.name(index) for index in range(len(data))]


def test_a_mask_belongs_to_the_image_of_its_name(write_pairs: Callable) -> None:
    data = MaskFolder("train", write_pairs("b", "a", "x/a"), NAMES, splits=ALL)
    assert names(data) == ["images/a.jpg", "images/b.jpg", "images/x/a.jpg"]
    assert (data.class_names, data.mask_names) == ([], NAMES)
    sample = data[1]
    assert sample["image"].shape == (4, 6, 3)
    assert sample["mask"].sum(0).tolist() == [4, 0, 0, 0, 0, 0]
    assert sample.keys() == {"image", "mask", "index", "size"}


def test_pairs_are_divided_by_ratio_or_fold(write_pairs: Callable) -> None:
    root = write_pairs(*"abcdefghij")
    found = [names(MaskFolder(split, root, NAMES, splits=Splits(fold=1))) for split in ("train", "val")]
    assert found[1] == ["images/b.jpg", "images/g.jpg"]
    assert sorted(found[0] + found[1]) == [f"images/{name}.jpg" for name in "abcdefghij"]
    with pytest.raises(MissingSplit, match="the test split is empty"):
        MaskFolder("test", root, NAMES)


def test_copies_of_photos_held_out_are_not_trained_on(write_pairs: Callable, caplog: Any) -> None:
    root = write_pairs(*"abcde")
    shutil.copy(Path(root, "images/b.jpg"), Path(root, "images/d.jpg"))
    with caplog.at_level("INFO"):
        found = [names(MaskFolder(split, root, NAMES, splits=Splits(fold=1))) for split in ("train", "val")]
    assert found == [["images/a.jpg", "images/c.jpg", "images/e.jpg"], ["images/b.jpg"]]
    assert "1 of 4 training images left out, the same file as one held out." in caplog.text
    for name in "ace":
        shutil.copy(Path(root, "images/b.jpg"), Path(root, f"images/{name}.jpg"))
    with pytest.raises(InputError, match=r"a\.jpg: this and every other training image is the same file"):
        MaskFolder("train", root, NAMES, splits=Splits(fold=1))


@pytest.mark.parametrize("name", ["images/a.jpg", "images/d.jpg", "masks/a.png"])
def test_a_link_to_nowhere_is_an_error_that_names_it(write_pairs: Callable, name: str) -> None:
    path = Path(write_pairs(*"abcd")) / name
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(InputError, match=path.name):
        _ = MaskFolder("train", str(path.parents[1]), NAMES, splits=Splits(fold=3))[0]


def test_a_list_that_is_not_utf8_is_an_error_that_names_it(write_pairs: Callable) -> None:
    root = Path(write_pairs("a"))
    (root / "train.txt").write_bytes(b"a\nM\xfcller\n")
    with pytest.raises(InputError, match=r"train\.txt: not UTF-8 at byte 3"):
        MaskFolder("train", str(root), NAMES, lists="{split}.txt")


def test_folders_of_a_split_say_what_belongs_to_it(write_pairs: Callable, caplog: Any) -> None:
    for split in ("train", "val"):
        root = write_pairs(f"{split}1", images=f"{split}/photos", masks=f"{split}/labels")
    places = {"images": "{split}/photos", "masks": "{split}/labels"}
    with caplog.at_level("INFO"):
        found = [names(MaskFolder(s, root, NAMES, **places, splits=Splits(val=0.5))) for s in ("train", "val")]
    assert found == [["train/photos/train1.jpg"], ["val/photos/val1.jpg"]]
    assert "{split}/photos has the splits, so `splits: {val: 0.5" in caplog.text
    with pytest.raises(MissingSplit, match=r"\{split\}/photos: no 'test'; there are train, val"):
        MaskFolder("test", root, NAMES, **places)


@pytest.mark.parametrize("line", ["images/b.jpg masks/b.png", "b"])
def test_a_list_says_what_belongs_to_a_split(write_pairs: Callable, line: str) -> None:
    """CamVid's lists name both files, Pascal VOC's the stem; a photo without a mask may lie beside them."""
    root = write_pairs("a", "b")
    Path(root, "masks", "a.png").unlink()
    Path(root, "train.txt").write_text(f"{line}\n\n")
    assert names(MaskFolder("train", root, NAMES, lists="{split}.txt")) == ["images/b.jpg"]
    with pytest.raises(MissingSplit, match=r"train\.txt: no such list"):
        MaskFolder("train", root, NAMES, lists="lists/{split}.txt")


LISTS = {
    "no mask": ("a", r"train\.txt, line 1: no image a\.\* in .*images with a mask in .*masks"),
    "no file": ("images/b.jpg masks/c.png", r"line 1: no such file: .*c\.png"),
    "outside": ("../b.jpg masks/b.png", r"line 1: '\.\./b\.jpg' leaves"),
    "three": ("b b b", r"line 1: no image b b b\.\* in"),
    "three paths": ("a.png;b.png;c.png", "line 1: expected an image and its mask, or one name; found 'a.png;b.png;c"),
    "twice": ("b\nimages/b.jpg masks/b.png", r"line 2: .*b\.jpg is already in .*line 1"),
    "empty": ("", "the list is empty"),
}


@pytest.mark.parametrize("fault", LISTS)
def test_a_wrong_list_is_an_error_that_names_the_line(write_pairs: Callable, fault: str) -> None:
    text, message = LISTS[fault]
    root = write_pairs("a", "b")
    Path(root, "masks", "a.png").unlink()
    Path(root, "train.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        MaskFolder("train", root, NAMES, lists="{split}.txt")


def test_missing_partners_are_an_error_that_names_the_first_few(write_pairs: Callable) -> None:
    root = write_pairs(*"abcdef")
    for name in "bcde":
        Path(root, "masks", f"{name}.png").unlink()
    with pytest.raises(InputError, match=r"images: 4 of 6 images have no mask in .*masks: b, c, d, \.\.\."):
        MaskFolder("train", root, NAMES)
    for name in "bcdef":
        Path(root, "images", f"{name}.jpg").unlink()
    with pytest.raises(InputError, match=r"masks: 1 of 2 masks have no image in .*images: f\. Add them"):
        MaskFolder("train", root, NAMES)


def test_masks_with_an_ending_of_their_own_are_named(write_pairs: Callable) -> None:
    root = write_pairs("a", "b")
    for mask in Path(root, "masks").iterdir():
        mask.rename(mask.with_stem(f"{mask.stem}_mask"))
    with pytest.raises(InputError, match=r"no image has the name of a mask in .*: a, b, \.\.\. and a_mask, b_mask"):
        MaskFolder("train", root, NAMES)


def test_what_is_not_there_or_there_twice_is_an_error(write_pairs: Callable) -> None:
    root = write_pairs("a")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        MaskFolder("train", "nowhere", NAMES)
    with pytest.raises(InputError, match=r"labels: no such folder\. Set `images` and `masks`"):
        MaskFolder("train", root, NAMES, masks="labels")
    Path(root, "none").mkdir()
    with pytest.raises(InputError, match="none: no images"):
        MaskFolder("train", root, NAMES, masks="none")
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(Path(root, "images", "a.png"))
    with pytest.raises(InputError, match=r"has the same name except for the extension"):
        MaskFolder("train", root, NAMES)


def test_a_mask_of_another_size_is_an_error_that_names_both(write_pairs: Callable) -> None:
    root = write_pairs("a")
    Image.fromarray(np.zeros((6, 4), np.uint8)).save(Path(root, "masks", "a.png"))
    advice = "Turn the mask as EXIF turns the image"
    with pytest.raises(InputError, match=rf"images/a\.jpg: its mask has 4 x 6 pixels, the image 6 x 4\. {advice}"):
        MaskFolder("train", root, NAMES, splits=ALL)[0]
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(Path(root, "masks", "a.png"))
    with pytest.raises(InputError, match=r"6 x 5 pixels, the image 6 x 4\. Export it again"):
        MaskFolder("train", root, NAMES, splits=ALL)[0]


def test_camvid_as_published(shared_data: Path) -> None:
    """11 classes, of which road, building and sky are most of the pixels; void, 11, is ignored."""
    if not (shared_data / "camvid").is_dir():
        pytest.skip("no CamVid")
    sets = [
        MaskFolder(split, str(shared_data / "camvid"), [*"abcdefghijk"], lists="{split}.txt", ignore=[11])
        for split in ("train", "val", "test")
    ]
    assert [len(data) for data in sets] == [367, 101, 233]
    counts = np.sum([np.bincount(sets[0].mask(i).ravel(), minlength=256) for i in range(0, 367, 10)], 0)
    assert not counts[11:255].any()
    assert counts[255] > 0
    assert counts[[0, 1, 3]].sum() / counts[:11].sum() > 0.6
    assert sets[0][0]["mask"].shape == (360, 480)


# figures


def draw_masks(count: int = 7, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and targets: class 4 is only predicted, 5 occurs nowhere, and some pixels are ignored."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 4, (count, 9, 11)).astype(np.uint8)
    predicted = np.where(rng.random(target.shape) < 0.6, target, rng.integers(0, 5, target.shape)).astype(np.uint8)
    target[rng.random(target.shape) < 0.1] = 255
    return predicted, target


def numpy_scores(predicted: np.ndarray, target: np.ndarray, classes: int = 6) -> dict[str, float]:
    p, t = predicted[target != 255], target[target != 255]
    iou, dice = [], []
    for c in range(classes):
        if (p == c).any() or (t == c).any():
            both = ((p == c) & (t == c)).sum()
            iou.append(both / ((p == c) | (t == c)).sum())
            dice.append(2 * both / ((p == c).sum() + (t == c).sum()))
    return {"miou": float(np.mean(iou)), "dice": float(np.mean(dice)), "pixel_accuracy": float((p == t).mean())}


def count(predicted: np.ndarray, target: np.ndarray, classes: int = 6) -> np.ndarray:
    """The counts of each image, (N, 3, classes)."""
    class_names, kind = [str(number) for number in range(classes)], find_target("mask")
    pairs = zip(predicted, target, strict=True)
    return np.stack([kind.counts({"mask": true}, {"mask": guess}, class_names) for guess, true in pairs])


def scores(counts: np.ndarray) -> dict[str, float]:
    found = find_target("mask").figures(counts)
    return {name: float(value) for name, value in found.items() if not name.startswith("class/")}


def test_figures_of_masks_are_those_of_all_pixels_however_they_are_counted() -> None:
    """Image by image in numpy, and batch by batch in torch as in training."""
    predicted, target = draw_masks()
    expected = pytest.approx(numpy_scores(predicted, target), rel=1e-6)
    counts = count(predicted, target)
    assert scores(counts) == expected
    assert next(iter(scores(counts))) == find_target("mask").monitor == "miou"
    for size in (1, 3, 7):
        batches = [[torch.from_numpy(masks[i : i + size]) for masks in (predicted, target)] for i in range(0, 7, size)]
        parts = [class_counts(*batch, num_classes=6, ignored=255) for batch in batches]
        assert {part.dtype for part in parts} == {torch.int64}
        np.testing.assert_array_equal(sum(parts), counts.sum(0))
        assert scores(np.stack(parts).astype(float)) == expected


def test_masks_of_different_sizes_count_by_their_pixels() -> None:
    predicted, target = draw_masks()
    pairs = [(predicted[0], target[0]), (predicted[1, :3], target[1, :3])]
    counts = np.concatenate([count(guess[None], true[None]) for guess, true in pairs])
    flat = [np.concatenate([masks[0].ravel(), masks[1, :3].ravel()]) for masks in (predicted, target)]
    assert scores(counts) == pytest.approx(numpy_scores(*flat), rel=1e-6)


def test_a_class_that_does_not_occur_has_no_score_of_its_own() -> None:
    found = find_target("mask").figures(count(*draw_masks()))
    assert np.isnan(found["class/iou"]).tolist() == [False] * 5 + [True]
    assert np.isnan(found["class/dice"]).tolist() == [False] * 5 + [True]
    assert np.isnan(found["class/recall"]).tolist() == [False] * 4 + [True] * 2  # class 4 is only predicted
    assert found["class/iou"][4] == found["class/dice"][4] == 0


def test_the_mean_iou_is_not_torchmetrics_mean_over_images() -> None:
    from torchmetrics.segmentation import MeanIoU

    rng = np.random.default_rng(1)  # a rare class that is found in one image and missed in the next
    target = (rng.random((4, 20, 20)) < np.array([0.3, 0.02, 0.02, 0.0])[:, None, None]).astype(np.uint8)
    predicted = target.copy()
    predicted[1] = 0
    theirs = MeanIoU(2, input_format="index")
    theirs.update(torch.from_numpy(predicted).long(), torch.from_numpy(target).long())
    found = scores(count(predicted, target, 2))["miou"]
    assert found == pytest.approx(numpy_scores(predicted, target, 2)["miou"])
    assert abs(found - float(theirs.compute())) > 0.05


def test_masks_with_blurred_edges_are_divided_by_a_threshold(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[4:12, 4:12] = 255
    for number in range(4):
        Image.fromarray(pixels // (number + 1)).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{number}.jpg", quality=50)
    names = ["background", "object"]
    found = MaskFolder("train", str(tmp_path), names, threshold=128).mask(0)
    assert found is not None
    assert np.array_equal(found, pixels[..., 0] // 255)
    with pytest.raises(InputError, match="JPEG compression changes pixel values"):
        MaskFolder("train", str(tmp_path), names).mask(0)
    with pytest.raises(InputError, match="threshold: 0 must be 1 to 255"):
        MaskFolder("train", str(tmp_path), names, threshold=0)
    with pytest.raises(InputError, match="divides two classes; found 3"):
        MaskFolder("train", str(tmp_path), [*names, "other"], threshold=128)
    with pytest.raises(InputError, match="excludes values, colors and ignore"):
        MaskFolder("train", str(tmp_path), names, values=[0, 255], threshold=128)
