"""Files as other tools write them are read with plain values of a config, and what is doubtful is named."""

from __future__ import annotations

import json
import shutil
import zlib
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.data import (
    CocoBoxes,
    CocoMasks,
    CsvTable,
    CvatImages,
    ImageFolder,
    InstanceFolder,
    LabelMe,
    MaskFolder,
    NamedFiles,
    Splits,
    VisionDataset,
    VocBoxes,
    YoloBoxes,
)
from visiontasks.data.splits import MissingSplit

ALL = Splits(val=0)


def names(dataset: VisionDataset) -> list[str]:
    return [dataset.name(index) for index in range(len(dataset))]


def objects_of(dataset: VisionDataset) -> dict[str, list[tuple[str, list[float]]]]:
    """The class and the box of every object, by the name of the image."""
    found = {}
    for index in range(len(dataset)):
        objects = dataset.objects(index)
        labels = [dataset.class_names[label] for label in objects["labels"]]
        found[dataset.name(index)] = list(zip(labels, objects["boxes"].tolist(), strict=True))
    return found


# Tables


@pytest.fixture
def table(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., CsvTable]:
    """Reads a table of the images a.png, b.png and c.png in `images/`, of 40 x 32 pixels."""
    for name in "abc":
        write_image(tmp_path / f"images/{name}.png")

    def read(*lines: str, split: str = "train", **options: Any) -> CsvTable:
        (tmp_path / "table.csv").write_text("\n".join(lines))
        options = {"root": str(tmp_path / "images"), "splits": ALL, **options}
        return CsvTable(split, str(tmp_path / "table.csv"), **options)

    return read


RETINANET = ["path", "x1", "y1", "x2", "y2", "label"]


def test_a_table_without_a_header_has_the_columns_that_are_named(table: Callable) -> None:
    lines = "a.png,1,2,9,8,cat", "a.png,3,3,20,30,dog", "b.png,,,,,"
    dataset = table(*lines, columns=RETINANET, objects="all")
    assert objects_of(dataset) == {"a.png": [("cat", [1, 2, 9, 8]), ("dog", [3, 3, 20, 30])], "b.png": []}
    assert [*objects_of(table(*lines, columns=RETINANET, objects="largest", absent=True))] == ["a.png", "b.png"]
    with pytest.raises(InputError, match=r"line 3: label is empty"):
        table(*lines, columns=RETINANET)


@pytest.mark.parametrize(
    ("lines", "columns", "message"),
    [
        (["a.png,1,2,9,8,cat"], None, r"no column 'path'; the header has .*set `columns`"),
        (["a.png,1,2,9,8,cat"], RETINANET[1:], r"no column 'path'; the list `columns` has \['x1'"),
        (["a.png,1,2,9,8,cat,0"], RETINANET, r"line 1: expected 6 columns as in the list `columns`, found 7"),
        (["path,x1,y1,x2,y2,label", "a.png,1,2,9,8,cat"], RETINANET, "line 1: .*Remove `columns`"),
        ([""], RETINANET, r"table\.csv: the table has no rows"),
    ],
)
def test_columns_that_are_not_those_of_the_table_are_named(
    table: Callable, lines: list[str], columns: list[str] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        table(*lines, columns=columns)


@pytest.mark.parametrize(
    "spelling",
    [
        *("xmin,ymin,xmax,ymax", "XMin,YMin,XMax,YMax", "x_min,y_min,x_max,y_max", "x1,y1,x2,y2"),
        *("left,top,right,bottom", "bbox_x1,bbox_y1,bbox_x2,bbox_y2", "bbox_xmin,bbox_ymin,bbox_xmax,bbox_ymax"),
    ],
)
def test_corners_of_a_box_are_found_by_their_names(table: Callable, spelling: str) -> None:
    assert objects_of(table(f"path,label,{spelling}", "a.png,cat,1,2,9,8")) == {"a.png": [("cat", [1, 2, 9, 8])]}


@pytest.mark.parametrize(
    "spelling", ["x,y,w,h", "X,Y,Width,Height", "bbox_x,bbox_y,bbox_w,bbox_h", "bbox_x,bbox_y,bbox_width,bbox_height"]
)
def test_a_corner_and_a_size_are_found_by_their_names(table: Callable, spelling: str) -> None:
    assert objects_of(table(f"path,label,{spelling}", "a.png,cat,1,2,8,6")) == {"a.png": [("cat", [1, 2, 9, 8])]}


def test_width_and_height_beside_corners_are_those_of_the_image(table: Callable) -> None:
    """The table of TensorFlow's tutorials."""
    lines = "filename,width,height,class,xmin,ymin,xmax,ymax", "a.png,40,32,cat,1,2,9,8"
    dataset = table(*lines, path_column="filename", label_column="class")
    assert objects_of(dataset) == {"a.png": [("cat", [1, 2, 9, 8])]}


@pytest.mark.parametrize(
    ("form", "box"), [("xyxy", [4, 6, 10, 12]), ("xywh", [4, 6, 14, 18]), ("cxcywh", [-1, 0, 9, 12])]
)
def test_box_columns_hold_what_their_format_says(table: Callable, form: str, box: list[float]) -> None:
    lines = "path,label,xmin,ymin,xmax,ymax,a,b,c,d", "a.png,cat,1,2,9,8,4,6,10,12"
    found = objects_of(table(*lines, box_columns=["a", "b", "c", "d"], box_format=form, boxes="clip"))
    assert found == {"a.png": [("cat", np.clip(box, 0, None).tolist())]}


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        (
            "path,label,xmin,ymin,xmax,ymax,x,y,w,h",
            {},
            "xmin, ymin, xmax, ymax and x, y, w, h are both .*`box_columns`",
        ),
        ("path,label,x1,y1,x2,y2,X1,a,b,c", {}, "x1, y1, x2, y2 and X1, y1, x2, y2 are both"),
        ("path,label,xmin,ymin,xmax,a,b,c,d,e", {}, "xmin, ymin, xmax are only a part of .*`box_columns: .*"),
        ("path,label,x1,y1,x2,y2,x3,y3,x4,y4", {}, "'x3' looks like a corner of a polygon"),
        (
            "path,label,a,b,c,d,e,f,g,h",
            {"box_columns": ["a", "b", "c"]},
            "the names of four columns, or of one .*; found",
        ),
        ("path,label,a,b,c,d,e,f,g,h", {"box_columns": ["a", "b", "c", "c"]}, "the names of four columns, or of one"),
        ("path,label,a,b,c,d,e,f,g,h", {"box_columns": ["a", "b", "c", "z"]}, "box_columns: no column 'z'; there are"),
        ("path,label,a,b,c,d,e,f,g,h", {"box_columns": ["a", "b", "c", "d"]}, "do not say .*Set `box_format`"),
        ("path,label,a,b,c,d,e,f,g,h", {"objects": "all"}, "no column 'xmin', which .*Name .* in `box_columns`"),
    ],
)
def test_boxes_that_cannot_be_told_are_an_error(table: Callable, header: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table(header, "a.png,cat,1,2,9,8,1,2,8,6", **options)


@pytest.mark.parametrize(
    "text",
    ['"[4.0, 6.0, 10.0, 12.0]"', '"(4, 6, 10, 12)"', '"4,6,10,12"', "[4. 6. 10. 12.]", "4 6 10 12", " [ 4;6; 10; 12 ]"],
)
@pytest.mark.parametrize(("form", "box"), [("xywh", [4, 6, 14, 18]), ("xyxy", [4, 6, 10, 12])])
def test_one_column_may_hold_a_box_as_text(table: Callable, text: str, form: str, box: list[float]) -> None:
    lines = "path,label,bbox", f"a.png,cat,{text}", 'a.png,dog,"[1, 2, 30, 28]"', "b.png,,"
    for columns in ("bbox", ["bbox"]):
        dataset = table(*lines, box_columns=columns, box_format=form, objects="all")
        assert objects_of(dataset)["a.png"][0] == ("cat", box)
        assert objects_of(dataset)["b.png"] == []


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        (
            "4 6 10",
            {},
            r"line 2: bbox must be four numbers, such as \[1, 2, 3, 4\], or empty; found \['4', '6', '10'\]",
        ),
        ('"[4, 6, 10, x]"', {}, r"line 2: bbox must be four numbers, .*'x'\]"),
        ('"[4, 6, 10, 12)"', {}, r"line 2: bbox must be four numbers"),
        ('"[4, 6, 10, nan]"', {}, r"line 2: box \[4, 6, 14, nan\] has values that are not finite"),
        ("4 6 10 12", {"box_format": None}, r"\['bbox'\] do not say what they hold. Set `box_format` to xyxy"),
        ("4 6 10 12", {"box_columns": ["bbox", "path"]}, "the names of four columns, or of one"),
        ("4 6 10 12", {"label_column": None}, r"label_column: null is for boxes of one class; found class_names: None"),
    ],
)
def test_an_odd_box_in_one_column_is_an_error(table: Callable, cell: str, options: dict, message: str) -> None:
    options = {"box_columns": "bbox", "box_format": "xywh", "objects": "all", **options}
    with pytest.raises(InputError, match=message):
        table("path,label,bbox", f"a.png,cat,{cell}", **options)


