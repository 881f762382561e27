"""The check of a set: planted faults are found, and clean sets have none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from visiontasks.cli import main
from visiontasks.cli.opening import predicted_keys
from visiontasks.core.errors import InputError
from visiontasks.core.faults import collecting, refuse
from visiontasks.data import CocoBoxes, CsvTable, ImageFolder, MaskFolder, Shapes, VisionDataModule, VocBoxes, YoloBoxes
from visiontasks.doctor import Diagnosis, Finding, check_briefly, diagnose, similarity
from visiontasks.doctor.finding import CHECK_NAMES
from visiontasks.doctor.groups import group_of, number_of
from visiontasks.doctor.similarity import fingerprints, groups_of, similar_pairs, turned
from visiontasks.doctor.swaps import find_swaps

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"


def photo(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A picture with structure at several scales, unlike every other seed."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for cells in (3, 6, 12):
        image += cv2.resize(rng.normal(0, 40, (cells, cells, 3)).astype(np.float32), (width, height))
    return (image + 128).clip(0, 255).astype(np.uint8)


def save(pixels: np.ndarray, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two classes: 12 photos of each in train, 4 in val."""
    for split, count, start in (("train", 12, 0), ("val", 4, 100)):
        for number in range(count):
            for place, name in enumerate(("cat", "dog")):
                save(photo(start + 2 * number + place), tmp_path / split / name / f"{name}{number}.jpg", quality=92)
    return tmp_path


def module(dataset: Callable[..., Any], **options: Any) -> VisionDataModule:
    return VisionDataModule(dataset, image_size=64, augment="none", **options)


def of_folders(root: Path) -> Diagnosis:
    return diagnose(module(partial(ImageFolder, root=str(root))))


def found(diagnosis: Diagnosis, check: str) -> list[Finding]:
    return [finding for finding in diagnosis.findings if finding.check == check]


def names(diagnosis: Diagnosis, check: str) -> set[str]:
    return {place.name for finding in found(diagnosis, check) for place in finding.places}


def test_nothing_is_found_in_clean_sets(folders: Path) -> None:
    assert of_folders(folders).findings == []
    shapes = diagnose(module(partial(Shapes, count=60, size=64)))
    assert shapes.findings == []
    assert shapes.is_healthy
    assert shapes.images == {"train": 60, "val": 15, "test": 15}
    assert shapes.classes["train"]["label"] == {"circle": 15, "square": 15, "triangle": 15, "star": 15}


