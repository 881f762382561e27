"""A training stops at the first fault of a set; the check names all, each once and none that follows from another."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.core.words import counted
from visiontasks.data import (
    CocoBoxes,
    CocoMasks,
    CsvTable,
    CvatImages,
    ImageFolder,
    LabelMe,
    MaskFolder,
    NamedFiles,
    ObjectFile,
    VisionDataModule,
    VocBoxes,
    YoloBoxes,
)
from visiontasks.doctor import Diagnosis, Finding, diagnose

SIZE = 96, 128  # height and width of the images


def save(path: Path, seed: int = 0) -> Path:
    """Saves a picture of its own for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(small).resize(SIZE[::-1]).save(path)
    return path


def check(dataset: Callable[..., Any], **options: Any) -> Diagnosis:
    return diagnose(VisionDataModule(dataset, image_size=64, augment="none", **options))


def only(diagnosis: Diagnosis, name: str) -> Finding:
    (finding,) = [one for one in diagnosis.findings if one.check == name]
    return finding


def notes(diagnosis: Diagnosis, name: str) -> list[str]:
    return [place.note for one in diagnosis.findings if one.check == name for place in one.places]


def found(diagnosis: Diagnosis) -> list[str]:
    return sorted(one.check for one in diagnosis.findings if one.check != "reading")


def coco(root: Path, change: Callable[[dict[str, Any]], None] = lambda content: None, **options: Any) -> Callable:
    """A set of 12 images with one box each, 9 of them in train; `change` edits the content of its file."""
    for number in range(12):
        save(root / f"images/{number:02}.png", number)
    height, width = SIZE
    images = [{"id": n, "file_name": f"{n:02}.png", "height": height, "width": width} for n in range(12)]
    polygon = [20, 20, 60, 20, 60, 60, 20, 60]
    rows = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [20, 20, 40, 40], "segmentation": [polygon]}
        for n in range(12)
    ]
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
    change(content)
    (root / "coco.json").write_text(json.dumps(content))
    init = {"annotations": str(root / "coco.json"), "images": str(root / "images"), "splits": {"fold": 3, "folds": 4}}
    return partial(CocoBoxes, **{"objects": "all", **init, **options})