@pytest.mark.parametrize("objects", ["all", "largest"])
def test_boxes_without_a_column_of_classes_are_of_one_class(table: Callable, objects: str) -> None:
    lines = "path,bbox,source", "a.png,1 2 10 12,x", "a.png,20 2 10 12,x", "b.png,,y", "c.png,3 4 5 6,y"
    options = {"label_column": None, "class_names": ["wheat"], "box_columns": "bbox", "box_format": "xywh"}
    dataset = table(*lines, **options, objects=objects)
    found = {"a.png": [("wheat", [1, 2, 11, 14]), ("wheat", [20, 2, 30, 14])], "b.png": []}
    found["c.png"] = [("wheat", [3, 4, 8, 10])]
    if objects == "largest":
        del found["b.png"]
    assert objects_of(dataset) == found
    with pytest.raises(InputError, match=r"found class_names: \['a', 'b'\]. Give one name"):
        table(*lines, **{**options, "class_names": ["a", "b"]})
    with pytest.raises(InputError, match="label_column: null is for boxes, and there are none"):
        table(*lines, **{**options, "box_columns": []})


def test_parts_of_a_box_may_be_no_box(table: Callable) -> None:
    lines = "path,label,xmin,ymin", "a.png,cat,1,2", "b.png,dog,1,2"
    assert table(*lines, box_columns=[]).target(0) == {"label": 0}
    assert table(*lines, value_columns=["xmin", "ymin"]).target(1)["value"].tolist() == [1, 2]


@pytest.mark.parametrize("columns", ["bbox", "cx", "x_center", "BoundingBox", "x,y", "xmin"])
def test_columns_that_look_like_a_box_are_named(table: Callable, columns: str) -> None:
    cells = ",".join("1" for _ in columns.split(","))
    with pytest.warns(UserWarning, match="look like a box and are not used.*`box_columns`"):
        table(f"path,label,{columns}", f"a.png,cat,{cells}", f"b.png,dog,{cells}")


def test_a_box_in_shares_of_its_image_is_an_error(table: Callable) -> None:
    with pytest.raises(InputError, match=r"line 2: box \[0.1, 0.2, 0.5, 0.8\] has shares of the image"):
        table("path,label,x,y,w,h", "a.png,cat,0.1,0.2,0.4,0.6")


def test_labels_are_named_in_the_order_of_label_names(table: Callable) -> None:
    lines = "path,label", "a.png,0", "b.png,2", "c.png,0"
    dataset = table(*lines, label_names={"2": "dog", "0": "cat"})
    assert (dataset.class_names, dataset.labels().tolist()) == (["dog", "cat"], [1, 0, 1])
    assert table(*lines, label_names={0: "cat", 2: "dog"}).class_names == ["cat", "dog"]  # as YAML reads {0: cat}
    with pytest.raises(InputError, match=r"line 3: label '2' is not one of \['0', '1'\]"):
        table(*lines, label_names={"0": "cat", "1": "dog"})
    with pytest.raises(InputError, match="class 'cat' is named twice"):
        table(*lines, label_names={"0": "cat", "2": "cat"})
    with pytest.raises(InputError, match="class_names and label_names exclude each other"):
        table(*lines, label_names={"0": "cat", "2": "dog"}, class_names=["cat"])
    with pytest.raises(InputError, match="no column 'label'"):
        table("path,value", "a.png,1", label_names={"0": "cat"}, value_columns=["value"])


def test_labels_in_a_list_and_of_objects_are_named_too(table: Callable) -> None:
    named = {"0": "cat", "7": "dog"}
    listed = table("path,label", "a.png,7|0", "b.png,7", labels_separator="|", label_names=named)
    assert (listed.labels_names, listed.target(1)["labels"].tolist()) == (["cat", "dog"], [0, 1])
    found = table("path,label,x1,y1,x2,y2", "a.png,7,1,2,9,8", "b.png,,,,,", objects="all", label_names=named)
    assert objects_of(found) == {"a.png": [("dog", [1, 2, 9, 8])], "b.png": []}
    assert found.target(0)["objects"]["labels"].tolist() == [1]


def test_a_pattern_makes_the_paths_of_a_table(table: Callable, tmp_path: Path) -> None:
    lines = "id,label", "a,cat", "c,dog"
    dataset = table(*lines, path_column="id", pattern="images/{path}.png", root=None)
    assert names(dataset) == ["images/a.png", "images/c.png"]
    with pytest.raises(InputError, match=r"line 2: no such file: .*images/photos/a\.png"):
        table(*lines, path_column="id", pattern="photos/{path}.png")
    with pytest.raises(InputError, match=r"pattern: 'images/\{id\}\.png' has no \{path\}"):
        table(*lines, path_column="id", pattern="images/{id}.png")
    with pytest.raises(InputError, match=r"line 2: '\.\./\.\./a\.png' leaves"):
        table(*lines, path_column="id", pattern="../../{path}.png")


# Masks


@pytest.fixture
def write_masks(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., str]:
    """Writes images, and masks of as many pixels whose first column is 1."""

    def write(images: str, masks: str = "") -> str:
        for name in images.split():
            write_image(tmp_path / name)
        for name in masks.split():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((np.arange(40 * 32).reshape(32, 40) % 40 == 0).astype(np.uint8)).save(tmp_path / name)
        return str(tmp_path)

    return write