def test_files_that_cannot_be_read_are_errors(folders: Path) -> None:
    cats = folders / "train/cat"
    data = (cats / "cat0.jpg").read_bytes()
    (cats / "cat0.jpg").write_bytes(data[: len(data) // 2])
    (cats / "cat1.jpg").write_bytes(b"")
    (cats / "cat2.jpg").write_bytes(b"not an image")
    diagnosis = of_folders(folders)
    assert names(diagnosis, "unreadable") == {f"train/cat/cat{number}.jpg" for number in range(3)}
    assert found(diagnosis, "unreadable")[0].severity == "error"
    assert not diagnosis.is_healthy


def test_oddly_stored_files_are_named(folders: Path) -> None:
    cats = folders / "train/cat"
    exif = Image.Exif()
    exif[274] = 6
    save(photo(0), cats / "cat0.jpg", format="PNG")
    Image.fromarray(photo(2)).convert("CMYK").save(cats / "cat1.jpg")
    save(photo(4), cats / "cat2.jpg", exif=exif)
    save(np.full((60, 60, 3), 200, np.uint8), cats / "cat3.jpg")
    save(photo(8, 20, 200), cats / "cat4.jpg")
    save(photo(10)[..., 0], cats / "cat5.jpg")
    save(np.dstack([photo(12), np.full((96, 128), 100, np.uint8)]), cats / "cat6.png")
    save((photo(14)[..., 0].astype(np.uint16) * 200), cats / "cat7.png")
    diagnosis = of_folders(folders)
    expected = ("suffix", "cmyk", "exif_turn", "blank", "extreme_aspect", "gray")
    for number, check in enumerate(expected):
        assert names(diagnosis, check) == {f"train/cat/cat{number}.jpg"}, check
    assert names(diagnosis, "alpha") == {"train/cat/cat6.png"}
    assert names(diagnosis, "deep") == {"train/cat/cat7.png"}
    assert found(diagnosis, "suffix")[0].places[0].note == "PNG, not .jpg"


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "small": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "large": lambda p: cv2.resize(p, None, fx=2, fy=1.5),
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "turned": lambda p: np.ascontiguousarray(np.rot90(p)),
    "brighter": lambda p: (p * 1.3).clip(0, 255).astype(np.uint8),
    "darker": lambda p: (p * 0.6).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_in_another_split_are_found(folders: Path, change: str) -> None:
    save(CHANGES[change](photo(6)), folders / "val/cat/copy.jpg", quality=60)  # of train/cat/cat3.jpg
    diagnosis = of_folders(folders)
    assert names(diagnosis, "leaked_near_duplicates") == {"val/cat/copy.jpg", "train/cat/cat3.jpg"}
    (finding,) = found(diagnosis, "leaked_near_duplicates")
    assert finding.severity == "warning"  # looks may deceive
    assert finding.places[0].split == "val"
    assert "train/cat/cat3.jpg" in finding.places[0].note
    assert not found(diagnosis, "near_duplicates")


def test_equal_files_are_found_in_one_split_in_two_and_in_two_classes(folders: Path) -> None:
    copies = {"train/cat/cat0.jpg": "train/cat/x.jpg", "train/cat/cat1.jpg": "val/cat/y.jpg"}
    copies["train/cat/cat2.jpg"] = "train/dog/z.jpg"
    for old, new in copies.items():
        (folders / new).write_bytes((folders / old).read_bytes())
    diagnosis = of_folders(folders)
    assert names(diagnosis, "duplicates") == {"train/cat/cat0.jpg", "train/cat/x.jpg"}
    assert names(diagnosis, "leaked_duplicates") == {"train/cat/cat1.jpg", "val/cat/y.jpg"}
    assert names(diagnosis, "contradictions") == {"train/cat/cat2.jpg", "train/dog/z.jpg"}
    lists = dict(zip([one.check for one in diagnosis.findings], diagnosis.files, strict=True))
    assert lists["duplicates"] == [str(folders / "train/cat/x.jpg")]  # one of each pair
    assert lists["leaked_duplicates"] == [str(folders / "train/cat/cat1.jpg")]  # the one in training


def test_a_copy_of_a_copy_in_a_third_split_is_found(folders: Path) -> None:
    save(photo(0), folders / "val/cat/half.jpg", quality=60)
    (folders / "test/cat").mkdir(parents=True)
    (folders / "test/dog").mkdir()
    shutil.copy(folders / "val/cat/half.jpg", folders / "test/cat/half.jpg")
    for number in range(3):
        save(photo(300 + number), folders / f"test/dog/{number}.jpg")
    notes = {
        (place.name, place.note.partition(" (")[0])
        for finding in found(of_folders(folders), "leaked_near_duplicates")
        for place in finding.places
    }
    assert {
        ("val/cat/half.jpg", "train: train/cat/cat0.jpg"),
        ("test/cat/half.jpg", "train: train/cat/cat0.jpg"),
    } <= notes


def test_a_burst_of_alike_pictures_has_few_pairs_and_all_its_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "PARTNERS", 5)
    noise = np.random.default_rng(0).integers(0, 3, (25, 32, 32, 3), np.uint8)
    others = np.stack([photo(number, 32, 32) for number in range(1, 275)])
    pairs = similar_pairs(np.concatenate([photo(0, 32, 32)[None] // 2 + noise, others]))
    assert {pair.second for pair in pairs} == set(range(1, 25))
    assert len(pairs) == 1 + 2 + 3 + 4 + 20 * 5


def test_fingerprints_of_turned_pictures_correlate_and_flat_ones_have_none() -> None:
    pictures = np.stack([cv2.resize(photo(seed), (32, 32)) for seed in range(20)])
    for view in range(8):
        again = turned(turned(pictures, view), view if view > 3 else -view % 4)
        expected = again if view > 3 and view % 2 else pictures
        np.testing.assert_array_equal(again, expected)
    assert similar_pairs(pictures) == []
    pairs = similar_pairs(np.concatenate([pictures, pictures[3:4, ::-1]]))
    assert [pair[:2] for pair in pairs] == [(3, 20)]
    np.testing.assert_allclose(np.linalg.norm(fingerprints(pictures), axis=1), 1, rtol=1e-5)
    assert not fingerprints(np.full((1, 32, 32, 3), 77, np.uint8)).any()


def test_pairs_are_joined_to_groups() -> None:
    assert groups_of([(0, 3), (5, 6), (3, 9)]) == [[0, 3, 9], [5, 6]]


def test_missing_and_rare_classes_are_named_with_weights(folders: Path) -> None:
    for number in range(40):
        save(photo(500 + number), folders / f"train/cat/more{number}.jpg")
    for path in [*[*(folders / "train/dog").glob("dog?.jpg")][3:], *(folders / "val/dog").iterdir()]:
        path.unlink()
    for path in (folders / "train/dog").glob("dog1?.jpg"):
        path.unlink()
    diagnosis = of_folders(folders)
    (rare,) = found(diagnosis, "rare_classes")
    assert "dog 3" in rare.message
    weights = np.sqrt(27.5 / np.array([52, 3])).round(2).tolist()  # the median of 52 and 3 is 27.5
    assert f"class_weights: {weights}" in rare.fix
    (missing,) = found(diagnosis, "missing_classes")
    assert (missing.severity, "dog" in missing.message, "val" in missing.message) == ("warning", True, True)


def number_table(root: Path, train: Sequence[float | str], val: Sequence[float | str]) -> Callable[..., Any]:
    rows = ["path,age,split"]
    for number, (split, value) in enumerate([*(("train", one) for one in train), *(("val", one) for one in val)]):
        save(photo(number), root / f"{number}.png")
        rows.append(f"{number}.png,{value},{split}")
    (root / "table.csv").write_text("\n".join(rows))
    return partial(CsvTable, path=str(root / "table.csv"), value_columns=["age"], split_column="split")


@pytest.mark.parametrize(
    ("train", "val", "check", "severity"),
    [
        ([*range(20, 39), 1e9], range(20, 30), "far_values", "warning"),
        (range(20, 40), [*range(20, 29), -999], "far_values", "warning"),
        ([7] * 20, [7] * 10, "constant_values", "error"),
        (range(20, 40), [""] * 10, "missing_values", "error"),
        (range(20, 40), range(20_000, 40_000, 2_000), "other_unit", "warning"),
    ],
)
def test_odd_numbers_are_found(tmp_path: Path, train: Any, val: Any, check: str, severity: str) -> None:
    diagnosis = diagnose(module(number_table(tmp_path, train, val)))
    (finding,) = found(diagnosis, check)
    assert finding.severity == severity
    assert "age" in finding.message
    if check == "far_values":
        assert names(diagnosis, check) == {"19.png" if max(train) > 100 else "29.png"}


def test_usual_numbers_have_no_finding(tmp_path: Path) -> None:
    train = np.random.default_rng(0).lognormal(0, 1, 40)
    assert diagnose(module(number_table(tmp_path, train.tolist(), train[:12].tolist()))).findings == []


def test_the_same_file_with_two_numbers_is_a_contradiction(tmp_path: Path) -> None:
    dataset = number_table(tmp_path, range(20, 40), range(20, 30))
    shutil.copy(tmp_path / "0.png", tmp_path / "5.png")
    (finding,) = found(diagnose(module(dataset)), "contradictions")
    assert {(place.name, place.note) for place in finding.places} == {
        ("5.png", "age 25, but train: 0.png is age 20"),
        ("0.png", "age 20, but train: 5.png is age 25"),
    }


def mask_set(root: Path, count: int = 24) -> Callable[..., Any]:
    """Bright ground under a dark sky; masks of sky (0) and ground (1)."""
    for number in range(count):
        rng = np.random.default_rng(number)
        mask = np.zeros((64, 64), np.uint8)
        mask[int(rng.integers(24, 44)) :] = 1
        image = np.where(mask[..., None] == 1, 170, 60) + rng.normal(0, 12, (64, 64, 3))
        image += 30 * (photo(number, 64, 64) / 255 - 0.5)
        split = "train" if number < count - 6 else "val"
        save(image.clip(0, 255).astype(np.uint8), root / split / f"{number}.png")
        save(mask, root / f"{split}_masks" / f"{number}.png")
    folders = {"images": "{split}", "masks": "{split}_masks"}
    return partial(MaskFolder, root=str(root), class_names=["sky", "ground"], ignore=[255], **folders)


def test_odd_masks_are_found(tmp_path: Path) -> None:
    dataset, masks = mask_set(tmp_path), tmp_path / "train_masks"
    assert [one for one in diagnose(module(dataset)).findings if one.severity != "note"] == []
    good = {number: np.asarray(Image.open(masks / f"{number}.png")) for number in range(6)}
    save(np.zeros_like(good[0]), masks / "0.png")
    save(np.ones_like(good[1]), masks / "1.png")
    save(np.full_like(good[2], 255), masks / "2.png")
    save(good[3] * 7, masks / "3.png")
    save(good[4][:50], masks / "4.png")
    save(1 - good[5], masks / "5.png")
    diagnosis = diagnose(module(dataset))
    checks = ("empty_masks", "whole_masks", "ignored_masks", "mask_values", "mask_size", "swapped_masks")
    assert {check: names(diagnosis, check) for check in checks} == {
        check: {f"train/{number}.png"} for number, check in enumerate(checks)
    }
    assert found(diagnosis, "swapped_masks")[0].places[0].note in ("sky and ground", "ground and sky")
    assert {one.severity for one in found(diagnosis, "mask_values") + found(diagnosis, "mask_size")} == {"error"}


def test_classes_that_look_the_same_are_never_exchanged() -> None:
    rng = np.random.default_rng(0)
    cells, colors = rng.integers(0, 3, (40, 256)).astype(np.uint8), rng.integers(0, 256, (40, 256))
    assert find_swaps(cells, colors, 3) == [None] * 40


def test_images_and_masks_without_a_partner_are_found(tmp_path: Path) -> None:
    dataset = mask_set(tmp_path)
    (tmp_path / "train_masks/3.png").unlink()
    with pytest.raises(InputError, match="have no mask"):
        dataset("train")
    diagnosis = diagnose(module(dataset))
    assert {Path(name).name for name in names(diagnosis, "partners")} == {"3.png"}
    assert diagnosis.images == {"train": 17, "val": 6}  # of 18


def write_voc(root: Path, name: str, *boxes: tuple[float, ...]) -> None:
    objects = "".join(
        "<object><name>cat</name><bndbox>"
        + "".join(f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")


GOOD = (20, 20, 90, 80)
ODD_BOXES: dict[str, tuple[tuple[float, ...], ...]] = {
    "beyond": ((20, 20, 190, 80),),
    "inverted": ((90, 20, 20, 80),),
    "tiny": ((20, 20, 23, 24),),
    "whole": ((0, 0, 128, 96),),
    "exact": (GOOD, GOOD),
    "near": (GOOD, (20, 20, 90, 79)),
}


def test_odd_boxes_are_found(tmp_path: Path) -> None:
    for number in range(30):
        save(photo(number), tmp_path / f"images/good{number}.jpg")
        write_voc(tmp_path, f"good{number}", GOOD, (2, 2, 34, 30))
    dataset = partial(VocBoxes, root=str(tmp_path), objects="all")
    assert diagnose(module(dataset)).findings == []
    for number, (name, boxes) in enumerate(ODD_BOXES.items()):
        save(photo(100 + number), tmp_path / f"images/{name}.jpg")
        write_voc(tmp_path, name, *boxes)
    save(photo(200), tmp_path / "images/broken.jpg")
    (tmp_path / "annotations/broken.xml").write_text("<annotation>")
    (tmp_path / "images/good0.jpg").write_bytes(b"")
    diagnosis = diagnose(module(dataset))
    stems = {
        check: {Path(name).stem for name in names(diagnosis, check)} for check in {f.check for f in diagnosis.findings}
    }
    assert stems["boxes_outside"] == {"beyond", "inverted"}
    assert stems["tiny_boxes"] == {"tiny"}
    assert stems["whole_boxes"] == {"whole"}
    assert stems["double_boxes"] == {"exact", "near"}
    assert stems["annotations"] == {"broken"}
    assert "good0" in stems["unreadable"]
    clipped = diagnose(module(partial(dataset, boxes="clip")))
    (finding,) = found(clipped, "boxes_outside")
    assert finding.severity == "warning"  # a training goes on


def test_boxes_are_counted_one_by_one(tmp_path: Path) -> None:
    """Most boxes are tiny, so they are usual in this set, though the images are few."""
    for number in range(4):
        boxes = [(10 + 8 * place, 20, 12 + 8 * place, 22) for place in range(9 if number else 0)]
        write_voc(tmp_path, f"{number}", (40, 40, 80, 80), *boxes)
        save(photo(number), tmp_path / f"images/{number}.jpg")
    dataset = partial(VocBoxes, root=str(tmp_path), objects="all", splits={"val": 0.25})
    (finding,) = found(diagnose(module(dataset)), "tiny_boxes")
    assert finding.severity == "note"
    assert finding.message.startswith("3 images with boxes")


def test_faults_of_yolo_and_coco_files_are_found(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("val", 3)):
        for number in range(count):
            save(photo(number + 50 * (split == "val")), tmp_path / split / f"images/{split}{number}.jpg")
            (tmp_path / split / "labels").mkdir(exist_ok=True)
            (tmp_path / split / f"labels/{split}{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: train/images\nval: val/images\n")
    labels = tmp_path / "train/labels"
    (labels / "train0.txt").write_text("0 0.9 0.5 0.4 0.4\n")
    (labels / "train1.txt").write_text("4 0.5 0.5 0.4 0.4\n")
    (labels / "train2.txt").write_text("0 0.5 0.5 0.4\n")
    (labels / "train3.txt").write_text("0 0.5 0.5 0.4 0.4\n" * 2)
    diagnosis = diagnose(module(partial(YoloBoxes, path=str(tmp_path / "data.yaml"))))
    for number, check in enumerate(("boxes_outside", "unknown_classes", "annotations", "double_boxes")):
        (finding,) = found(diagnosis, check)
        assert {Path(place.name).stem for place in finding.places} == {f"train{number}"}, check
        assert [place.index for place in finding.places] == [number]
    assert diagnosis.images == {"train": 6, "val": 3}

    rows = [{"id": n, "image_id": n, "category_id": 1, "bbox": [20, 20, 40, 40]} for n in range(6)]
    rows[1]["bbox"] = [100, 20, 60, 40]
    rows[2]["bbox"] = [20, 20, 40]
    rows[3]["category_id"] = 9
    images = [{"id": n, "file_name": f"train{n}.jpg", "height": 96, "width": 128} for n in range(6)]
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    coco = partial(CocoBoxes, annotations=str(tmp_path / "coco.json"), images=str(tmp_path / "train/images"))
    diagnosis = diagnose(module(partial(coco, splits={"fold": 0, "folds": 3})))
    assert {Path(name).stem for name in names(diagnosis, "boxes_outside")} == {"train1", "train2"}
    assert "annotation 3" in found(diagnosis, "annotations")[0].places[0].note


def test_a_set_that_cannot_be_opened_is_a_finding(tmp_path: Path) -> None:
    diagnosis = of_folders(tmp_path / "nowhere")
    assert {one.severity for one in diagnosis.findings} == {"error"}
    assert "no such folder" in diagnosis.findings[0].fix
    assert diagnosis.images == {}


def test_faults_are_raised_unless_they_are_collected() -> None:
    with pytest.raises(InputError, match="one"):
        refuse("file", "a.jpg", InputError("one"))
    with collecting() as faults:
        refuse("file", "a.jpg", InputError("two"))
    assert [(fault.path, fault.text, fault.refused) for fault in faults] == [("a.jpg", "two", True)]
    with pytest.raises(InputError, match="three"):
        refuse("file", "a.jpg", InputError("three"))


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("train/0016E5_00390.png", "0016E5"),
        ("case_0012_slice_034.png", "case_0012"),
        ("p012-s03-l2.jpg", "p012"),
        ("val/patient7/scan.png", "patient7"),
        ("img12_jpg.rf.0a3f.jpg", "img12"),
        ("vid3f0012.jpg", "vid3"),
        ("17_left.jpg", "17"),
        ("patient07_a.png", "patient07"),
        ("7_red_car.jpg", None),
        ("2007_000032.jpg", None),
        ("raccoon-12.jpg", None),
        ("Abyssinian_7.jpg", None),
        ("cat1/7.jpg", None),
    ],
)
def test_groups_are_read_from_names(name: str, group: str | None) -> None:
    assert group_of(name, ["cat1"]) == group


def test_numbers_are_read_from_names() -> None:
    assert number_of("train/a_007x.png") == ("a_#x", 7)
    assert number_of("b/frame12.png") == ("b/frame#", 12)
    assert number_of("name.png") is None


def test_frames_of_one_video_in_two_splits_are_found(tmp_path: Path) -> None:
    dataset = partial(ImageFolder, root=str(tmp_path))
    for number in range(40):  # the camera moves over a long picture
        scene, place = photo(number // 20, 96, 400), 12 * (number % 20)
        split, name = "val" if number % 5 == 4 else "train", ("cat", "dog")[number // 10 % 2]
        save(np.ascontiguousarray(scene[:, place : place + 96]), tmp_path / split / name / f"frame_{number:03}.jpg")
    for split in ("train", "val"):
        assert {path.name for path in (tmp_path / split).iterdir()} == {"cat", "dog"}
    diagnosis = diagnose(module(dataset))
    (frames,) = found(diagnosis, "leaked_frames")
    assert frames.severity == "warning"
    assert len(frames.places) == 8  # every fifth frame


def test_patients_in_two_splits_are_found(tmp_path: Path) -> None:
    for patient in range(8):
        for part in range(4):
            pixels = (photo(patient).astype(int) + photo(1000 + 10 * patient + part) // 3 - 40).clip(0, 255)
            split = "val" if part == 3 else "train"
            name = f"{split}/{('cat', 'dog')[part % 2]}/p{patient:02}_{part}.jpg"
            save(pixels.astype(np.uint8), tmp_path / name)
    for number in range(4):
        save(photo(300 + number), tmp_path / f"val/cat/q{number}_1.jpg")
    diagnosis = diagnose(module(partial(ImageFolder, root=str(tmp_path))))
    (groups,) = found(diagnosis, "leaked_groups")
    assert groups.severity == "warning"
    assert {place.note for place in groups.places} == {f"p{patient:02}" for patient in range(8)}


def test_sizes_are_compared_with_the_picture(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("val", 4)):
        for number in range(count):
            for place, name in enumerate(("cat", "dog")):
                save(
                    photo(2 * number + place + 60 * (split == "val"), 60, 150),
                    tmp_path / f"{split}/{name}/{number}.jpg",
                )
    save(photo(999, 16, 30), tmp_path / "train/cat/icon.jpg")
    data = VisionDataModule(partial(ImageFolder, root=str(tmp_path)), image_size=224, augment="none")
    diagnosis = diagnose(data)
    assert found(diagnosis, "stretched")[0].message.startswith("96%")
    assert names(diagnosis, "tiny_images") == {"train/cat/icon.jpg"}
    assert not found(diagnosis, "enlarged")  # 224 / 150 is less than 2


def test_the_brief_check_says_at_most_three_lines_and_nothing_of_clean_data(folders: Path) -> None:
    data = module(partial(ImageFolder, root=str(folders)))
    assert check_briefly(data) == []
    for number in range(40):
        save(photo(500 + number, 30, 200), folders / f"train/cat/more{number}.jpg")
    for path in [*[*(folders / "train/dog").iterdir()][3:], *(folders / "val/dog").iterdir()]:
        path.unlink()
    (folders / "train/dog" / next((folders / "train/dog").iterdir()).name).write_bytes(b"")
    lines = check_briefly(module(partial(ImageFolder, root=str(folders))))
    assert len(lines) == 3
    assert lines[0].startswith("1 image cannot be read")
    assert "more findings" in lines[-1]
    assert lines[-1].endswith("See `visiontasks doctor -c CONFIG`.")


def write_config(root: Path) -> Path:
    config = root.parent / f"{root.name}.yaml"
    dataset = f"{{class_path: ImageFolder, init_args: {{root: {root}}}}}"
    config.write_text(f"data:\n  dataset: {dataset}\n  image_size: 64\n")
    return config


def test_the_command_writes_what_it_found_and_its_status_is_for_ci(folders: Path, tmp_path: Path, capsys) -> None:
    config, output = write_config(folders), tmp_path.parent / f"{tmp_path.name}-out"
    before = {path: path.stat().st_mtime_ns for path in folders.rglob("*")}
    main(["doctor", "-c", str(config)])
    assert "Found: nothing wrong." in capsys.readouterr().out
    copy = folders / "train/cat/copy.jpg"
    copy.write_bytes((folders / "train/cat/cat0.jpg").read_bytes())
    arguments = ["doctor", "-c", str(config), "--output", str(output)]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    text = capsys.readouterr().out
    assert "warning duplicates: 1 image is the same file as another image of the same split (1 group)." in text
    assert (output / "files/duplicates.txt").read_text() == f"{copy}\n"
    content = json.loads((output / "doctor.json").read_text())
    assert content["counts"] == {"error": 0, "warning": 1, "note": 0}
    assert content["findings"][0]["places"][0]["name"] == "train/cat/copy.jpg"
    main(["doctor", "-c", str(config), "--ignore", "duplicates"])
    copy.unlink()
    after = {path: path.stat().st_mtime_ns for path in folders.rglob("*")}
    assert {path: after[path] for path in after if path.is_file()} == {p: t for p, t in before.items() if p.is_file()}


def test_a_check_that_does_not_exist_cannot_be_ignored(folders: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "-c", str(write_config(folders)), "--ignore", "leaked_group"])
    assert "--ignore leaked_group: there is no such check. Did you mean leaked_groups?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ("classification/flowers5", ("label",)),
        ("multitask/pets", ("label", "bbox", "mask")),
        ("localization/raccoon", ("bbox", "label")),
    ],
)
def test_only_what_the_model_predicts_is_looked_at(config: str, keys: tuple[str, ...]) -> None:
    assert set(predicted_keys(ROOT / f"configs/{config}.yaml")) == set(keys)


def test_each_check_is_documented() -> None:
    text = (ROOT / "docs/doctor.md").read_text("utf-8")
    assert [name for name in CHECK_NAMES if f"`{name}`" not in text] == []


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from visiontasks.cli import main\ntry: main(['doctor', '--help'])\nfinally: print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "--ignore" in run.stdout
    assert not {"torch", "lightning", "numpy"} & set(run.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_what_is_wrong_in_real_sets_is_found() -> None:
    if not (DATA / "raccoon").is_dir():
        pytest.skip("data/raccoon is missing")
    diagnosis = diagnose(module(partial(VocBoxes, root=str(DATA / "raccoon"), objects="all", splits={"fold": 4})))
    copies = names(diagnosis, "duplicates") | names(diagnosis, "leaked_near_duplicates")
    assert {"raccoon-98.jpg", "raccoon-74.jpg"} <= copies  # of 65 and 52, as the README of the set says
    assert any("2 of 160 training images left out" in one.message for one in found(diagnosis, "reading"))
    assert len(names(diagnosis, "gray")) == 3