def test_a_missing_file_and_an_id_used_twice_hide_no_other_fault(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"] += [{"id": 50, "file_name": "lost.png"}, {**content["images"][4], "file_name": "x.png"}]
        content["annotations"][0]["bbox"] = [100, 20, 60, 40]
        content["annotations"][1]["category_id"] = 9
        content["annotations"][2]["iscrowd"] = 7

    dataset = coco(tmp_path, change)
    with pytest.raises(InputError, match="the image id 4 occurs twice"):
        dataset("train")
    diagnosis = check(dataset)
    assert found(diagnosis) == ["annotations", "boxes_outside", "unreadable"]
    (lost,) = notes(diagnosis, "unreadable")
    assert "image 50: no such file" in lost
    kinds = ("id 4 occurs twice", "category_id 9", "iscrowd must be")
    assert all(any(kind in one for one in notes(diagnosis, "annotations")) for kind in kinds)
    assert diagnosis.images == {"train": 9, "val": 3}


def test_masks_of_coco_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["segmentation"] = [[1, 2]]
        content["annotations"][1]["segmentation"] = None

    dataset = coco(tmp_path, change)
    diagnosis = check(partial(CocoMasks, **{key: dataset.keywords[key] for key in ("annotations", "images", "splits")}))
    assert len(notes(diagnosis, "annotations")) == 2
    assert found(diagnosis) == ["annotations"]
    assert diagnosis.images == {"train": 7, "val": 3}


def test_what_follows_from_a_refused_box_is_no_finding(tmp_path: Path) -> None:
    def shares(content: dict[str, Any]) -> None:
        content["categories"].append({"id": 2, "name": "dog"})
        for row in content["annotations"][:9]:
            row["bbox"] = [0.1, 0.1, 0.5, 0.5]

    diagnosis = check(coco(tmp_path, shares))
    assert found(diagnosis) == ["boxes_outside", "missing_classes"]
    assert "correct those first" in only(diagnosis, "missing_classes").fix
    assert "clip" not in only(diagnosis, "boxes_outside").fix  # it does not help here

    def beyond(content: dict[str, Any]) -> None:
        for row in content["annotations"]:
            row["bbox"] = [126, 0, 60, 96]  # 2 pixels wide, were it clipped

    diagnosis = check(coco(tmp_path, beyond))
    assert found(diagnosis) == ["boxes_outside"]
    assert "`boxes: clip` cuts" in only(diagnosis, "boxes_outside").fix
    assert notes(diagnosis, "reading") == []  # of boxes that a training never clips
    clipped = check(coco(tmp_path, beyond, boxes="clip"))
    assert "clip" not in only(clipped, "boxes_outside").fix  # it is set
    assert any("9 boxes clipped to the image." in one.message for one in clipped.findings)


def test_a_file_of_another_size_has_this_fault_alone(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"][0].update(width=256, height=192)
        content["annotations"][0]["bbox"] = [0, 0, 256, 192]

    diagnosis = check(coco(tmp_path, change))
    assert found(diagnosis) == ["other_size"]


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_a_page_named_jpg_is_named_once(tmp_path: Path, kind: str) -> None:
    dataset = coco(tmp_path)
    if kind == "yolo":
        for number in range(12):
            (tmp_path / "labels").mkdir(exist_ok=True)
            (tmp_path / f"labels/{number:02}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
        (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: images\n")
        dataset = partial(YoloBoxes, path=str(tmp_path / "data.yaml"))
    (tmp_path / "images/00.png").write_text("<!DOCTYPE html><html>404</html>")
    diagnosis = check(dataset)
    assert found(diagnosis) == ["unreadable"]
    assert [Path(place.name).name for place in only(diagnosis, "unreadable").places] == ["00.png"]


def test_labels_of_yolo_without_an_image_are_named(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in range(4):
            save(tmp_path / f"images/{split}/{number}.png", number + 10 * (split == "val"))
            (tmp_path / f"labels/{split}").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"labels/{split}/{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: images/train\nval: images/val\n")
    (tmp_path / "labels/train/classes.txt").write_text("cat\n")
    (tmp_path / "labels/val/lost.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    finding = only(check(partial(YoloBoxes, path=str(tmp_path / "data.yaml"))), "partners")
    assert [Path(place.name).name for place in finding.places] == ["lost.txt"]
    assert finding.severity == "warning"  # a training does not read it


CELLS = {  # a wrong row, and what a training says of it
    ",cat,train,1,2": "path is empty",
    "03.png,nan,train,1,2": "label 'nan' is not one of",
    "04.png,cat,train,2,2": "flag must be 0, 1 or empty",
    "05.png,cat,train,1,nan": "value must be numbers",
    "06.png,cat,train,1,2,": "expected 5 columns as in the header, found 6",
    "07.png,cat,foo,1,2": "split 'foo' is not one of",
    "lost.png,cat,train,1,2": "no such file",
    "08.png,cow,train,1,2": "label 'cow' is not one of",
}


def test_each_bad_cell_of_a_table_is_one_fault_with_its_line(tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path / f"{number:02}.png", number)
    rows = [f"{n:02}.png,{('cat', 'dog')[n % 2]},{'val' if n > 15 else 'train'},{n % 2},{n}" for n in range(10, 20)]
    rows.insert(0, "path,label,split,flag,value")
    columns = {"value_columns": ["value"], "labels_columns": ["flag"], "class_names": ["cat", "dog"]}
    dataset = partial(CsvTable, path=str(tmp_path / "table.csv"), **columns)
    for line, message in CELLS.items():
        (tmp_path / "table.csv").write_text("\n".join([*rows, line]))
        with pytest.raises(InputError, match=f"table.csv, line 12: .*{message}"):
            dataset("train")
    (tmp_path / "table.csv").write_text("\n".join([*rows, *CELLS]))
    diagnosis = check(dataset)
    checks = ("annotations", "unreadable", "unknown_classes")
    lines = {int(one.split("line ")[1].split(":")[0]): one for name in checks for one in notes(diagnosis, name)}
    assert sorted(lines) == list(range(12, 20))
    assert sum(len(notes(diagnosis, name)) for name in checks) == 8
    assert all(message in lines[12 + place] for place, message in enumerate(CELLS.values()))
    assert diagnosis.images == {"train": 6, "val": 4}


def test_labels_that_are_missing_are_faults_of_their_rows(tmp_path: Path) -> None:
    for number in range(10):
        save(tmp_path / f"{number}.png", number)
    rows = [f"{n}.png,{('cat', 'dog')[n % 2]}" for n in range(8)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label", *rows, "8.png,nan", "9.png,"]))
    diagnosis = check(partial(CsvTable, path=str(tmp_path / "table.csv")))
    assert [one.split("table.csv, ")[1] for one in notes(diagnosis, "annotations")] == [
        "line 10: label is 'nan', a missing value. Fill it in, or remove the row.",
        "line 11: label is empty. Fill it in, or remove the row.",
    ]
    assert only(diagnosis, "annotations").message.startswith("2 faults in 1 file")


def test_missing_files_of_a_table_have_their_own_lines(tmp_path: Path) -> None:
    for number in range(10):
        save(tmp_path / f"{number}.png", number)
    lines = [f"{n}.png,{('cat', 'dog')[n % 2]},{'val' if n > 7 else 'train'}" for n in range(10)]
    lines += [f"lost{n}.png,cat,train" for n in range(3)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,split", *lines]))
    dataset = partial(CsvTable, path=str(tmp_path / "table.csv"))
    with pytest.raises(InputError, match=r"line 12: no such file: .*lost0\.png\. 3 of 11 files are missing"):
        dataset("train")
    finding = only(check(dataset), "unreadable")
    assert [(Path(place.name).name, place.note.partition(":")[0][-7:]) for place in finding.places] == [
        (f"lost{n}.png", f"line {12 + n}") for n in range(3)
    ]


def class_folders(root: Path) -> Callable[..., Any]:
    for split, count in (("train", 6), ("val", 3)):
        for number in range(count):
            for place, name in enumerate(("cat", "dog")):
                save(root / split / name / f"{number}.png", 100 * (split == "val") + 2 * number + place)
    return partial(ImageFolder, root=str(root))


def test_names_of_one_class_in_two_forms_hide_no_other_fault(tmp_path: Path) -> None:
    dataset = class_folders(tmp_path)
    save(tmp_path / "train/dog /x.png", 500)
    save(tmp_path / "train/Ros\u00e9/a.png", 501)
    save(tmp_path / "train/Rose\u0301/b.png", 502)
    save(tmp_path / "val/Ros\u00e9/a.png", 503)
    with pytest.raises(InputError, match="written in another way"):
        dataset("train")
    (tmp_path / "train/cat/dangling.png").symlink_to("/nowhere.png")
    (tmp_path / "train/cat/0.png").write_bytes(b"")
    diagnosis = check(dataset)
    assert len(notes(diagnosis, "unknown_classes")) == 2
    assert {Path(p.name).name for f in diagnosis.findings if f.check == "unreadable" for p in f.places} == {
        "dangling.png",
        "0.png",
    }


def test_an_empty_class_folder_is_named_once(tmp_path: Path) -> None:
    dataset = class_folders(tmp_path)
    (tmp_path / "train/cow").mkdir()
    (tmp_path / "train/cow/readme.txt").write_text("to do")
    diagnosis = check(dataset)
    assert found(diagnosis) == ["missing_classes"]
    assert "folders" in only(diagnosis, "missing_classes").fix


def test_names_of_another_form_hide_no_other_fault(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / f"{('cat', 'dog')[number % 2]}_{number}.png", number)
    save(tmp_path / "odd.png", 50)
    save(tmp_path / "even.png", 51)
    diagnosis = check(partial(NamedFiles, root=str(tmp_path), pattern="{label}_{number}"))
    assert len(notes(diagnosis, "annotations")) == 2
    assert sum(diagnosis.images.values()) == 12


def masks(root: Path, suffix: str = ".png") -> Callable[..., Any]:
    for split, count in (("train", 8), ("val", 4)):
        for number in range(count):
            save(root / split / f"{number}.png", number + 50 * (split == "val"))
            mask = np.zeros(SIZE, np.uint8)
            mask[30 + number :] = 255
            (root / f"{split}_masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(root / f"{split}_masks/{number}{suffix}")
    folders = {"images": "{split}", "masks": "{split}_masks", "values": [0, 255]}
    return partial(MaskFolder, root=str(root), class_names=["sky", "ground"], **folders)


def test_masks_that_lost_their_values_get_a_fix_that_helps(tmp_path: Path) -> None:
    diagnosis = check(masks(tmp_path, ".jpg"))
    assert found(diagnosis) == ["mask_values"]
    fix = only(diagnosis, "mask_values").fix
    assert "threshold" in fix
    assert "Declare" not in fix
    colors = partial(masks(tmp_path / "colors"), values=None, colors=[[0, 0, 0], [9, 9, 9]])
    fix = only(check(colors), "mask_values").fix
    assert "`colors`" in fix
    assert "`values`" not in fix


def test_lines_of_a_list_that_are_wrong_are_all_named(tmp_path: Path) -> None:
    dataset = masks(tmp_path)
    lines = [f"train/{number}.png train_masks/{number}.png" for number in range(8)]
    lines += ["train/lost.png train_masks/0.png", "nothing", "train/1.png\ttrain_masks/2.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    diagnosis = check(partial(dataset, images="train", masks="train_masks", lists="list.txt"))
    assert "line 9" in notes(diagnosis, "unreadable")[0]
    assert "line 10" in notes(diagnosis, "partners")[0]
    assert "line 11" in notes(diagnosis, "listed_twice")[0]
    assert sum(diagnosis.images.values()) == 8


def test_a_missing_file_of_cvat_hides_no_other_fault(tmp_path: Path) -> None:
    box = '<box label="{label}" xtl="{left}" ytl="20" xbr="60" ybr="60"/>'
    images = ""
    for number in range(12):
        save(tmp_path / f"{number:02}.png", number)
        left = -5 if number == 1 else 20
        images += f'<image name="{number:02}.png">{box.format(label="" if number == 2 else "cat", left=left)}</image>'
    images += '<image name="lost.png"/><image name="03.png"/>'
    (tmp_path / "cvat.xml").write_text(f"<annotations>{images}</annotations>")
    diagnosis = check(partial(CvatImages, path=str(tmp_path / "cvat.xml"), images=str(tmp_path)))
    assert found(diagnosis) == ["annotations", "boxes_outside", "listed_twice", "unreadable"]
    assert sum(diagnosis.images.values()) == 12


def test_a_missing_file_of_via_hides_no_other_fault(tmp_path: Path) -> None:
    content = {}
    for number in range(12):
        save(tmp_path / f"{number:02}.png", number)
        shape = {"name": "point" if number == 1 else "rect", "x": 20, "y": 20, "width": 40, "height": 40}
        region = {"shape_attributes": shape, "region_attributes": {"kind": "" if number == 2 else "cat"}}
        content[f"{number:02}.png1"] = {"filename": f"{number:02}.png", "regions": [region]}
    content["lost.png1"] = {"filename": "lost.png", "regions": []}
    (tmp_path / "via.json").write_text(json.dumps(content))
    diagnosis = check(partial(ObjectFile, path=str(tmp_path / "via.json")))
    assert found(diagnosis) == ["annotations", "unreadable"]
    assert {Path(place.name).name for place in only(diagnosis, "annotations").places} == {"01.png", "02.png"}
    assert sum(diagnosis.images.values()) == 12


def test_files_of_labelme_and_voc_have_each_fault_once(tmp_path: Path) -> None:
    points = [[20, 20], [60, 60]]
    for number in range(12):
        save(tmp_path / f"{number:02}.png", number)
        shapes = [{"label": "cat", "shape_type": "rectangle", "points": points}]
        if number < 2:
            shapes += [{"label": "", "shape_type": "rectangle", "points": points}, {"label": "cat", "points": []}]
        (tmp_path / f"{number:02}.json").write_text(json.dumps({"shapes": shapes}))
        bounds = "<xmin>20</xmin><ymin>20</ymin><xmax>60</xmax><ymax>60</ymax>"
        odd = "<object/><object><name>cat</name></object>" * (number < 2)
        known = f"<object><name>cat</name><bndbox>{bounds}</bndbox></object>"
        (tmp_path / f"{number:02}.xml").write_text(f"<annotation>{known}{odd}</annotation>")
    (tmp_path / "02.json").write_text("{")
    (tmp_path / "02.xml").write_text("<html/>")
    for name in ("lost1", "lost2"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"shapes": []}))
        (tmp_path / f"{name}.xml").write_text("<annotation/>")
    for dataset in (LabelMe, VocBoxes):
        diagnosis = check(partial(dataset, root=str(tmp_path), objects="all"))
        assert found(diagnosis) == ["annotations", "partners"]
        assert len(notes(diagnosis, "annotations")) == 5
        assert len(notes(diagnosis, "partners")) == 2
        assert sum(diagnosis.images.values()) == 12


def deep(path: Path, highest: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (6, 8)).astype(np.uint8)
    large = np.asarray(Image.fromarray(values).resize(SIZE[::-1])).astype(float)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((large / large.max() * highest).round().astype(np.uint16)).save(path)


def test_a_range_holds_the_values_of_all_deep_images(tmp_path: Path) -> None:
    dataset = class_folders(tmp_path)
    deep(tmp_path / "train/cat/ten.png", 900, 70)
    deep(tmp_path / "train/cat/full.png", 60000, 71)
    diagnosis = check(dataset)
    assert found(diagnosis) == ["deep", "deep"]
    error, warning = (one for one in diagnosis.findings if one.check == "deep")
    assert [place.name for place in error.places] == ["train/cat/ten.png"]
    assert error.severity == "error"  # a training stops
    assert "`data.gray_range: [0, 65535]`" in error.fix
    assert [place.note for place in warning.places] == ["I;16, values up to 60000"]
    cut = check(dataset, gray_range=[0, 4095])
    warning, note = (one for one in cut.findings if one.check == "deep")
    assert [place.name for place in warning.places] == ["train/cat/full.png"]
    assert "white" in warning.message
    assert note.severity == "note"
    (tmp_path / "train/cat/full.png").unlink()
    assert "`data.gray_range: [0, 1023]`" in only(check(dataset), "deep").fix


def test_numbers_of_boxes_have_their_plural() -> None:
    assert [counted(1, "box"), counted(2, "box"), counted(2, "class")] == ["1 box", "2 boxes", "2 classes"]