@pytest.mark.parametrize(
    ("images", "masks", "first", "second"),
    [
        ("images", "masks/{stem}_mask.png", "images/a.jpg images/x/b.png", "masks/a_mask.png masks/x/b_mask.png"),
        (
            "{stem}_training.tif",
            "{stem}_manual1.gif",
            "21_training.tif 22_training.tif",
            "21_manual1.gif 22_manual1.gif",
        ),
        ("rgb/{stem}.*", "mask_{stem}.png", "rgb/a.jpg rgb/b.tif", "mask_a.png mask_b.png"),
        (".", "{stem}_mask.png", "a.jpg x/b.png", "a_mask.png x/b_mask.png"),
        (".", "masks", "a.jpg x/b.png", "masks/a.png masks/x/b.png"),
        ("{stem}/image.png", "{stem}/mask.png", "a/image.png b/image.png", "a/mask.png b/mask.png"),
        ("{stem}/{stem}_t1.png", "{stem}/{stem}_seg.png", "a/a_t1.png b/b_t1.png", "a/a_seg.png b/b_seg.png"),
    ],
)
def test_masks_are_found_by_what_their_paths_share(
    write_masks: Callable, images: str, masks: str, first: str, second: str
) -> None:
    root = write_masks(first, second)
    dataset = MaskFolder("train", root, ["no", "yes"], images, masks, splits=ALL)
    assert names(dataset) == first.split()
    assert [path.relative_to(root).as_posix() for path in dataset.mask_paths] == second.split()
    assert dataset[1]["mask"].sum() == 32
    objects = InstanceFolder("train", root, ["yes"], images, masks, splits=ALL)
    assert objects.objects(0)["boxes"].tolist() == [[0, 0, 1, 32]]


@pytest.mark.parametrize(
    ("images", "masks", "name"),
    [
        ("photos/{split}/{stem}_photo.png", "fine/{split}/{stem}_fine.png", "{kind}/{split}/city/1_{kind}.png"),
        ("photos/{split}_{stem}.png", "fine/{split}_{stem}_fine.png", "{kind}/{split}_1{end}.png"),
    ],
)
def test_a_split_is_in_the_folder_or_the_name_of_the_file(
    write_masks: Callable, images: str, masks: str, name: str
) -> None:
    """As in Cityscapes, whose stems have folders."""
    for split in ("train", "Valid"):
        photo, fine = (
            name.format(kind=kind, split=split, end=end).replace("_photos", "_photo")
            for kind, end in (("photos", ""), ("fine", "_fine"))
        )
        root = write_masks(photo, fine)
    for split, word in (("train", "train"), ("val", "Valid")):
        (found,) = names(MaskFolder(split, root, ["no", "yes"], images, masks))
        assert word in found
    with pytest.raises(MissingSplit, match=r"\{stem\}.*png: no 'test'; there are train, val"):
        MaskFolder("test", root, ["no", "yes"], images, masks)


@pytest.mark.parametrize(
    ("masks", "files", "message"),
    [
        ("{stem}_mask.png", "a_mask.png", "1 of 2 images have no mask in {stem}_mask.png: b. Add them"),
        ("{stem}_mask.png", "a_mask.png b_mask.png c_mask.png", "1 of 3 masks have no image in .: c. Add them"),
        ("{stem}_msk.png", "a_mask.png b_mask.png", "no image fits '{stem}_msk.png'; the first ones are a.jpg, a_mask"),
        ("{stem}_mask", "a_mask.png", "'{stem}_mask' must end with an extension of images, such as .png, or .*"),
        ("{stem}_*.png", "a_mask.png", "'{stem}_*.png' must end with an extension"),
        ("{stem}_mask.*", "a_mask.png a_mask.gif", "a_mask.png: a_mask.gif has the same name except for the extension"),
    ],
)
def test_a_file_without_a_partner_is_named(write_masks: Callable, masks: str, files: str, message: str) -> None:
    root = write_masks("a.jpg b.jpg", files)
    with pytest.raises(InputError) as caught:
        MaskFolder("train", root, ["no", "yes"], ".", masks)
    assert message in str(caught.value).replace(root, ".")


def test_images_that_are_neither_are_counted(write_masks: Callable, caplog: Any) -> None:
    root = write_masks("a_photo.jpg b_photo.jpg cover.jpg", "a_mask.png b_mask.png")
    with caplog.at_level("INFO"):
        dataset = MaskFolder("train", root, ["no", "yes"], "{stem}_photo.jpg", "{stem}_mask.png", splits=ALL)
    assert names(dataset) == ["a_photo.jpg", "b_photo.jpg"]
    assert "1 images fit neither {stem}_photo.jpg nor {stem}_mask.png and are left out: cover.jpg" in caplog.text


def test_a_list_names_stems_of_patterns(write_masks: Callable, tmp_path: Path) -> None:
    root = write_masks("a_photo.jpg b_photo.jpg", "a_mask.png b_mask.png")
    (tmp_path / "train.txt").write_text("b\n")
    dataset = MaskFolder("train", root, ["no", "yes"], "{stem}_photo.jpg", "{stem}_mask.png", lists="{split}.txt")
    assert names(dataset) == ["b_photo.jpg"]


# Splits


BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"


