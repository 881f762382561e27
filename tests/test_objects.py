"""Sets with any number of objects per image: what is read, kept, dropped, moved and joined."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image

from visiontasks.callbacks import ClosedFormStart
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import Frame
from visiontasks.core.objects import VISIBLE, make_objects
from visiontasks.data import (
    CocoBoxes,
    CsvTable,
    CvatImages,
    InstanceFolder,
    LabelMe,
    Scenes,
    Splits,
    VisionDataModule,
    VisionDataset,
    VocBoxes,
    Windows,
    YoloBoxes,
)
from visiontasks.data.augment import Augment
from visiontasks.data.batches import BatchDataset
from visiontasks.models import Backbone, BoxHead, InstanceHead
from visiontasks.targets import find_target
from visiontasks.tasks import LocalizationTask

ALL = Splits(val=0.0)
WIDTH, HEIGHT = 60, 40
OBJECTS = find_target("objects")
Found = dict[str, Any]


class Sets:
    """One set in six formats: a.png with a car and a bus, b.png with a car, c.png without an object."""

    marks: ClassVar = {
        "a": [("bus", (2, 2, 30, 30)), ("car", (5, 5, 20, 20))],
        "b": [("car", (10, 4, 40, 24))],
        "c": [],
    }

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("images", "annotations", "labels"):
            (root / folder).mkdir()
        for number, name in enumerate(self.marks):
            noise = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(noise).save(root / "images" / f"{name}.png")

    def voc(self, **options: Any) -> VocBoxes:
        for name, found in self.marks.items():
            corners = ("xmin", "ymin", "xmax", "ymax")
            nodes = [
                f"<object><name>{label}</name><bndbox>"
                + "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(corners, box, strict=True))
                + "</bndbox></object>"
                for label, box in found
            ]
            (self.root / "annotations" / f"{name}.xml").write_text(f"<annotation>{''.join(nodes)}</annotation>")
        return VocBoxes("train", str(self.root), splits=ALL, **options)

    def coco(self, extra: list[dict] = [], **options: Any) -> CocoBoxes:  # noqa: B006
        names, rows = ["bus", "car"], list(extra)
        for image, found in enumerate(self.marks.values()):
            for label, (x1, y1, x2, y2) in found:
                row = {"image_id": image, "category_id": names.index(label), "bbox": [x1, y1, x2 - x1, y2 - y1]}
                rows.append({"id": len(rows), "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]], **row})
        images = [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(self.marks)]
        categories = [{"id": i, "name": name} for i, name in enumerate(names)]
        content = {"images": images, "annotations": rows, "categories": categories}
        (self.root / "a.json").write_text(json.dumps(content))
        return CocoBoxes("train", str(self.root / "a.json"), str(self.root / "images"), splits=ALL, **options)

    def csv(self, **options: Any) -> CsvTable:
        lines = ["path,label,xmin,ymin,xmax,ymax"]
        for name, found in self.marks.items():
            lines += [f"{name}.png,{label},{','.join(map(str, box))}" for label, box in found] or [f"{name}.png,,,,,"]
        (self.root / "a.csv").write_text("\n".join(lines))
        table = str(self.root / "a.csv")
        return CsvTable("train", table, root=str(self.root / "images"), splits=ALL, **options)

    def yolo(self, **options: Any) -> YoloBoxes:
        for name, found in self.marks.items():
            lines = []
            for label, (x1, y1, x2, y2) in found:
                shares = (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
                lines.append(f"{['bus', 'car'].index(label)} {' '.join(f'{share:.6f}' for share in shares)}")
            (self.root / "labels" / f"{name}.txt").write_text("\n".join(lines))
        (self.root / "data.yaml").write_text("names: [bus, car]\ntrain: images\n")
        return YoloBoxes("train", str(self.root / "data.yaml"), splits=ALL, **options)

    def labelme(self, **options: Any) -> LabelMe:
        for name, found in self.marks.items():
            shapes = [{"label": label, "shape_type": "rectangle", "points": [box[:2], box[2:]]} for label, box in found]
            (self.root / "images" / f"{name}.json").write_text(json.dumps({"shapes": shapes}))
        return LabelMe("train", str(self.root / "images"), splits=ALL, **options)

    def cvat(self, **options: Any) -> CvatImages:
        nodes = ""
        for name, found in self.marks.items():
            corners = ("xtl", "ytl", "xbr", "ybr")
            shapes = ""
            for label, box in found:
                numbers = " ".join(f'{key}="{value}"' for key, value in zip(corners, box, strict=True))
                shapes += f'<box label="{label}" {numbers}/>'
            nodes += f'<image name="{name}.png">{shapes}</image>'
        (self.root / "a.xml").write_text(f"<annotations>{nodes}</annotations>")
        return CvatImages("train", str(self.root / "a.xml"), str(self.root / "images"), splits=ALL, **options)


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return Sets(tmp_path)


def objects_of(data: VisionDataset) -> list[tuple[list[int], list[list[float]]]]:
    found = [data.target(i)["objects"] for i in range(len(data))]
    return [(one["labels"].tolist(), one["boxes"].round(3).tolist()) for one in found]


FORMATS = ("voc", "coco", "csv", "yolo", "labelme", "cvat")
BUS, CAR, OTHER = [2, 2, 30, 30], [5, 5, 20, 20], [10, 4, 40, 24]


# all objects


@pytest.mark.parametrize("kind", FORMATS)
def test_all_objects_are_read_and_images_without_any_stay(sets: Sets, kind: str, caplog) -> None:
    with caplog.at_level("INFO"):
        data = getattr(sets, kind)(objects="all")
    assert data.class_names == ["bus", "car"]
    assert objects_of(data) == [([0, 1], [BUS, CAR]), ([1], [OTHER]), ([], [])]
    assert "3 of 3 images are used; 1 without an object." in caplog.text
    sample = data[0]["objects"]
    assert sample.keys() == {"boxes", "labels", "crowd"}
    assert (sample["boxes"].dtype, sample["labels"].dtype) == (np.float32, np.int64)
    assert data[2]["objects"]["boxes"].shape == (0, 4)


@pytest.mark.parametrize("kind", FORMATS)
def test_keep_drops_other_classes_and_keeps_their_images(sets: Sets, kind: str, caplog) -> None:
    make = getattr(sets, kind)
    with caplog.at_level("INFO"):
        data = make(objects="all", keep=["bus"])
    assert data.class_names == ["bus"]
    assert objects_of(data) == [([0], [BUS]), ([], []), ([], [])]
    assert "2 without an object" in caplog.text
    assert "2 objects of other classes dropped" in caplog.text
    assert make(objects="all", keep=["car", "bus"]).class_names == ["car", "bus"]
    alone = make(objects="largest", keep=["car"], absent=kind == "csv")  # a table without it has no empty rows
    assert [alone.target(i)["bbox"].round(3).tolist() for i in range(2)] == [CAR, OTHER]
    assert len(alone) == 2 + (kind == "csv")
    assert [alone.target(i)["label"] for i in range(2)] == [0, 0]
    for wrong, message in (("cars", "keep: 'cars' is not a class of the set; did you mean 'car'?"), ("x", "there are")):
        with pytest.raises(InputError) as raised:
            make(objects="all", keep=[wrong])
        assert message in str(raised.value)


def test_the_fingerprint_sees_every_object(sets: Sets, tmp_path: Path, monkeypatch) -> None:
    before = sets.csv(objects="all").fingerprint()
    assert sets.csv(objects="all").fingerprint() == before
    moved = [*sets.marks["a"][:1], ("car", (5, 5, 20, 21))]
    monkeypatch.setattr(Sets, "marks", {**Sets.marks, "a": moved})
    assert sets.csv(objects="all").fingerprint() != before


def test_runs_of_one_object_keep_their_fingerprints() -> None:
    assert Scenes("train", count=8, size=64).fingerprint() == "8967987f4fb0b7c9"


def test_an_image_without_a_file_is_not_annotated_in_voc_and_has_no_object_in_yolo(sets: Sets, caplog) -> None:
    sets.voc()
    (sets.root / "annotations" / "b.xml").unlink()
    with pytest.warns(UserWarning, match=r"1 of 3 images has no annotation and is left out: b\.png"):
        data = VocBoxes("train", str(sets.root), objects="all", splits=ALL)
    assert [data.name(i) for i in range(len(data))] == ["a.png", "c.png"]
    sets.yolo()
    (sets.root / "labels" / "b.txt").unlink()
    with caplog.at_level("INFO"):
        data = YoloBoxes("train", str(sets.root / "data.yaml"), splits=ALL)
    assert len(data) == 3
    assert "1 of 3 images of train has no label file and so, by YOLO's convention, no object." in caplog.text


CROWD = {"id": 99, "image_id": 1, "category_id": 1, "bbox": [0, 0, 60, 40], "iscrowd": 1}


def test_a_crowd_is_kept_as_such_and_never_the_one_object(sets: Sets, caplog, monkeypatch) -> None:
    with caplog.at_level("INFO"):
        data = sets.coco(extra=[CROWD], objects="all")
    assert "1 crowd (neither object nor background)" in caplog.text
    found = data.target(1)["objects"]
    assert found["crowd"].tolist() == [True, False]
    assert found["boxes"].tolist() == [[0, 0, 60, 40], OTHER]
    for objects in ("largest", "first", "skip", "error"):
        marks = sets.coco(extra=[CROWD], objects=objects, keep=["car"])
        assert [marks.target(i)["bbox"].tolist() for i in range(2)] == [CAR, OTHER]
        assert not marks.objects(1)["crowd"].any()
    with pytest.raises(InputError, match=r"annotation 99: box \[0, 0, 70, 40\].* is outside the image"):
        sets.coco(extra=[{**CROWD, "bbox": [0, 0, 70, 40]}], objects="all")
    monkeypatch.setattr(Sets, "marks", {"a": []})
    with pytest.raises(InputError, match="no image with an object in 1 images"):
        sets.coco(extra=[{**CROWD, "image_id": 0}], objects="all")
    monkeypatch.undo()
    labels = sets.coco(extra=[{**CROWD, "image_id": 2, "bbox": None}], objects="labels")
    assert labels.target(2)["labels"].tolist() == [0, 1]


def test_a_window_is_never_around_a_crowd(sets: Sets) -> None:
    source = partial(lambda split: sets.coco(extra=[CROWD], objects="all"))
    windows = Windows("train", source, size=32, per_image=20, background=0.0)
    assert {windows.target(index)["label"] for index in range(40)} <= {0, 1}
    chosen = [windows.window(index).chosen for index in range(20, 40)]
    assert chosen == [0] * 20  # the one car: a window could be around the crowd, which is listed first
    assert np.isfinite(windows.target(20)["bbox"]).all()


def test_a_category_of_val_alone_is_no_error_if_it_is_dropped(sets: Sets) -> None:
    sets.coco()
    content = json.loads((sets.root / "a.json").read_text())
    for split, more in (("train", []), ("val", [{"id": 7, "name": "tree"}])):
        rows = [{**row, "category_id": 7} if more and row["id"] == 0 else row for row in content["annotations"]]
        both = {**content, "categories": content["categories"] + more, "annotations": rows}
        (sets.root / f"{split}.json").write_text(json.dumps(both))
    make = partial(CocoBoxes, "val", str(sets.root / "{split}.json"), str(sets.root / "images"), objects="all")
    assert objects_of(make(keep=["car"]))[0] == ([0], [CAR])
    with pytest.raises(InputError, match=r"category 'tree' is not in .*train\.json"):
        make()


HEAD = "path,label,xmin,ymin,xmax,ymax"
TABLES = {
    "a box without a label": (["a.png,,1,1,9,9"], "line 2: a box without a label. Fill it in"),
    "an object and none": (["a.png,x,1,1,9,9", "a.png,,,,,"], "line 3: one of this row and .*line 2 has an object"),
    "no corner": (["a.png,x,1,1,9,"], "line 2: xmin, ymin, xmax, ymax must be numbers, or all be empty"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_contradicts_itself_is_an_error(sets: Sets, case: str) -> None:
    rows, message = TABLES[case]
    (sets.root / "a.csv").write_text("\n".join([HEAD, *rows]))
    with pytest.raises(InputError, match=message):
        CsvTable("train", str(sets.root / "a.csv"), root=str(sets.root / "images"), objects="all", splits=ALL)


def test_what_is_not_annotated_is_left_out_and_trains_other_targets(sets: Sets, caplog) -> None:
    table, images = sets.root / "a.csv", str(sets.root / "images")
    rows = ["a.png,car,1,1,9,9,1", "a.png,car,,,,,1", "b.png,car,2,2,9,9,2", "c.png,nan,,,,,3"]
    table.write_text("\n".join([f"{HEAD},size", *rows]))
    with caplog.at_level("INFO"):
        data = CsvTable("train", str(table), root=images, objects="all", splits=ALL)
    assert "2 of 3 images are used" in caplog.text
    assert "1 with an object without a box, so not annotated" in caplog.text
    assert objects_of(data) == [([0], [[2, 2, 9, 9]]), ([], [])]
    both = CsvTable("train", str(table), root=images, objects="all", splits=ALL, value_columns=["size"])
    assert [sorted(both.target(i)) for i in range(3)] == [["value"], ["objects", "value"], ["objects", "value"]]
    module = VisionDataModule(lambda split: both, 32, augment="none", batch_size=3)
    (batch,) = module.loader("train")
    assert batch["objects"][0].tolist() == [[0, 0, 1, 1, -1, 1]]  # a crowd of any class: nothing is known
    assert batch["objects"][2, :, 4].tolist() == [-1]  # known to be empty
    assert batch["objects"][2, :, 5].tolist() == [0]
    table.write_text("path,label\na.png,car")
    with pytest.raises(InputError, match=r"no column 'xmin', which `objects: all` needs"):
        CsvTable("train", str(table), root=images, objects="all", splits=ALL)


# YOLO


def yolo(root: Path, content: dict | str, labels: dict[str, str], split: str = "train", **options: Any) -> YoloBoxes:
    """Writes images and label files by their paths without extension, and reads a split."""
    for number, (name, text) in enumerate(labels.items()):
        picture = root / f"{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(noise).save(picture)
        file = Path(str(picture).replace("/images/", "/labels/")).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "data.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return YoloBoxes(split, str(root / "data.yaml"), **options)


BOX, POLYGON = "0 0.5 0.5 0.2 0.2", "1 .1 .1 .5 .1 .3 .5"
FILES = {"images/train/a": f"{BOX}\n\n{POLYGON}\n", "images/more/b": BOX, "images/val/c": ""}


@pytest.mark.parametrize("case", ["folders", "list", "path", "roboflow", "beside"])
def test_yolo_sets_are_read_as_they_are_laid_out(tmp_path: Path, case: str) -> None:
    names: Any = {0: "bus", 1: "car"} if case == "list" else ["bus", "car"]
    content = {"names": names, "train": ["images/train", "images/more"], "val": "images/val", "nc": 2}
    files, root = FILES, tmp_path
    if case == "list":
        content["train"] = "train.txt"
        (tmp_path / "train.txt").write_text("./images/train/a.png\nimages/more/b.png\n")
    elif case == "path":
        root = tmp_path / "set"
        content["path"] = "set"
        yolo(root, content, files)
    elif case == "roboflow":
        content |= {
            "train": ["../train/images", "..\\more\\images"],
            "val": "../val/images",
            "path": "/x",
            "download": "!",
        }
        files = {f"{name.split('/')[1]}/images/{name[-1]}": text for name, text in FILES.items()}
    elif case == "beside":
        content |= {"train": ["train", "more"], "val": "val"}
        files = {name.removeprefix("images/"): text for name, text in FILES.items()}
    data = yolo(tmp_path, content, files if case != "path" else {})
    assert data.class_names == ["bus", "car"]
    assert objects_of(data) == [([0, 1], [[24, 16, 36, 24], [6, 4, 30, 20]]), ([0], [[24, 16, 36, 24]])]
    assert data.name(0) == next(iter(files)) + ".png" or case in ("path", "roboflow")
    with pytest.raises(InputError, match=r"no label file|no image with an object"):
        YoloBoxes("val", str(tmp_path / "data.yaml"))
    with pytest.raises(InputError, match=r"no 'test'; there are train, val"):
        YoloBoxes("test", str(tmp_path / "data.yaml"))
    del root


LINES = {
    "0 .5 .5 .2": "line 1: expected a class and x, y, width, height, or a polygon .* found 4 numbers",
    "0 .5 .5 .2 .2 .9": "found 6 numbers",
    f"{BOX}\n0 1.5 .5 .2 .2": r"line 2: 1\.\d is not in 0\.\.1, a share of the image. Divide pixels",
    "0 50 50 20 20": "line 1: 50 is not in 0..1",
    "1 .1 .1 .5 .1 .3 -.5": "line 1: -0.5 is not in 0..1",
    "2 .5 .5 .2 .2": "line 1: class '2' is not one of 0 to 1, the places in `names`",
    "-1 .5 .5 .2 .2": "class '-1' is not one of",
    "0.5 .5 .5 .2 .2": "class '0.5' is not one of",
    "bus .5 .5 .2 .2": "line 1: expected numbers; found 'bus .5 .5 .2 .2'",
    "0 nan .5 .2 .2": "line 1: '0 nan .5 .2 .2' has values that are not finite",
    "0 .5 .5 -.2 .2": "line 1: the box has a width or height of -0.2",
}


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_line_of_yolo_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    content = {"names": ["bus", "car"], "train": "images"}
    with pytest.raises(InputError, match=rf"labels/a\.txt, .*{LINES[line]}"):
        yolo(tmp_path, content, {"images/a": line}, splits=ALL)


def test_a_repeated_line_of_yolo_does_not_count(tmp_path: Path) -> None:
    content = {"names": ["bus", "car"], "train": "images"}
    with pytest.warns(UserWarning, match="2 objects have the class and box of one before them and do not count"):
        data = yolo(tmp_path, content, {"images/a": "\n".join([BOX, POLYGON, BOX, BOX])}, splits=ALL)
    assert data.target(0)["objects"]["labels"].tolist() == [0, 1]


def test_rounded_sides_are_inside_and_others_are_clipped_on_demand(tmp_path: Path) -> None:
    content = {"names": ["bus", "car"], "train": "images"}
    data = yolo(tmp_path, content, {"images/a": "0 0.499995 0.5 1.0 0.3"}, splits=ALL)
    assert data.target(0)["objects"]["boxes"].round(3).tolist() == [[0, 14, 60, 26]]
    data = yolo(tmp_path, content, {"images/a": "0 0.9 0.5 0.4 0.5"}, splits=ALL, boxes="clip")
    assert data.target(0)["objects"]["boxes"].tolist() == [[42, 10, 60, 30]]


CONTENTS = {
    "names: [a": "not YAML",
    "names: [a, b]\nnames: [c]": "the key 'names' appears twice",
    "train: images": "expected `names`, `train` and `val`",
    "names: [yes, b]\ntrain: images": r"names: \[True, 'b'\] must be a list of texts. Quote",
    "names: {1: a}\ntrain: images": "names: its keys must be 0 to 0",
    "names: [a, a]\ntrain: images": "the class 'a' is named twice",
    "names: [a]\nnc: 3\ntrain: images": "nc is 3, but there are 1 names",
    "names: [a]\ntrain: elsewhere": "'elsewhere' is neither a folder nor a list",
    "names: [a]\nkpt_shape: [17, 3]\ntrain: images": "keypoints",
    "names: [a]\nval: images": r"no 'train'; there are val",
    "a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("bcdef", "cdefg", strict=True)
    ) + "names: [a]": "more than 100,000 values",
    "names: !!python/object/apply:os.getcwd []": "not YAML",
}  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS)
def test_a_wrong_description_of_yolo_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match=rf"data\.yaml: .*{CONTENTS[content]}|{CONTENTS[content]}"):
        yolo(tmp_path, content, {"images/a": BOX}, splits=ALL)


def test_yolo_without_val_is_divided_and_without_any_label_is_an_error(tmp_path: Path) -> None:
    content = {"names": ["bus", "car"], "train": "images"}
    labels = {f"images/{number}": BOX for number in range(10)}
    yolo(tmp_path, content, labels)
    sizes = [len(YoloBoxes(split, str(tmp_path / "data.yaml"))) for split in ("train", "val")]
    assert sizes == [8, 2]
    for file in (tmp_path / "labels").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"no image of 'train' has a label file; the first would be .*labels/0\.txt"):
        YoloBoxes("train", str(tmp_path / "data.yaml"))


# masks


def test_masks_of_coco_and_yolo_are_the_pixels_of_their_objects(sets: Sets, tmp_path: Path) -> None:
    runs = {"size": [HEIGHT, WIDTH], "counts": [3, 2, HEIGHT * WIDTH - 5]}  # pixels 3 and 4 of the first column
    data = sets.coco(extra=[{**CROWD, "bbox": [0, 3, 1, 2], "segmentation": runs}], objects="all", masks=True)
    assert "masks" not in data.target(0)["objects"]  # not held in memory
    masks = data[0]["objects"]["masks"]
    assert (masks.shape, masks.dtype) == ((2, HEIGHT, WIDTH), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, [BUS, CAR], strict=True):
        assert mask[y1:y2, x1:x2].all()
        assert mask.sum() == (x2 - x1) * (y2 - y1)
    assert np.argwhere(data[1]["objects"]["masks"][0]).tolist() == [[3, 0], [4, 0]]
    assert data[2]["objects"]["masks"].shape == (0, HEIGHT, WIDTH)
    content = {"names": ["bus", "car"], "train": "images"}
    polygons = yolo(tmp_path / "y", content, {"images/a": "0 .1 .1 .5 .1 .5 .6 .1 .6"}, masks=True, splits=ALL)
    assert polygons[0]["objects"]["masks"][0, 4:24, 6:30].all()
    assert polygons[0]["objects"]["masks"].sum() == 20 * 24
    with pytest.raises(InputError, match=r"a\.txt, line 1: it has a box, and `masks` needs a polygon"):
        yolo(tmp_path / "y", content, {"images/a": BOX}, masks=True, splits=ALL)
    with pytest.raises(InputError, match="segmentation must be a list of polygons"):
        sets.coco(extra=[{**CROWD, "iscrowd": 0}], objects="all", masks=True)
    with pytest.raises(InputError, match=r"masks: .* Set `objects: all`"):
        sets.coco(masks=True)


def bounds(mask: np.ndarray) -> list[int]:
    ys, xs = mask.nonzero()
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def test_masks_of_scenes_fill_their_boxes() -> None:
    data = Scenes("train", count=12, size=96, most=5, objects="all", empty=0.3, masks=True)
    count = 0
    for sample in (data[i] for i in range(12)):
        found = sample["objects"]
        assert found["masks"].shape == (len(found["boxes"]), 96, 96)
        assert [bounds(mask) for mask in found["masks"]] == found["boxes"].tolist()
        count += len(found["boxes"])
    assert count
    with pytest.raises(InputError, match="objects='largest'"):
        Scenes("train", masks=True)


def test_instances_are_read_from_values_or_as_connected_parts(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    mask = np.zeros((30, 40), np.uint16)
    mask[2:8, 3:9], mask[20:28, 30:38], mask[8:12, 9:12] = 1, 300, 2  # the first and the last touch at a corner
    mask[25:27, 2:4] = 9
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    make = partial(InstanceFolder, "train", str(tmp_path), splits=ALL)
    data = make(class_names=["cell"], ignore=[9])
    found = data[0]["objects"]
    assert found["labels"].tolist() == [0, 0, -1, 0]
    assert found["crowd"].tolist() == [False, False, True, False]
    assert found["boxes"].tolist() == [[3, 2, 9, 8], [9, 8, 12, 12], [2, 25, 4, 27], [30, 20, 38, 28]]
    assert [bounds(part) for part in found["masks"]] == found["boxes"].tolist()
    assert "masks" not in data.target(0)["objects"]
    assert data.names("mask") == []
    Image.fromarray(np.minimum(mask, 2).astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    found = make(class_names=["cell", "other"], components=True)[0]["objects"]
    assert found["labels"].tolist() == [0, 1, 1, 1]
    Image.fromarray((mask > 0).astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    found = make(class_names=["cell"], components=True)[0]["objects"]
    assert found["boxes"].tolist() == [[3, 2, 12, 12], [30, 20, 38, 28], [2, 25, 4, 27]]  # what touches is one
    with pytest.raises(InputError, match="2 classes, but the values of the masks are numbers of objects"):
        make(class_names=["a", "b"])
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    with pytest.raises(InputError, match=r"a\.png: pixels are 2; the classes are 1 to 1"):
        make(class_names=["a"], components=True).target(0)


# augmentation


def moved(steps: Any, objects: Found, size: int = 100, index: int = 0, image: np.ndarray | None = None) -> Found:
    image = np.zeros((100, 100, 3), np.uint8) if image is None else image
    sample = {"image": image, "index": index, "size": image.shape[:2], "objects": objects}
    return Augment(steps, size)(sample, 0, index)["objects"]


def crop(x1: int, y1: int, x2: int, y2: int) -> dict:
    arguments = {"x_min": x1, "y_min": y1, "x_max": x2, "y_max": y2, "p": 1.0}
    return {"class_path": "Crop", "init_args": arguments}


def test_an_object_is_dropped_by_the_share_that_is_left_of_the_original() -> None:
    objects = make_objects([[0, 0, 100, 10], [0, 20, 50, 30], [0, 40, 100, 50]], [2, 1, 0], [False, False, True])
    once = moved([crop(40, 0, 100, 100)], objects)  # 0.6, 0.2 and 0.6 are left
    assert once["labels"].tolist() == [2, 0]
    assert once["labels"].dtype == np.int64
    twice = moved([crop(40, 0, 100, 100), crop(0, 0, 30, 100)], objects)  # each keeps a half, and together 0.3
    assert twice["labels"].tolist() == [0]  # the crowd alone
    assert twice["crowd"].tolist() == [True]
    shift = {"class_path": "Affine", "init_args": {"translate_px": {"x": 30, "y": 0}, "p": 1.0}}
    back = {"class_path": "Affine", "init_args": {"translate_px": {"x": -30, "y": 0}, "p": 1.0}}
    both = moved([shift, back], objects)  # what left the image does not come back
    assert both["boxes"][0].tolist() == pytest.approx([0, 0, 70, 10])
    assert "visible" not in both
    nested = {"class_path": "Sequential", "init_args": {"transforms": [shift, back], "p": 1.0}}
    assert moved([nested], objects)["boxes"][0].tolist() == pytest.approx([0, 0, 70, 10])
    gone = moved([crop(60, 55, 100, 100)], objects)
    assert {key: len(part) for key, part in gone.items()} == {"labels": 0, "crowd": 0, "boxes": 0}


def test_a_crowd_is_kept_while_any_part_of_it_is_left() -> None:
    objects = make_objects([[0, 0, 100, 100], [0, 0, 50, 50]], [0, 1], [True, False])
    assert moved([crop(98, 98, 100, 100)], objects)["crowd"].tolist() == [True]
    wide = {"image": np.zeros((40, 200, 3), np.uint8), "index": 0, "size": (40, 200)}
    wide["objects"] = make_objects([[0, 0, 85, 40], [70, 0, 100, 40], [0, 0, 70, 40]], [1, 0, 0], [True, False, False])
    found = Augment("none", 40, "crop")(wide, 0, 0)["objects"]
    assert found["crowd"].tolist() == [True, False]
    assert found["boxes"].tolist() == [[0, 0, 5, 40], [0, 0, 20, 40]]


ROTATED = [{"class_path": "Affine", "init_args": {"rotate": [-90, 90], "scale": [0.6, 1.2], "p": 1.0}}]


@pytest.mark.parametrize("steps", ["none", "light", "medium", "strong", ROTATED], ids=lambda steps: str(steps)[:6])
def test_boxes_and_masks_move_together(steps: Any) -> None:
    data, augment = Scenes("train", count=24, size=96, most=5, objects="all", empty=0.2, masks=True), Augment(steps, 96)
    before, after, violations = 0, 0, []
    for index in range(24):
        sample = data[index]
        found = augment(sample, 1, index)["objects"]
        before, after = before + len(sample["objects"]["labels"]), after + len(found["labels"])
        assert {len(part) for part in found.values()} == {len(found["labels"])}
        assert (found["masks"].shape[1:], found["masks"].dtype) == ((96, 96), bool)
        for box, mask in zip(found["boxes"], found["masks"], strict=True):
            if np.abs(box - bounds(mask)).max() > 3:
                violations.append((index, box, bounds(mask)))
    assert violations == []
    assert 0.6 * before < after <= before


def test_pixels_masks_and_boxes_show_the_same_after_every_step() -> None:
    image = np.zeros((80, 120, 3), np.uint8)
    image[20:50, 30:80] = 255
    mask = image[..., 0] > 0
    objects = {**make_objects([[30, 20, 80, 50]], [3]), "masks": mask[None]}
    for index in range(12):
        sample = {"image": image, "index": index, "size": (80, 120), "objects": objects}
        steps = [ROTATED[0], {"class_path": "HorizontalFlip"}]
        found = Augment(steps, 64, "letterbox")(sample, 0, index)
        if len(found["objects"]["labels"]):
            seen = (found["image"] > 127).all(2)
            assert (seen != found["objects"]["masks"][0]).mean() < 0.02
            assert found["objects"]["labels"].tolist() == [3]


def test_a_hidden_mask_drops_its_object_and_a_turned_one_has_a_tight_box() -> None:
    corner = np.zeros((1, 100, 100), bool)
    corner[0, :10, :10] = True  # the box is larger: the object is at its corner
    objects = {**make_objects([[0, 0, 40, 40]], [0]), "masks": corner}
    assert len(moved([crop(12, 0, 100, 100)], objects)["labels"]) == 0
    bar = np.zeros((1, 100, 100), bool)
    bar[0, 45:55, 10:90] = True
    turn = [{"class_path": "Affine", "init_args": {"rotate": [45, 45], "p": 1.0}}]
    found = moved(turn, {**make_objects([[10, 45, 90, 55]], [0]), "masks": bar})
    np.testing.assert_allclose(found["boxes"][0], bounds(found["masks"][0]), atol=2)
    disk = np.hypot(*(np.mgrid[:100, :100] - 49.5)) < 30
    found = moved(turn, {**make_objects([bounds(disk)], [0]), "masks": disk[None]})
    side = found["boxes"][0, 2:] - found["boxes"][0, :2]
    assert (np.abs(side - 60) <= 4).all()  # and not 85, as of the turned box


# mosaics


def module(**options: Any) -> VisionDataModule:
    make = partial(Scenes, count=16, size=64, most=4, objects="all", empty=0.2, masks=True)
    return VisionDataModule(make, 64, batch_size=4, **options)


def test_mosaics_are_the_same_for_any_number_of_workers_and_new_in_each_epoch() -> None:
    first = list(module(mosaic=0.5, num_workers=0).loader("train", training=True))
    again = list(module(mosaic=0.5, num_workers=2).loader("train", training=True))
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    loader = module(mosaic=0.5, num_workers=0).loader("train", training=True)
    assert isinstance(loader.dataset, BatchDataset)
    old, new = (loader.dataset.sample(epoch, 3)["image"] for epoch in (0, 1))
    assert (old != new).any()


def test_a_mosaic_shows_four_images_with_what_is_seen_of_their_objects() -> None:
    data = module(mosaic=1.0, augment="none")
    dataset = data.loader("train", training=True).dataset
    plain = module(augment="none").loader("train", training=True).dataset
    assert isinstance(dataset, BatchDataset)
    assert isinstance(plain, BatchDataset)
    assert plain.mosaic is None
    counts, violations = [], []
    for index in range(16):
        found = dataset.sample(0, index)
        counts.append(len(found["objects"]["labels"]))
        assert found["image"].shape == (64, 64, 3)
        assert found["objects"]["masks"].any((1, 2)).all()
        for box, mask in zip(found["objects"]["boxes"], found["objects"]["masks"], strict=True):
            violations += [(index, box)] if np.abs(box - bounds(mask)).max() > 3 else []
    assert violations == []
    before = [len(plain.sample(0, index)["objects"]["labels"]) for index in range(16)]
    assert np.mean(counts) > 1.2 * np.mean(before)
    augmented = module(mosaic=1.0, augment="strong").loader("train", training=True)
    assert len(next(iter(augmented))["image"]) == 4


def test_a_mosaic_of_other_targets_is_an_error(sets: Sets) -> None:
    data = VisionDataModule(partial(Scenes, count=8, size=64), 64, mosaic=0.5)
    with pytest.raises(InputError, match="joins `objects` alone, and the data has label, bbox"):
        data.loader("train", training=True)
    data.loader("train")
    with pytest.raises(InputError, match=r"data\.mosaic: 2 must be a share"):
        module(mosaic=2)


class Unknown(Scenes):
    """Scenes; every fourth one is not annotated."""

    def target(self, index: int) -> dict[str, Any]:
        return super().target(index) if index % 4 else {}

    def instances(self, index: int) -> np.ndarray | None:
        return super().instances(index) if index % 4 else None


@pytest.mark.parametrize("masks", [False, True])
def test_an_image_that_is_not_annotated_is_a_crowd_in_a_mosaic(masks: bool) -> None:
    make = partial(Unknown, count=16, size=64, objects="all", masks=masks)
    dataset = VisionDataModule(make, 64, augment="none", mosaic=1.0).loader("train", training=True).dataset
    assert isinstance(dataset, BatchDataset)
    found = dataset.sample(0, 0)["objects"]
    assert -1 in found["labels"]
    assert found["crowd"][found["labels"] == -1].all()
    assert (found["labels"] >= 0).any()
    if masks:
        assert found["masks"].any((1, 2)).tolist() == (found["labels"] >= 0).tolist()


def test_a_batch_of_images_that_are_not_annotated_trains_nothing() -> None:
    data = VisionDataModule(partial(Unknown, count=16, size=64, objects="all", masks=True), 64, batch_size=1)
    loader = data.loader("train")
    backbone = Backbone("test_resnet", pretrained=False)
    head = InstanceHead(backbone.channels, 4)
    losses = {}
    for batch, _ in zip(loader, range(2), strict=False):
        output = head(backbone(batch["image"], True))
        losses[int(batch["index"])] = float(head.loss(output, batch["objects"]).detach())
    assert losses[0] == 0 < losses[1]


def test_objects_with_little_left_of_the_mosaic_and_the_crop_together_are_dropped() -> None:
    half = {**make_objects([[0, 0, 50, 50]], [0]), "visible": np.array([0.5], np.float32)}
    assert len(moved("none", half)["labels"]) == 1
    assert len(moved([crop(20, 0, 100, 100)], half)["labels"]) == 0  # 0.6 of a half
    assert VISIBLE == 0.4


# no object as an answer


@pytest.mark.parametrize("kind", FORMATS)
def test_absence_is_known_only_if_that_is_wanted(sets: Sets, kind: str) -> None:
    make = partial(getattr(sets, kind), objects="largest")
    if kind == "csv":
        with pytest.raises(InputError, match=r"line 5: label is empty"):
            make()
    else:
        assert len(make()) == 2
    data = make(absent=True)
    assert [data.target(i)["bbox"].round(3).tolist() for i in range(3)] == [BUS, OTHER, [0, 0, 0, 0]]
    assert "label" not in data.target(2)
    assert len(data.objects(2)["boxes"]) == 0
    assert make(absent=True, keep=["bus"]).target(1)["bbox"].tolist() == [0, 0, 0, 0]
    with pytest.raises(InputError, match="absent: it is for one object per image; `objects: all` keeps images"):
        getattr(sets, kind)(objects="all", absent=True)


class Alone(VisionDataset):
    """Scenes with one shape, or none."""

    def __init__(self, split: str, empty: float = 0.4) -> None:
        self.class_names = ["shape"]
        self.scenes = Scenes(split, count=64, size=64, most=1, radii=(0.2, 0.4), objects="all", empty=empty)

    def __len__(self) -> int:
        return len(self.scenes)

    def image(self, index: int) -> np.ndarray:
        return self.scenes.image(index)

    def name(self, index: int) -> str:
        return self.scenes.name(index)

    def target(self, index: int) -> dict[str, Any]:
        boxes = self.scenes.objects(index)["boxes"]
        return {"bbox": boxes[0] if len(boxes) else np.zeros(4, np.float32)}


def test_a_box_head_learns_whether_there_is_an_object() -> None:
    data = VisionDataModule(Alone, 64, batch_size=16, augment="strong")
    head = partial(BoxHead, absent=True, hidden=0, grid=4)
    task = LocalizationTask(data.spec, Backbone("tf_efficientnet_lite0", "bundled"), head)
    quiet: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[ClosedFormStart()], enable_model_summary=False, **quiet
    )
    trainer.fit(task, data)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert figures["val/presence"] > figures["val/presence_baseline"]
    assert figures["val/iou"] > figures["val/iou_baseline"]
    again: Any = trainer.validate(task, data, verbose=False)[0]
    assert again["val/presence"] == pytest.approx(figures["val/presence"])
    assert again["val/iou"] == pytest.approx(figures["val/iou"])
    assert "bbox_head" not in task.state_dict()
    assert any(name.endswith("threshold") for name in task.state_dict())


def test_a_prediction_of_no_object_has_no_box_in_tables_and_pictures() -> None:
    kind, frame = find_target("bbox"), Frame(50, 100, 32)
    output = np.array([0.1, 0.2, 0.5, 0.6, 0.3, 0.4], np.float32)
    absent, present = (kind.prediction(np.append(output[:5], t), frame, ["a"]) for t in (0.4, 0.2))
    assert absent["bbox"].tolist() == [0, 0, 0, 0]
    assert kind.rows(absent, ["a"]) == [{"xmin": None, "ymin": None, "xmax": None, "ymax": None, "presence": 0.3}]
    assert kind.rows(present, ["a"])[0]["xmax"] == 50
    none, box = np.zeros(4, np.float32), np.array([10, 10, 50, 30], np.float32)
    counts = np.stack(
        [kind.counts({"bbox": true}, found, ["a"]) for true in (none, box) for found in (absent, present)]
    )
    figures = kind.figures(counts)
    assert figures["presence"] == 0.5
    assert figures["iou"] == pytest.approx(1)  # of the images with an object, whatever the decision
    assert kind.sizes(counts)["presence"] == 4
    assert kind.sizes(counts)["iou"] == 2
    assert [d.value > d.limit for d in kind.compare(absent, present)] == [False, False, True]
    assert all(d.value <= d.limit for d in kind.compare(absent, absent))
    plain = kind.prediction(output[:4], frame, ["a"])
    assert plain.keys() == {"bbox", "label", "class_name"}
    assert kind.counts({"bbox": box}, plain, ["a"]).shape == (7, 2)


def test_a_head_and_its_data_must_agree_on_absence() -> None:
    for empty, absent, message in ((0.4, False, "False, and training images are known"), (0.0, True, "True, and no")):
        data = VisionDataModule(partial(Alone, empty=empty), 64)
        head = BoxHead([8], 1, absent=absent)
        with pytest.raises(InputError, match=rf"BoxHead\.absent: {message}"):
            head.setup(data.summary("bbox"))
    plain = BoxHead([8], 1)
    assert set(plain.state_dict()) == {f"{n}" for n in ("hidden.0.weight", "hidden.0.bias", "regressor.weight",
                                                       "regressor.bias", "trivial")}  # fmt: skip


def test_absence_trains_no_box_and_unknown_images_train_nothing() -> None:
    head = BoxHead([8], 1, absent=True)
    output = torch.zeros(3, 5, requires_grad=True)
    target = torch.tensor([[0.0] * 4, [float("nan")] * 4, [0.1, 0.1, 0.4, 0.5]])
    head.loss(output, target).backward()
    assert output.grad is not None
    assert output.grad[0, :4].abs().sum() == 0 < output.grad[0, 4]
    assert output.grad[1].abs().sum() == 0
    assert output.grad[2, :4].abs().sum() > 0 > output.grad[2, 4]
    assert head.counts(output.detach(), target)[0] == 1