@pytest.fixture
def without_val(tmp_path: Path, write_image: Callable[..., Path]) -> dict[str, Callable[..., VisionDataset]]:
    """Sets of eight images of train and two of test, in every layout that can say so; the image t7.png is t0.png."""
    files = [("train", f"t{i}") for i in range(8)] + [("test", f"u{i}") for i in range(2)]
    mask = Image.fromarray(np.eye(32, 40, dtype=np.uint8))
    texts = {
        "table.csv": ["path,label,split"],
        "data.yaml": ["names: [a, b]", "train: images/train", "test: images/test"],
    }
    for number, (split, name) in enumerate(files):
        label = "ab"[number % 2]
        image = write_image(tmp_path / f"images/{split}/{name}.png")
        if name == "t7":
            shutil.copy(tmp_path / "images/train/t0.png", image)
        for folder in (f"masks/{split}", f"folders/{split}/{label}", "JPEGImages", "Annotations", f"labels/{split}"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        mask.save(tmp_path / f"masks/{split}/{name}.png")
        shutil.copy(image, tmp_path / f"folders/{split}/{label}/{name}.png")
        shutil.copy(image, tmp_path / f"JPEGImages/{name}.png")
        xml = f"<annotation><object><name>{label}</name>{BOX}</object></annotation>"
        (tmp_path / f"Annotations/{name}.xml").write_text(xml)
        (tmp_path / f"labels/{split}/{name}.txt").write_text(f"{number % 2} 0.5 0.5 0.2 0.2")
        texts.setdefault(f"ImageSets/Main/{split}.txt", []).append(name)
        texts["table.csv"].append(f"images/{split}/{name}.png,{label},{split}")
        texts.setdefault(f"{split}.txt", []).append(f"images/{split}/{name}.png masks/{split}/{name}.png")
        texts.setdefault("all.txt", []).append(f"images/{split}/{name}.png masks/{split}/{name}.png")
    shape = {"bbox": [1, 1, 8, 7], "segmentation": [[1, 1, 9, 1, 9, 8]]}
    for split in ("train", "test"):
        photos = sorted(path.name for path in (tmp_path / f"images/{split}").iterdir())
        images = [{"id": i, "file_name": name} for i, name in enumerate(photos)]
        marks = [{"id": i, "image_id": i, "category_id": i % 2, **shape} for i in range(len(photos))]
        coco = {"images": images, "annotations": marks, "categories": [{"id": i, "name": "ab"[i]} for i in range(2)]}
        texts[f"{split}.json"] = [json.dumps(coco)]
    for name, lines in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n".join(lines))
    coco = {"annotations": str(tmp_path / "{split}.json"), "images": str(tmp_path / "images/{split}")}
    masks = partial(MaskFolder, root=str(tmp_path), class_names=["a", "b"])
    return {
        "folder": partial(ImageFolder, root=str(tmp_path / "folders")),
        "table": partial(CsvTable, path=str(tmp_path / "table.csv")),
        "boxes": partial(CocoBoxes, **coco),
        "regions": partial(CocoMasks, **coco),
        "XML": partial(VocBoxes, root=str(tmp_path)),
        "YOLO": partial(YoloBoxes, path=str(tmp_path / "data.yaml")),
        "masks": partial(masks, images="images/{split}", masks="masks/{split}"),
        "lists": partial(masks, lists="{split}.txt"),
        "list": partial(masks, lists="all.txt"),
        "objects": partial(
            InstanceFolder, root=str(tmp_path), class_names=["a"], images="images/{split}", masks="masks/{split}"
        ),
    }


KINDS = ["folder", "table", "boxes", "regions", "XML", "YOLO", "masks", "lists", "objects"]


@pytest.mark.parametrize("kind", KINDS)
def test_train_is_divided_if_there_is_no_val(without_val: dict, kind: str, caplog: Any) -> None:
    """The first, with its copy, is held out of training, and the test part is what it was."""
    make = without_val[kind]
    with caplog.at_level("INFO"):
        parts = {split: names(make(split, splits=Splits(fold=0, folds=4))) for split in ("train", "val", "test")}
    stems = {split: sorted(Path(name).stem for name in found) for split, found in parts.items()}
    order = ["t0", "t2", "t4", "t6", "t1", "t3", "t5", "t7"] if kind == "folder" else [f"t{i}" for i in range(8)]
    assert stems["val"] == sorted(order[::4])
    assert stems["test"] == ["u0", "u1"]
    assert stems["train"] == sorted({*order} - {*stems["val"], "t7"})
    assert caplog.text.count("has no val, so `splits: {") == 1
    with pytest.raises(InputError, match=r"splits\.test: 0\.2, but .* has a test part of its own\. Set `splits"):
        make("train", splits=Splits(test=0.2))


@pytest.mark.parametrize("kind", [*KINDS, "list"])
def test_splits_may_be_a_mapping_in_python(without_val: dict, kind: str) -> None:
    make = without_val[kind]
    assert names(make("val", splits={"fold": 0, "folds": 4})) == names(make("val", splits=Splits(fold=0, folds=4)))
    with pytest.raises(InputError, match="splits: unknown key 'vall'; there are val, test, fold, folds, seed"):
        make("train", splits={"vall": 0.2})


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"val": "0.2"}, "splits.val: expected a number; found '0.2'"),
        ({"folds": 2.5}, "splits.folds: expected a number; found 2.5"),
        ({"val": 2}, "must be shares with a sum below 1"),
        (0.2, "splits: expected Splits, or a mapping such as {'val': 0.2}; found 0.2"),
    ],
)
def test_a_mapping_that_says_no_splits_is_an_error(
    labelme: Callable, cvat: Callable, splits: Any, message: str
) -> None:
    for make in (partial(labelme, *[[shape("cat", TRIANGLE)]] * 5), partial(cvat, *[("", CAT)] * 5)):
        assert len(make(splits={"val": 0.4})) == 3
        with pytest.raises(InputError, match=message):
            make(splits=splits)


@pytest.mark.parametrize("kind", KINDS)
def test_train_may_be_used_as_a_whole(without_val: dict, kind: str) -> None:
    assert len(without_val[kind]("train", splits=ALL)) == 8
    with pytest.raises(MissingSplit, match="the val split is empty: 8 samples"):
        without_val[kind]("val", splits=ALL)


def test_one_list_is_divided(without_val: dict) -> None:
    parts = [names(without_val["list"](split, splits=Splits(fold=0, folds=5))) for split in ("train", "val")]
    assert [Path(name).stem for name in parts[1]] == ["t0", "t5"]
    assert [Path(name).stem for name in parts[0]] == ["t1", "t2", "t3", "t4", "t6", "u0", "u1"]  # t7 is t0


# Folders


@pytest.fixture
def write_folders(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., str]:
    """Writes two images into each folder."""

    def write(folders: str) -> str:
        for folder in folders.split():
            for name in "xy":
                write_image(tmp_path / folder / f"{folder.replace('/', '-')}-{name}.png")
        return str(tmp_path)

    return write


def test_keep_chooses_classes_of_a_folder_and_counts_the_rest(write_folders: Callable, caplog: Any) -> None:
    root = write_folders("train/bus train/car train/dog train/emu val/car val/yak val/bus")
    with caplog.at_level("INFO"):
        parts = [ImageFolder(split, root, keep=["car", "bus"]) for split in ("train", "val")]
    assert [part.class_names for part in parts] == [["car", "bus"]] * 2
    assert [part.labels().tolist() for part in parts] == [[0, 0, 1, 1]] * 2
    assert names(parts[1])[0] == "val/car/val-car-x.png"
    assert "train: 4 images of 2 other classes are left out: dog, emu" in caplog.text
    assert "val: 2 images of 1 other classes are left out: yak" in caplog.text


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (["bus", "cat"], "keep: 'cat' is not a class of the set; did you mean 'car'"),
        (["bus"], "keep: found one class, 'bus'; classification needs at least two"),
        (["bus", "bus"], "keep: the class 'bus' is named twice"),
        ([], "keep: found no class"),
    ],
)
def test_classes_that_cannot_be_kept_are_an_error(write_folders: Callable, keep: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageFolder("train", write_folders("bus car"), keep=keep)


@pytest.mark.parametrize("name", ["train", "test", "val", "Training"])
def test_a_class_may_have_the_name_of_a_split(write_folders: Callable, name: str) -> None:
    root = write_folders(f"bus car {name}")
    with pytest.warns(UserWarning, match=f"{name}/ holds images, as the other folders do, so it is a class"):
        assert ImageFolder("train", root, ALL).class_names == sorted(["bus", "car", name])


def test_folders_of_folders_are_splits_whatever_lies_beside_them(write_folders: Callable) -> None:
    root = write_folders("train/bus train/car test unlabeled")  # as Kaggle has them
    assert ImageFolder("train", root, ALL).class_names == ["bus", "car"]
    with pytest.raises(InputError, match="an image outside the class folders"):
        ImageFolder("test", root)
    shutil.rmtree(Path(root) / "test")
    assert ImageFolder("train", root, ALL).class_names == ["bus", "car"]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ("train test", "an image outside the class folders"),
        ("train sample", r"train/ may be a split or a class, like \['sample'\]"),
        ("train test val bus car", "test/ and train/ and val/ may be a split or a class"),
        ("train/steam train/diesel bus car", r"train/ may be a split or a class, like \['bus', 'car'\]"),
    ],
)
def test_a_folder_that_may_be_a_split_or_a_class_is_an_error(
    write_folders: Callable, folders: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ImageFolder("train", write_folders(folders))


@pytest.mark.parametrize(
    ("folders", "keep"),
    [
        ("train sample", ["train", "sample"]),
        ("train test val bus car", ["bus", "car", "test"]),
        ("train test val bus car", ["bus", "car"]),
        ("train/steam train/diesel bus car", ["bus", "train"]),
        ("train/steam train/diesel bus car", ["steam", "diesel"]),
    ],
)
def test_keep_says_what_is_a_class(write_folders: Callable, folders: str, keep: list[str]) -> None:
    assert ImageFolder("train", write_folders(folders), ALL, keep).class_names == keep


# LabelMe


def shape(label: Any, points: Any, kind: Any = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


TRIANGLE = [[2, 4], [10, 4], [2, 12]]


@pytest.fixture
def labelme(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., LabelMe]:
    """Writes images of 40 x 32 pixels, a.png and so on, each with the JSON file that LabelMe writes, and reads them."""

    def read(*files: Any, **options: Any) -> LabelMe:
        for name, shapes in zip("abcdefgh", files, strict=False):
            write_image(tmp_path / f"{name}.png")
            content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"..\\x\\{name}.png"}
            content |= {"imageData": "iVBORw0KGgo=", "imageHeight": 32, "imageWidth": 40}
            (tmp_path / f"{name}.json").write_text(shapes if isinstance(shapes, str) else json.dumps(content))
        return LabelMe("train", str(tmp_path), **{"splits": ALL, **options})

    return read


def test_shapes_of_labelme_are_objects_with_boxes_and_pixels(labelme: Callable) -> None:
    shapes = [
        shape("cat", TRIANGLE),
        shape("dog", [[20, 20], [10, 10]], "rectangle"),
        shape("cat", [[30, 8], [30, 3]], "circle"),
        shape("dog", [[1, 1], [3, 1], [3, 3], [1, 3]], "rectangle"),
        shape("cat", [[0, 0], [8, 0], [0, 8]], None),
    ]
    dataset = labelme(shapes, [], masks=True)
    labels, boxes = zip(*objects_of(dataset)["a.png"], strict=True)
    assert labels == ("cat", "dog", "cat", "dog", "cat")
    assert boxes == ([2, 4, 10, 12], [10, 10, 20, 20], [25, 3, 35, 13], [1, 1, 3, 3], [0, 0, 8, 8])
    assert objects_of(dataset)["b.png"] == []
    masks = dataset[0]["objects"]["masks"]
    assert masks.shape == (5, 32, 40)
    assert masks[1].sum() == 100
    assert masks[1][10:20, 10:20].all()
    assert masks[0].sum() == pytest.approx(32, abs=8)
    assert masks[2].sum() == pytest.approx(np.pi * 25, abs=10)
    assert dataset.size(0) == (32, 40)


def png(pixels: Any, kind: str = "PNG", mode: str | None = None) -> str:
    """A picture in base64, as LabelMe stores masks."""
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    file = BytesIO()
    (image.convert(mode) if mode else image).save(file, kind)
    return b64encode(file.getvalue()).decode()


RING = [[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0]]


@pytest.mark.parametrize("high", [1, 255])
def test_masks_of_labelme_are_objects_with_their_pixels(labelme: Callable, high: int) -> None:
    """The last point is that of the last pixel, as in LabelMe's own drawing of a mask."""
    loose = np.pad(RING, 1)
    shapes = [
        shape("cat", [[4, 5], [7, 7]], "mask", mask=png(np.multiply(RING, high))),
        shape("dog", [[10.0, 20.0], [15.0, 24.0]], "mask", mask=png(np.multiply(loose, high))),
        shape("dog", [[36, 29], [39, 31]], "mask", mask=png(RING), group_id=3),
        shape("dog", [[0, 0], [4, 0], [4, 4], [0, 4]], group_id=3),
    ]
    dataset = labelme(shapes, masks=True)
    found = [("cat", [4, 5, 8, 8]), ("dog", [11, 21, 15, 24]), ("dog", [0, 0, 40, 32])]
    assert objects_of(dataset) == {"a.png": found}
    expected = np.zeros((3, 32, 40), bool)
    expected[0, 5:8, 4:8] = expected[1, 21:24, 11:15] = expected[2, 29:32, 36:40] = np.array(RING, bool)
    expected[2, :4, :4] = True
    np.testing.assert_array_equal(dataset[0]["objects"]["masks"], expected)
    assert objects_of(labelme(shapes)) == {"a.png": found}  # without the pixels


def test_a_mask_of_labelme_is_cut_at_the_frame(labelme: Callable) -> None:
    shapes = [shape("cat", [[38, -1], [41, 1]], "mask", mask=png(RING))]
    with pytest.raises(InputError, match=r"shape 1: box \[38, -1, 42, 2\] .* is outside the image"):
        labelme(shapes)
    dataset = labelme(shapes, masks=True, boxes="clip")
    assert objects_of(dataset) == {"a.png": [("cat", [38, 0, 40, 2])]}
    assert np.argwhere(dataset[0]["objects"]["masks"][0]).tolist() == [[0, 38], [1, 39]]


def bomb() -> str:
    """The header of a PNG file of 65,536 x 65,536 pixels."""
    chunks = (b"IHDR" + (65536).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0", b"IDAT" + zlib.compress(b"0"), b"IEND")
    parts = ((len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in chunks)
    return b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


@pytest.mark.parametrize(
    ("points", "mask", "message"),
    [
        ([[4, 5], [7, 7]], None, "'mask' must be a PNG file in base64; found None"),
        ([[4, 5], [7, 7]], "no base64!", "'mask' must be a PNG file in base64; found 'no base64!'"),
        ([[4, 5], [7, 7]], "", "the file is empty"),
        ([[4, 5], [7, 7]], b64encode(b"text").decode(), "broken or truncated mask .*not an image"),
        ([[4, 5], [7, 7]], png(RING)[:-40], "broken or truncated mask"),
        ([[4, 5], [7, 7]], png(RING, "JPEG"), "must be a gray PNG file; found JPEG of mode L"),
        ([[4, 5], [7, 7]], png(RING, mode="RGBA"), "must be a gray PNG file; found PNG of mode RGBA"),
        ([[4, 5], [8, 8]], png(RING), r"the mask has 4 x 3 pixels, its points \[\[4, 5\], \[8, 8\]\] have 5 x 4"),
        ([[7, 7], [4, 5]], png(RING), "the mask has 4 x 3 pixels, its points .* have -2 x -1"),
        ([[0, 0], [65535, 65535]], bomb(), "65536x65536 pixels, more than the limit|more pixels than the limit"),
        ([[4, 5], [7, 7]], png(np.zeros((3, 4))), "no pixel of the mask is inside"),
        ([[4, 5], [7, 7], [1, 1]], png(RING), "a mask must have 2 points"),
    ],
)
def test_an_odd_mask_of_labelme_is_an_error_that_names_it(
    labelme: Callable, points: Any, mask: Any, message: str
) -> None:
    with pytest.raises(InputError, match=rf"a\.json, shape 1: .*({message})"):
        labelme([shape("cat", points, "mask", mask=mask)])


def test_shapes_of_a_group_are_one_object(labelme: Callable) -> None:
    """Parts of one object, as LabelMe's own conversion to COCO joins them."""
    far = [[x + 20, y + 10] for x, y in TRIANGLE]
    shapes = [shape("cat", TRIANGLE, group_id=1), shape("dog", TRIANGLE, group_id=1), shape("cat", far, group_id=1)]
    dataset = labelme(shapes, masks=True)
    assert objects_of(dataset) == {"a.png": [("cat", [2, 4, 30, 22]), ("dog", [2, 4, 10, 12])]}
    masks = dataset[0]["objects"]["masks"]
    assert masks[0].sum() == 2 * masks[1].sum()


def test_objects_of_labelme_that_are_there_twice_count_once(labelme: Callable) -> None:
    other = [[10, 12], *TRIANGLE[1:]]  # of the same box
    with pytest.warns(UserWarning, match="1 object has the same image, name and box as one before it"):
        dataset = labelme([shape("cat", TRIANGLE), shape("cat", other), shape("cat", TRIANGLE), shape("dog", TRIANGLE)])
    assert [label for label, _ in objects_of(dataset)["a.png"]] == ["cat", "cat", "dog"]


def test_images_without_a_file_of_labelme_are_left_out_and_counted(
    labelme: Callable, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    write_image(tmp_path / "later/z.png")
    with pytest.warns(UserWarning, match=r"1 of 3 images has no annotation and is left out: z\.png"):
        assert names(labelme([shape("cat", TRIANGLE)], [])) == ["a.png", "b.png"]


def test_folders_of_labelme_say_the_splits(labelme: Callable, tmp_path: Path) -> None:
    labelme(*[[shape(label, TRIANGLE)] for label in ("cat", "dog", "cat", "dog")])
    for split, stems in (("Train", "abc"), ("valid", "d")):
        (tmp_path / split).mkdir()
        for file in [tmp_path / f"{stem}{suffix}" for stem in stems for suffix in (".png", ".json")]:
            file.rename(tmp_path / split / file.name)
    root = str(tmp_path / "{split}")
    train, val = LabelMe("train", root), LabelMe("val", root)
    assert (names(train), names(val)) == (["a.png", "b.png", "c.png"], ["d.png"])
    assert train.class_names == val.class_names == ["cat", "dog"]
    with pytest.raises(MissingSplit, match="no 'test'; there are train, val"):
        LabelMe("test", root)
    shutil.rmtree(tmp_path / "valid")
    assert sum(len(LabelMe(split, root, splits=Splits(fold=0, folds=3))) for split in ("train", "val")) == 3
    with pytest.raises(InputError, match="train: no such file or folder"):
        LabelMe("train", str(tmp_path / "x{split}"))


def test_keep_leaves_out_labels_of_points(labelme: Callable, caplog: Any) -> None:
    caplog.set_level("INFO")
    shapes = [shape("nose", [[3, 3]], "point"), shape("cat", TRIANGLE), shape("nose", [[4, 3]], "point")]
    assert objects_of(labelme(shapes, keep=["cat"])) == {"a.png": [("cat", [2, 4, 10, 12])]}
    assert "2 objects of other classes dropped" in caplog.text
    with pytest.raises(InputError, match=r"a\.json, shape 1: shape_type must be one of .*found 'point'.*`keep`"):
        labelme(shapes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a LabelMe file"),
        ('{"images": [], "annotations": []}', "not a LabelMe file: 'shapes' must be a list .*Move it elsewhere"),
        ('{"shapes": [1]}', "not a LabelMe file"),
        ([shape("", TRIANGLE)], "shape 1: it has no label; found ''"),
        ([shape(None, TRIANGLE)], "shape 1: it has no label; found None"),
        ([shape("cat", TRIANGLE[:2])], r"a polygon must have 3 or more points, x and y; found \[\[2, 4\], \[10, 4\]\]"),
        ([shape("cat", TRIANGLE, "rectangle")], "a rectangle must have 2 or 4 points"),
        ([shape("cat", TRIANGLE, "circle")], "a circle must have 2 points"),
        ([shape("cat", [[1, 2], [3, "4"]], "circle")], "a circle must have 2 points"),
        ([shape("cat", [[1, 2], [3]], "circle")], "a circle must have 2 points"),
        ([shape("cat", [[1, 2], [3, float("nan")]], "circle")], "a circle must have 2 points"),
        ([shape("cat", "points")], "a polygon must have 3 or more points"),
        ([shape("cat", TRIANGLE, ["line"])], r"shape_type must be one of .*found \['line'\]"),
        ([shape("cat", [[-4, 1], [9, 1], [9, 9]])], r"box \[-4, 1, 9, 9\] .* is outside the image"),
        ([shape("cat", [[0.1, 0.1], [0.3, 0.1], [0.3, 0.4]])], "has shares of the image; expected pixels"),
        ([], "no image has a shape"),
    ],
)
def test_an_odd_file_of_labelme_is_an_error_that_names_it(labelme: Callable, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        labelme(content)
    assert "a.json" in str(caught.value) or content == []


def test_files_of_labelme_that_lack_their_image_or_state_another_size_are_errors(
    labelme: Callable, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    labelme([shape("cat", TRIANGLE)])
    write_image(tmp_path / "a.png", size=(30, 20))
    with pytest.raises(InputError, match=r"shape 1: made for an image of 40 x 32 pixels; .*a\.png has 30 x 20"):
        LabelMe("train", str(tmp_path), splits=ALL)
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"a\.json: no image a\.\* nor 'a\.png', the end .*remove the JSON file"):
        LabelMe("train", str(tmp_path), splits=ALL)
    (tmp_path / "a.json").unlink()
    with pytest.raises(InputError, match=r"no \.json files in this folder"):
        LabelMe("train", str(tmp_path), splits=ALL)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        LabelMe("train", "nowhere")


# COCO files of other tools


def rows(*marks: tuple[int, int, list[float]], **more: Any) -> list[dict[str, Any]]:
    """Annotations of (image, category, box)."""
    return [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
            **more,
        }
        for number, (image, category, box) in enumerate(marks)
    ]


@pytest.fixture
def write_coco(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., None]:
    """Writes a JSON file and images of 40 x 32 pixels."""

    def write(file: str, files: dict[str, str], marks: list[dict], categories: list[dict], first: int = 0) -> None:
        images = [
            {"id": number, "width": 40, "height": 32, "file_name": name}
            for number, name in enumerate(files.values(), first)
        ]
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        content = {"images": images, "annotations": marks, "categories": categories, "info": {}, "licenses": []}
        (tmp_path / file).write_text(json.dumps(content))
        for path in files:
            write_image(tmp_path / path)

    return write


def test_a_coco_export_of_cvat_is_read(write_coco: Callable, tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "cat", "supercategory": ""}, {"id": 2, "name": "dog", "supercategory": ""}]
    marks = rows(
        (1, 2, [1, 2, 8, 6]), (1, 1, [3, 3, 17, 27]), segmentation=[[1, 2, 9, 2, 9, 8]], attributes={"occluded": False}
    )
    files = {"images/a.jpg": "a.jpg", "images/x/b.jpg": "x/b.jpg"}
    write_coco("annotations/instances_default.json", files, marks, categories, first=1)
    places = {"annotations": str(tmp_path / "annotations/instances_default.json"), "images": str(tmp_path / "images")}
    dataset = CocoBoxes("train", **places, objects="all", masks=True, splits=ALL)
    assert objects_of(dataset) == {"a.jpg": [("dog", [1, 2, 9, 8]), ("cat", [3, 3, 20, 30])], "x/b.jpg": []}
    assert dataset[0]["objects"]["masks"].any((1, 2)).all()


@pytest.mark.parametrize(
    "stated", ["images\\1\\{}.jpg", "images/1/{}.jpg", "../images/1/{}.jpg", "..\\..\\images\\1\\{}.jpg"]
)
def test_a_coco_export_of_label_studio_is_read(write_coco: Callable, tmp_path: Path, stated: str) -> None:
    """`result.json` beside `images/`, with categories from 0 on and empty segmentations."""
    files = {f"images/1/{name}.jpg": stated.format(name) for name in ("3f-a", "4e-b")}
    marks = rows((0, 0, [1.5, 2, 8, 6]), (1, 1, [3, 3, 17, 27]), segmentation=[], ignore=0)
    write_coco("result.json", files, marks, [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}])
    dataset = CocoBoxes("train", str(tmp_path / "result.json"), str(tmp_path), objects="all", splits=ALL)
    assert [*objects_of(dataset).values()] == [[("cat", [1.5, 2, 9.5, 8])], [("dog", [3, 3, 20, 30])]]
    assert dataset[0]["image"].shape == (32, 40, 3)


def test_a_file_above_the_folder_of_a_coco_file_is_never_read(write_coco: Callable, tmp_path: Path) -> None:
    write_coco("set/result.json", {"a.jpg": "../a.jpg"}, rows((0, 0, [1, 2, 8, 6])), [{"id": 0, "name": "cat"}])
    with pytest.raises(InputError, match=r"image 0: '\.\./a\.jpg' leaves"):
        CocoBoxes("train", str(tmp_path / "set/result.json"), str(tmp_path / "set"))


def test_a_coco_export_of_roboflow_is_read(write_coco: Callable, tmp_path: Path) -> None:
    """A file beside the images of each split, and a category without objects that groups the others."""
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
        {"id": 2, "name": "dog", "supercategory": "animals"},
    ]
    for split, category in (("train", 1), ("valid", 2), ("test", 1)):
        files = {f"{split}/{split}_jpg.rf.0a.jpg": f"{split}_jpg.rf.0a.jpg"}
        write_coco(f"{split}/_annotations.coco.json", files, rows((0, category, [1, 2, 8, 6])), categories)
    places = {"annotations": str(tmp_path / "{split}/_annotations.coco.json"), "images": str(tmp_path / "{split}")}
    for split, name, label in (("train", "train", "cat"), ("val", "valid", "dog"), ("test", "test", "cat")):
        dataset = CocoBoxes(split, **places, objects="all")
        assert dataset.class_names == ["cat", "dog"]
        assert objects_of(dataset) == {f"{name}_jpg.rf.0a.jpg": [(label, [1, 2, 9, 8])]}


# CVAT for images


@pytest.fixture
def cvat(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., CvatImages]:
    """Writes the XML file of images of 40 x 32 pixels, each with its attributes and shapes, and reads it."""

    def read(*images: tuple[str, str], split: str = "train", **options: Any) -> CvatImages:
        nodes = ""
        for number, (attributes, shapes) in enumerate(images):
            write_image(tmp_path / f"images/{'abcdefgh'[number]}.png")
            name = f'id="{number}" name="{"abcdefgh"[number]}.png" width="40" height="32"'
            nodes += f"<image {name} {attributes}>{shapes}</image>"
        task = "<meta><task><name>pets</name><labels><label><name>cat</name></label></labels></task></meta>"
        text = f"<?xml version='1.0' encoding='utf-8'?><annotations><version>1.1</version>{task}{nodes}</annotations>"
        (tmp_path / "annotations.xml").write_text(text)
        places = str(tmp_path / "annotations.xml"), str(tmp_path / "images")
        return CvatImages(split, *places, **{"splits": ALL, **options})

    return read


CAT = '<box label="cat" source="manual" occluded="0" xtl="10" ytl="10" xbr="20" ybr="14" z_order="0"></box>'


def test_shapes_of_cvat_are_objects_with_boxes_and_pixels(cvat: Callable) -> None:
    shapes = (
        f'<tag label="day"></tag>{CAT}'
        '<polygon label="dog" points="2.00,4.00;10.00,4.00;2.00,12.00"><attribute name="age">1</attribute></polygon>'
        '<ellipse label="cat" cx="30" cy="8" rx="5" ry="4"></ellipse>'
    )
    dataset = cvat(("", shapes), ("", ""), masks=True)
    assert dataset.class_names == ["cat", "dog"]
    found = [("cat", [10, 10, 20, 14]), ("dog", [2, 4, 10, 12]), ("cat", [25, 4, 35, 12])]
    assert objects_of(dataset) == {"a.png": found, "b.png": []}
    masks = dataset[0]["objects"]["masks"]
    assert masks[0].sum() == 40
    assert masks[0][10:14, 10:20].all()
    assert masks[2].sum() == pytest.approx(np.pi * 20, abs=10)


def mask_of_cvat(rle: str = "1, 2, 1, 1, 2, 1, 1, 2, 1", left: Any = 4, top: Any = 5, size: Any = (4, 3)) -> str:
    place = f'left="{left}" top="{top}" width="{size[0]}" height="{size[1]}"'
    return f'<mask label="dog" source="manual" occluded="0" rle="{rle}" {place} z_order="0"></mask>'


def test_masks_of_cvat_are_objects_with_their_pixels(cvat: Callable) -> None:
    full = mask_of_cvat("0, 6", 38, 29, (2, 3))
    dataset = cvat(("", mask_of_cvat() + full), masks=True)
    assert objects_of(dataset) == {"a.png": [("dog", [4, 5, 8, 8]), ("dog", [38, 29, 40, 32])]}
    expected = np.zeros((2, 32, 40), bool)
    expected[0, 5:8, 4:8], expected[1, 29:, 38:] = np.array(RING, bool), True
    np.testing.assert_array_equal(dataset[0]["objects"]["masks"], expected)
    assert objects_of(cvat(("", mask_of_cvat("5, 1, 6"))))["a.png"] == [("dog", [5, 6, 6, 7])]


def test_a_rotation_of_cvat_is_clockwise_about_the_center(cvat: Callable) -> None:
    quarter = CAT.replace("z_order", 'rotation="90.00" z_order')
    assert objects_of(cvat(("", quarter)))["a.png"] == [("cat", pytest.approx([13, 7, 17, 17], abs=1e-4))]
    eighth = '<box label="cat" xtl="10" ytl="10" xbr="20" ybr="10.001" rotation="45"></box>'
    mask = '<polygon label="dog" points="1,1;9,1;9,9"></polygon>'
    (_, box), _ = objects_of(cvat(("", eighth + mask)))["a.png"]
    low, high = 15 - 5 * 2**-0.5, 15 + 5 * 2**-0.5  # from the upper left to the lower right
    assert box == pytest.approx([low, low - 5, high, high - 5], abs=1e-2)


def test_subsets_of_cvat_are_splits_if_they_are_named_so(cvat: Callable) -> None:
    images = [(f'subset="{subset}"', CAT) for subset in ("Train", "Validation", "Train")]
    assert names(cvat(*images)) == ["a.png", "c.png"]
    assert names(cvat(*images, split="val")) == ["b.png"]
    with pytest.raises(MissingSplit, match="no 'test'; there are train, val"):
        cvat(*images, split="test")
    images = [('subset="default"', CAT)] * 3
    assert names(cvat(*images, split="val", splits=Splits(fold=1, folds=3))) == ["b.png"]
    with pytest.raises(InputError, match=r"image 'b.png': subset 'more' is not one of train, val and test"):
        cvat(('subset="train"', CAT), ('subset="more"', CAT))


def test_shapes_of_cvat_that_are_there_twice_count_once(cvat: Callable) -> None:
    with pytest.warns(UserWarning, match=r"annotations\.xml: 1 shape has the label and outline of one before it"):
        assert len(objects_of(cvat(("", CAT + CAT)))["a.png"]) == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ('<points label="nose" points="1,2"></points>', "<points> is not one of box, polygon, ellipse.*`keep`"),
        ('<box label="" xtl="1" ytl="1" xbr="9" ybr="9"></box>', "<box> has no label"),
        ('<box label="cat" xtl="1" ytl="1" xbr="9"></box>', "<box> must have finite numbers; found .*''"),
        ('<box label="cat" xtl="1" ytl="1" xbr="9" ybr="inf"></box>', "<box> must have finite numbers"),
        ('<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9" rotation="x"></box>', "<box> must have finite numbers"),
        (
            '<polygon label="cat" points="1,2;3,4"></polygon>',
            "a polygon must have 3 or more points, x,y; found '1,2;3,4'",
        ),
        ('<polygon label="cat" points="1,2;3,4;5"></polygon>', "a polygon must have 3 or more points"),
        ('<polygon label="cat"></polygon>', "<polygon> must have finite numbers"),
        ('<mask label="cat"></mask>', "<mask> must have whole numbers in rle, left, top, height, width; found ''"),
        (mask_of_cvat("1, x"), "<mask> must have whole numbers in rle, .*; found '1, x', '4', '5', '3', '4'"),
        (mask_of_cvat(left="1.5"), "<mask> must have whole numbers"),
        (mask_of_cvat("5, 6"), r"the sum 4 x 3 = 12; found '5, 6', the sum 11"),
        (mask_of_cvat("5, 8"), r"the sum 4 x 3 = 12; found '5, 8', the sum 13"),
        (mask_of_cvat("5, -1, 8"), r"the sum 4 x 3 = 12; found '5, -1, 8'"),
        (mask_of_cvat("0, 0", size=(0, 3)), "<mask> must have between 1 and .* pixels; found 0 x 3"),
        (
            mask_of_cvat(f"0, {10**12}", size=(10**6, 10**6)),
            "<mask> must have between 1 and .* found 1000000 x 1000000",
        ),
        (mask_of_cvat("12"), "no pixel of the mask is inside"),
        (mask_of_cvat(left=37), r"box \[37, 5, 41, 8\] .* is outside the image"),
        ('<box label="cat" xtl="1" ytl="1" xbr="41" ybr="9"></box>', r"box \[1, 1, 41, 9\] .* is outside the image"),
    ],
)
def test_an_odd_shape_of_cvat_is_an_error_that_names_it(cvat: Callable, shape: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"annotations\.xml, image 'a\.png', shape 2: .*{message}"):
        cvat(("", CAT + shape))


def test_keep_leaves_out_labels_of_points_of_cvat(cvat: Callable) -> None:
    found = objects_of(cvat(("", CAT + '<points label="nose" points="1,2"></points>'), keep=["cat"]))
    assert found == {"a.png": [("cat", [10, 10, 20, 14])]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><image", "not a CVAT annotation"),
        ("<annotation></annotation>", "not a CVAT annotation: <annotation> instead of <annotations>"),
        ("<annotations><image/></annotations>", "an image must have a name"),
        ("<annotations><image name='a.png'/></annotations>", "no image has a shape"),
        ("<annotations><image name='z.png'/></annotations>", r"image 'z\.png': no such file"),
        ("<annotations><image name='../a.png'/></annotations>", "leaves"),
        (
            "<annotations><image name='a.png'/><image name='a.png'/></annotations>",
            r"image 'a\.png': it is listed twice",
        ),
        ("<!DOCTYPE a [<!ENTITY x 'y'>]><annotations>&x;</annotations>", "a document type"),
    ],
)
def test_what_is_no_file_of_cvat_is_an_error(cvat: Callable, tmp_path: Path, text: str, message: str) -> None:
    cvat(("", CAT))
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        CvatImages("train", str(tmp_path / "annotations.xml"), str(tmp_path / "images"))


def test_an_image_of_cvat_of_another_size_is_an_error(cvat: Callable, tmp_path: Path, write_image: Callable) -> None:
    cvat(("", CAT))
    write_image(tmp_path / "images/a.png", size=(30, 20))
    with pytest.raises(InputError, match=r"made for an image of 40 x 32 pixels; .*a\.png has 30 x 20"):
        CvatImages("train", str(tmp_path / "annotations.xml"), str(tmp_path / "images"), splits=ALL)


def test_an_export_of_roboflow_with_xml_files_is_read(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    """Photos and XML files together, in one folder per split; the classes are those of train."""
    for split, labels in (("train", "aabb"), ("valid", "b"), ("test", "a")):
        for number, label in enumerate(labels):
            write_image(tmp_path / f"{split}/{split}-{number}.jpg")
            xml = f"<annotation><object><name>{label}</name>{BOX}</object></annotation>"
            (tmp_path / f"{split}/{split}-{number}.xml").write_text(xml)
    root = str(tmp_path / "{split}")
    parts = {split: VocBoxes(split, root) for split in ("train", "val", "test")}
    train = [f"train-{number}.jpg" for number in range(4)]
    assert [names(part) for part in parts.values()] == [train, ["valid-0.jpg"], ["test-0.jpg"]]
    assert all(part.class_names == ["a", "b"] for part in parts.values())
    shutil.rmtree(tmp_path / "valid")
    assert [len(VocBoxes(split, root, splits={"val": 0.5})) for split in ("train", "val", "test")] == [2, 2, 1]
    shutil.rmtree(tmp_path / "test")
    with pytest.raises(MissingSplit, match="the test split is empty"):
        VocBoxes("test", root)
    with pytest.raises(InputError, match="x-train: no such file or folder"):
        VocBoxes("train", str(tmp_path / "x-{split}"))


def test_images_are_found_in_any_folder_below_the_table(tmp_path: Path) -> None:
    for number, folder in enumerate(("part1", "part2", "part2/more")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8), (number * 60, 0, 0)).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "t.csv").write_text("path,label\n0,a\n1,b\n2,a\n")
    options: dict[str, Any] = {"pattern": "**/{path}.png", "splits": {"val": 0.3}}
    found = [CsvTable(split, str(tmp_path / "t.csv"), **options) for split in ("train", "val")]
    assert sorted(path for part in found for path in map(str, part.paths)) == [
        str(tmp_path / name) for name in ("part1/0.png", "part2/1.png", "part2/more/2.png")
    ]
    (tmp_path / "part1" / "2.png").write_bytes((tmp_path / "part1" / "0.png").read_bytes())
    with pytest.raises(InputError, match=r"part1/2.png and part2/more/2.png have the same name"):
        CsvTable("train", str(tmp_path / "t.csv"), **options)


def test_classes_are_read_from_file_names(tmp_path: Path) -> None:
    names = ["cat.1", "cat.22", "cat.3", "big dog.1", "big dog.2", "big dog.10"]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number * 30, 0, 0)).save(tmp_path / f"{name}.png")
    root = str(tmp_path)
    found = [NamedFiles(split, root, "{label}.{number}", splits={"val": 0.34}) for split in ("train", "val")]
    assert all(part.class_names == ["big dog", "cat"] for part in found)
    seen = {path.stem: part.target(i)["label"] for part in found for i, path in enumerate(part.paths)}
    assert seen == {name: int(name.startswith("cat")) for name in names}
    assert NamedFiles("train", root, "{label}.*", keep=["cat", "big dog"]).class_names == ["cat", "big dog"]
    with pytest.raises(InputError, match=r"big dog.1.png: its name has not the form '\{label\}_\{number\}'"):
        NamedFiles("train", root, "{label}_{number}")
    with pytest.raises(InputError, match=r"must have \{label\} once"):
        NamedFiles("train", root, "{number}")


def test_folders_of_splits_have_classes_in_file_names(tmp_path: Path) -> None:
    for split, labels in (("train", "ab"), ("test", "a")):
        (tmp_path / split).mkdir()
        for number in range(4):
            name = f"{labels[number % len(labels)]}_{number}.png"
            Image.new("RGB", (8, 8), (number * 30, 0, len(split))).save(tmp_path / split / name)
    parts = [NamedFiles(split, str(tmp_path / "{split}"), "{label}_{number}") for split in ("train", "test")]
    assert [part.class_names for part in parts] == [["a", "b"], ["a", "b"]]
    assert len(parts[1]) == 4
    Image.new("RGB", (8, 8)).save(tmp_path / "test" / "c_9.png")
    with pytest.raises(InputError, match="class 'c' is not in train"):
        NamedFiles("test", str(tmp_path / "{split}"), "{label}_{number}")
