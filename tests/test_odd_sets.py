"""Sets that would mislead in silence: odd folders, names, encodings, copies, contradictions and absent classes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.core.folders import walk
from visiontasks.core.text import decode_text, normal
from visiontasks.data import (
    CocoBoxes,
    CocoMasks,
    CsvTable,
    CvatImages,
    ImageFolder,
    LabelMe,
    MaskFolder,
    Splits,
    VisionDataModule,
    VisionDataset,
    VocBoxes,
    Windows,
)
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.copies import same_files
from visiontasks.data.splits import MissingSplit, split_of
from visiontasks.predict.find import find_sources

ALL = Splits(val=0.0)
BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>7</ymax></bndbox>"
XML = f"<annotation><object><name>a</name>{BOX}</object></annotation>"


def picture(path: Path, seed: int) -> Path:
    """A photo of 12 x 8 pixels; the same one for the same seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 12, 3), np.uint8)).save(path)
    return path


def mask(path: Path, value: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, 12), np.uint8)
    pixels[2:5, 2:5] = value
    Image.fromarray(pixels).save(path)


def names(dataset: VisionDataset) -> list[str]:
    return [dataset.name(index) for index in range(len(dataset))]


def write(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, Callable[[str], VisionDataset]]:
    """Each kind of set with six photos, three in each of two classes."""
    marks, rows, images, nodes = [], ["path,label"], [], []
    for number in range(6):
        label = "ab"[number % 2]
        picture(tmp_path / f"classes/{label}/{number}.png", number)
        photo = picture(tmp_path / f"pairs/images/{number}.png", number)
        mask(tmp_path / f"pairs/masks/{number}.png")
        picture(tmp_path / f"voc/images/{number}.png", number)
        write(tmp_path / f"voc/annotations/{number}.xml", XML.replace(">a<", f">{label}<"))
        picture(tmp_path / f"labelme/images/{number}.png", number)
        shape = {"label": label, "points": [[1, 1], [9, 1], [9, 7]]}
        write(tmp_path / f"labelme/images/{number}.json", json.dumps({"shapes": [shape]}))
        nodes.append(f'<image name="{number}.png"><polygon label="{label}" points="1,1;9,1;9,7"/></image>')
        rows.append(f"pairs/images/{number}.png,{label}")
        images.append({"id": number, "file_name": photo.name})
        outline = [[1, 1, 9, 1, 9, 7, 1, 7]]
        mark = {"bbox": [1, 1, 8, 6], "segmentation": outline, "category_id": number % 2}
        marks.append({"id": number, "image_id": number, **mark})
    write(tmp_path / "table.csv", *rows)
    categories = [{"id": number, "name": "ab"[number]} for number in range(2)]
    content = {"images": images, "annotations": marks, "categories": categories}
    write(tmp_path / "coco.json", json.dumps(content))
    write(tmp_path / "cvat.xml", "<annotations>", *nodes, "</annotations>")
    photos = str(tmp_path / "pairs/images")
    coco = {"annotations": str(tmp_path / "coco.json"), "images": str(tmp_path / "pairs/images")}
    return {
        "classes": partial(ImageFolder, root=str(tmp_path / "classes")),
        "pairs": partial(MaskFolder, root=str(tmp_path / "pairs"), class_names=["a", "b"]),
        "voc": partial(VocBoxes, root=str(tmp_path / "voc")),
        "table": partial(CsvTable, path=str(tmp_path / "table.csv")),
        "boxes": partial(CocoBoxes, **coco),
        "regions": partial(CocoMasks, **coco),
        "labelme": partial(LabelMe, root=str(tmp_path / "labelme")),
        "cvat": partial(CvatImages, path=str(tmp_path / "cvat.xml"), images=photos),
        "windows": partial(Windows, source=partial(VocBoxes, root=str(tmp_path / "voc")), size=8),
    }


# folders


LITTER = (
    ".hidden.png",
    "._1.png",
    ".ipynb_checkpoints/1.png",
    "__MACOSX/1.png",
    "@eaDir/1.png",
    "THUMBS.DB",
    "Desktop.ini",
)


@pytest.mark.parametrize("kind", ["classes", "pairs", "voc", "labelme"])
def test_what_systems_leave_in_folders_is_no_sample(sets: dict, tmp_path: Path, kind: str) -> None:
    before = names(sets[kind]("train", splits=ALL))
    for folder in ("classes/a", "pairs/images", "pairs/masks", "voc/images", "voc/annotations", "labelme/images"):
        for name in LITTER:
            picture(tmp_path / "photo.png", 0)
            (tmp_path / folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(tmp_path / "photo.png", tmp_path / folder / name)
        write(tmp_path / folder / "__MACOSX/2.xml", "no XML")
        write(tmp_path / folder / "__MACOSX/2.json", "no JSON")
    assert names(sets[kind]("train", splits=ALL)) == before
    assert find_sources([tmp_path / "classes/a"]).count() == 3


@pytest.mark.parametrize("odd", ["pipe.png", "socket.png", "link.png"])
def test_what_is_no_file_is_refused_at_once_by_name(sets: dict, tmp_path: Path, odd: str) -> None:
    for folder in ("classes/a", "pairs/masks", "voc/annotations", "labelme/images"):
        path = tmp_path / folder / odd
        if odd == "pipe.png":
            os.mkfifo(path)
        elif odd == "socket.png":
            here = Path.cwd()
            os.chdir(path.parent)  # the path of a socket must be short
            socket.socket(socket.AF_UNIX).bind(odd)
            os.chdir(here)
        else:
            path.symlink_to("nowhere")
    for kind in ("classes", "pairs", "voc", "labelme"):
        with pytest.raises(InputError, match=rf"{odd}: a (pipe, a socket|link that leads nowhere).*Remove it"):
            sets[kind]("train", splits=ALL)


def test_links_to_folders_are_read_once_and_loops_end(tmp_path: Path) -> None:
    for name in ("set/a/1.png", "set/b/2.png", "far/3.png"):
        picture(tmp_path / name, int(name[-5]))
    (tmp_path / "set/c").symlink_to(tmp_path / "far")
    (tmp_path / "set/a/more").symlink_to(tmp_path / "far")
    (tmp_path / "far/up").symlink_to(tmp_path / "far")
    found = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path / "set")]
    assert found == ["set/a/1.png", "set/b/2.png", "set/c/3.png"]
    (tmp_path / "set/a/more").unlink()
    assert names(ImageFolder("train", str(tmp_path / "set"), splits=ALL)) == ["a/1.png", "b/2.png", "c/3.png"]


@pytest.mark.parametrize("kind", ["pairs", "voc", "labelme"])
def test_photos_of_formats_that_are_not_read_are_named(sets: dict, tmp_path: Path, kind: str) -> None:
    write(tmp_path / kind / "images/IMG_1.HEIC")
    with pytest.raises(InputError, match=r"IMG_1\.HEIC: 1 images of formats that are not read\. Convert them"):
        sets[kind]("train")


def test_voc_files_are_paired_by_their_relative_paths(tmp_path: Path) -> None:
    for number, name in enumerate(("cam1/0", "cam2/0", "cam2/1")):
        picture(tmp_path / f"JPEGImages/{name}.png", number)
        write(tmp_path / f"Annotations/{name}.xml", XML)
    assert names(VocBoxes("train", str(tmp_path), splits=ALL)) == ["cam1/0.png", "cam2/0.png", "cam2/1.png"]
    write(tmp_path / "ImageSets/Main/train.txt", "cam2/0")
    assert names(VocBoxes("train", str(tmp_path))) == ["cam2/0.png"]


@pytest.mark.parametrize("stated", ["C:\\Users\\ann\\p1.png", "shots/p1.png", "p1", "", "../../etc/passwd"])
def test_the_file_name_in_xml_is_not_needed_beside_an_image_of_the_same_name(tmp_path: Path, stated: str) -> None:
    picture(tmp_path / "p1.png", 0)
    write(tmp_path / "p1.xml", XML.replace("<object>", f"<filename>{stated}</filename><object>"))
    assert names(VocBoxes("train", str(tmp_path), splits=ALL)) == ["p1.png"]


def test_xml_files_without_a_photo_are_counted(sets: dict, tmp_path: Path) -> None:
    for number in range(1, 6):
        (tmp_path / f"voc/images/{number}.png").unlink()
    message = r"annotations/1\.xml: no image 1\.\* nor .*\. 5 of 6 XML files have no image: 1, 2, 3, \.\.\.\."
    with pytest.raises(InputError, match=message):
        sets["voc"]("train")


def test_one_photo_of_two_xml_files_is_refused(sets: dict, tmp_path: Path) -> None:
    write(tmp_path / "voc/annotations/z.xml", XML.replace("<object>", "<filename>1.png</filename><object>", 1))
    with pytest.raises(InputError, match=r"z\.xml: its image, .*1\.png, is that of .*1\.xml too"):
        sets["voc"]("train")


def test_lists_of_voc_without_one_for_train_are_refused(sets: dict, tmp_path: Path) -> None:
    write(tmp_path / "voc/ImageSets/Main/test.txt", "1")
    with pytest.raises(InputError, match=r"ImageSets/Main: it has test\.txt, but no train\.txt"):
        sets["voc"]("train")


def test_photos_without_xml_are_counted(sets: dict, tmp_path: Path) -> None:
    for number in range(7, 11):
        picture(tmp_path / f"voc/images/{number}.png", number)
    message = r"4 of 10 images have no annotation and are left out: 10\.png, 7\.png, 8\.png, \.\.\."
    with pytest.warns(UserWarning, match=message):
        sets["voc"]("train")


@pytest.mark.parametrize(
    ("folders", "counts"),
    [
        (("Training", "Testing"), {"train": 6, "val": 2, "test": 8}),
        (("train", "valid"), {"train": 8, "val": 8}),
        (("Train", "validation", "TEST"), {"train": 8, "val": 8, "test": 8}),
        (("training_set", "dev", "test2017"), {"train": 8, "val": 8, "test": 8}),
    ],
)
def test_splits_have_many_names(tmp_path: Path, folders: tuple[str, ...], counts: dict[str, int]) -> None:
    for number, (folder, label, _) in enumerate((f, c, i) for f in folders for c in "ab" for i in range(4)):
        picture(tmp_path / f"{folder}/{label}/{number}.png", number)
    for split, count in counts.items():
        data = ImageFolder(split, str(tmp_path), Splits(val=0.25))
        assert data.class_names == ["a", "b"]
        assert len(data) == count
    if "test" not in counts:
        with pytest.raises(MissingSplit, match="test"):
            ImageFolder("test", str(tmp_path))


@pytest.mark.parametrize(
    ("train", "other"), [("seg_train", "seg_test"), ("01_train", "02_val"), ("Imgs TRAIN", "Imgs Val")]
)
def test_folders_that_differ_only_in_the_word_of_a_split_are_no_classes(tmp_path: Path, train: str, other: str) -> None:
    for number, name in enumerate((train, other, "notes")):
        picture(tmp_path / name / "a/1.png", number)
    with pytest.raises(InputError, match=f"{train} and {other} look like splits"):
        ImageFolder("train", str(tmp_path))


def test_classes_may_have_words_of_splits_in_their_names(tmp_path: Path) -> None:
    for number, name in enumerate(("train_station", "test_tube", "valley")):
        picture(tmp_path / name / "1.png", number)
    assert len(ImageFolder("train", str(tmp_path), splits=ALL)) == 3


def test_folders_of_splits_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for number, folder in enumerate(("train", "Training", "val")):
        picture(tmp_path / f"{folder}/a/{number}.png", number)
    with pytest.raises(InputError, match="Training/ and train/ are both train"):
        ImageFolder("train", str(tmp_path))
    for number, folder in enumerate(("valid", "invalid")):
        picture(tmp_path / f"classes/{folder}/{number}.png", number)
    assert ImageFolder("train", str(tmp_path / "classes"), ALL).class_names == ["invalid", "valid"]
    assert [split_of(name) for name in ("trains", "tester", "cat", "value")] == [None] * 4


# text and names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_text_is_read_in_every_encoding_that_names_itself(encoding: str, newline: str) -> None:
    assert decode_text(newline.join(["é 1", "b", ""]).encode(encoding), "a.txt") == "é 1\nb\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("caf\xe9".encode("latin-1"), r"a\.txt: not UTF-8 at byte 3\. It may be latin-1 or cp1252"),
        ("a\nb".encode("utf-16-le"), r"a\.txt, line 1: it has a NUL character"),
        (b"a\nb\0\n", r"a\.txt, line 2: it has a NUL character"),
        (b"\xff\xfea", "not UTF-16 at byte"),
    ],
)
def test_text_in_another_encoding_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_text(data, "a.txt")


NFC, NFD = "caf\u00e9", "cafe\u0301"


def test_one_name_in_two_unicode_forms_is_one_name(tmp_path: Path) -> None:
    picture(tmp_path / f"images/{NFC}.png", 0)
    mask(tmp_path / f"masks/{NFD}.png")
    write(tmp_path / f"annotations/{NFD}.xml", XML)
    write(tmp_path / "table.csv", "path,label", f"images/{NFD}.png,{NFC}", f"images/{NFC}.png,{NFD}", "b.png,b")
    picture(tmp_path / "b.png", 1)
    assert len(MaskFolder("train", str(tmp_path), ["a", "b"], splits=ALL)) == 1
    assert len(VocBoxes("train", str(tmp_path), splits=ALL)) == 1
    with pytest.warns(UserWarning, match="1 row has the image and the values of one before it and does not count"):
        data = CsvTable("train", str(tmp_path / "table.csv"), splits=ALL)
    assert data.class_names == ["b", NFC]
    for number, folder in enumerate((f"set/train/{NFC}", "set/train/b", f"set/val/{NFD}")):
        picture(tmp_path / folder / "1.png", number)
    assert ImageFolder("val", str(tmp_path / "set")).labels().tolist() == [1]
    (tmp_path / f"set/train/{NFD}").mkdir()
    with pytest.raises(InputError, match=r"its name is that of .*, written in another way"):
        ImageFolder("train", str(tmp_path / "set"))


@pytest.mark.parametrize("name", ["nan", "NaN", "NULL", "<NA>", " a", "a ", "", "\udcff"])
def test_a_class_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"a class is named .*, which is"):
        MaskFolder("train", str(tmp_path), ["b", name])


def test_a_class_with_a_character_that_cannot_be_seen_is_refused(tmp_path: Path) -> None:
    hidden = {"a\tb": "0009", "a\0": "0000", "c\u200bat": "200B", "\ufeffcat": "FEFF", "cat\u200f": "200F"}
    hidden |= {"c\u00adat": "00AD", "c\u202eat": "202E", "c\u200dat": "200D", "\u3164": "3164", "é\u200c": "200C"}
    for name, code in hidden.items():
        with pytest.raises(InputError, match=rf"class_names: a class is named .* the invisible character U\+{code} \("):
            check_class_names(["b", name], "class_names")
    names = [
        "red panda",
        "\u0645\u06cc\u200c\u062e",
        "\U0001f469\u200d\U0001f680",
        "\u2764\ufe0f",
        "e\u0301".upper(),
        "日本",
    ]
    check_class_names([normal(name) for name in names], "class_names")  # Persian and emoji need joiners
    for number, name in enumerate(("cat", "cat\u200b")):
        picture(tmp_path / name / "1.png", number)
    with pytest.raises(InputError, match=r"U\+200B \(ZERO WIDTH SPACE\)\. Remove"):
        ImageFolder("train", str(tmp_path), splits=ALL)


def test_a_class_that_is_named_twice_is_refused(tmp_path: Path, table: Callable) -> None:
    with pytest.raises(InputError, match="the class 'a' is named twice"):
        MaskFolder("train", str(tmp_path), ["a", "b", "a"])
    with pytest.raises(InputError, match=r"t\.csv: the class 'a' is named twice"):
        table("path,a", "x/a.png,1", labels_columns=["a", "a"])


def test_classes_that_differ_in_case_are_told(tmp_path: Path) -> None:
    for number, name in enumerate(("Cat", "cat")):
        picture(tmp_path / name / "1.png", number)
    with pytest.warns(UserWarning, match="the classes 'Cat' and 'cat' differ only in case"):
        ImageFolder("train", str(tmp_path), splits=ALL)


# tables and lists


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., CsvTable]:
    """The train split of a table with these lines, beside four photos."""
    for number, name in enumerate("abcd"):
        picture(tmp_path / f"x/{name}.png", number)

    def read(*lines: str, **arguments: Any) -> CsvTable:
        return CsvTable("train", str(write(tmp_path / "t.csv", *lines)), **{"splits": ALL, **arguments})

    return read


def test_a_table_is_read_as_people_write_it(table: Callable) -> None:
    """Excel's first line, spaces behind commas, backslashes, a column that is too long for Python's csv."""
    data = table("sep=;", " path ; label;rle", f"x\\a.png; cat;{'1 ' * 70_000}", "x/b.png;dog;", ";;", "x//c.png;cat;")
    assert data.class_names == ["cat", "dog"]
    assert [path.name for path in data.paths] == ["a.png", "b.png", "c.png"]


TABLES = {
    "two labels": (
        ["path,label", "x/a.png,1", "x/b.png,2", "./x/a.png,2"],
        {},
        "line 4: the label of this image differs",
    ),
    "two numbers": (
        ["path,v", "x/a.png,1", "x/a.png,2"],
        {"value_columns": ["v"]},
        "line 3: the value of this image differs from that in .*line 2",
    ),
    "two splits": (
        ["path,label,split", "x/a.png,1,train", "x/b.png,2,train", "x\\a.png,1,val"],
        {},
        r"line 4: path 'x\\\\a\.png' is in val and in train",
    ),
    "a missing value": (["path,label", "x/a.png,1", "x/b.png,NaN"], {}, "line 3: label is 'NaN', a missing value"),
    "a missing name": (["path,label", "x/a.png,a", "x/b.png,NULL"], {}, "line 3: label is 'NULL', a missing value"),
    "a missing part": (
        ["path,label", "x/a.png,a", "x/b.png,nan;b"],
        {"labels_separator": ";"},
        "a class is named 'nan'",
    ),
    "a number": (["path,label", "x/a.png,1", "x/b.png,0.5"], {}, "line 3: label '0.5' is not 0, 1, 2"),
    "an ignored label": (["path,label", "x/a.png,1", "x/b.png,-100"], {}, "line 3: label '-100' is not 0, 1, 2"),
    "infinite": (["path,v", "x/a.png,inf"], {"value_columns": ["v"]}, r"line 2: v must be numbers.*\['inf'\]"),
    "a column twice": (["path,label,label", "x/a.png,1,2"], {}, "the column 'label' occurs twice"),
    "missing files": (
        ["path,label", "x/a.png,1", *(f"gone{i}.png,2" for i in range(5))],
        {},
        r"line 3: no such file: .*gone0\.png\. 5 of 6 files are missing: gone0\.png, gone1\.png, gone2\.png, \.\.\.",
    ),
    "a web address": (["path,label", "x/a.png,1", "file:///etc/passwd,2"], {}, "line 3: no such file"),
    "above": (["path,label", "x/a.png,1", "..\\..\\boot.ini,2"], {}, r"line 3: .* leaves"),
    "shares": (
        ["path,label,xmin,ymin,xmax,ymax", "x/a.png,1,0.1,0.1,0.5,0.9"],
        {},
        "has shares of the image; expected pix",
    ),
}


@pytest.mark.parametrize("fault", TABLES)
def test_a_table_that_contradicts_itself_is_refused(table: Callable, fault: str) -> None:
    lines, arguments, message = TABLES[fault]
    with pytest.raises(InputError, match=message):
        table(*lines, **arguments)


@pytest.mark.parametrize("column", ["Split", "subset"])
def test_a_column_of_splits_that_is_not_used_is_named(table: Callable, column: str) -> None:
    rows = [f"path,label,{column}", "x/a.png,1,Train", "x/b.png,2,Train", "x/c.png,1,Test"]
    with pytest.warns(UserWarning, match=f"the splits in column '{column}' are not used. Set `split_column: {column}`"):
        assert len(table(*rows)) == 3
    assert len(table(*rows, split_column=column)) == 2


def test_a_table_with_many_columns_is_refused_at_once(table: Callable) -> None:
    with pytest.raises(InputError, match="the column 'c' occurs twice"):
        table("c," * 100_000 + "path,label")


def test_rows_that_say_the_same_are_one_and_counted(table: Callable) -> None:
    rows = ["x/a.png,1", "x/b.png,2"]
    with pytest.warns(UserWarning, match="2 rows have the image and the values of one before them and do not count"):
        assert len(table("path,label", *rows, *rows)) == 2
    boxes = ["x/a.png,1,1,1,9,7", "x/a.png,1,2,2,9,7"]
    with pytest.warns(UserWarning, match="2 rows have the image and the values of one before them"):
        data = table("path,label,xmin,ymin,xmax,ymax", *boxes, *boxes)
    assert len(data.objects(0)["boxes"]) == 2


@pytest.mark.parametrize("divider", [" ", "\t", ";", "; "])
def test_paths_in_a_list_may_have_spaces(tmp_path: Path, divider: str) -> None:
    for number, name in enumerate(("shot 1 (copy)", "b")):
        picture(tmp_path / f"images/{name}.png", number)
        mask(tmp_path / f"masks/{name}.png")
    write(tmp_path / "train.txt", f"images/shot 1 (copy).png{divider}masks/shot 1 (copy).png", "b")
    write(tmp_path / "val.txt", "shot 1 (copy)")
    make = partial(MaskFolder, root=str(tmp_path), class_names=["a", "b"], lists="{split}.txt")
    assert names(make("train")) == ["images/shot 1 (copy).png", "images/b.png"]
    assert names(make("val")) == ["images/shot 1 (copy).png"]
    write(tmp_path / "val.txt", "b")
    with pytest.raises(InputError, match=r"line 2: 'b' is already in .*val\.txt, line 1"):
        make("train")
    write(tmp_path / "train.txt", f"images\\shot 1 (copy).png{divider}masks\\shot 1 (copy).png")
    assert len(make("train")) == 1


# COCO


@pytest.fixture
def coco(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Writes a COCO file of four photos, with changes; returns the arguments of the datasets."""
    for number in range(4):
        picture(tmp_path / f"x/{number}.png", number)

    def write_file(name: str = "a.json", **changes: Any) -> dict[str, str]:
        content = {
            "images": [{"id": i, "file_name": f"x/{i}.png"} for i in range(4)],
            "annotations": [
                {
                    "id": i,
                    "image_id": i,
                    "category_id": 1 + i % 2,
                    "bbox": [1, 1, 8, 6],
                    "segmentation": [[1, 1, 9, 1, 9, 7]],
                }
                for i in range(4)
            ],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        }
        write(tmp_path / name, json.dumps(content | changes))
        return {"annotations": str(tmp_path / name), "images": str(tmp_path)}

    return write_file


def test_a_category_that_only_groups_others_is_no_class(coco: Callable) -> None:
    for root in ("animals", "cat"):  # Roboflow names it like the project
        members = [{"id": 1, "name": "cat", "supercategory": root}, {"id": 2, "name": "dog", "supercategory": root}]
        files = coco(categories=[{"id": 0, "name": root, "supercategory": "none"}, *members])
        assert CocoBoxes("train", **files, splits=ALL).class_names == ["cat", "dog"]


@pytest.mark.parametrize("kind", [str, float, "img_{}".format])
def test_ids_only_link_rows(coco: Callable, kind: Callable) -> None:
    images = [{"id": kind(i), "file_name": f"x/{i}.png"} for i in range(4)]
    marks = [{"id": i, "image_id": kind(i), "category_id": str(1 + i % 2), "bbox": [1, 1, 8, 6]} for i in range(4)]
    data = CocoBoxes("train", **coco(images=images, annotations=marks), splits=ALL)
    assert (names(data), data.labels().tolist()) == ([f"x/{i}.png" for i in range(4)], [0, 1, 0, 1])


def test_an_image_that_is_listed_twice_has_the_objects_of_both(coco: Callable) -> None:
    images = [{"id": i, "file_name": name} for i, name in enumerate(("x/0.png", "x\\0.png", "x/1.png"))]
    marks = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 8, 6 - i]} for i in range(3)]
    with pytest.warns(UserWarning, match="1 image is listed twice; the annotations are joined"):
        data = CocoBoxes("train", **coco(images=images, annotations=[*marks, {**marks[0], "image_id": 1}]), splits=ALL)
    assert [len(data.objects(index)["boxes"]) for index in range(len(data))] == [2, 1]


def test_categories_of_val_are_joined_by_name(coco: Callable, tmp_path: Path) -> None:
    coco("train.json")
    mark = {"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 1, 8, 6]}
    files = coco("val.json", categories=[{"id": 1, "name": "dog"}, {"id": 5, "name": "emu"}], annotations=[mark])
    files["annotations"] = str(tmp_path / "{split}.json")
    data = VisionDataModule(partial(CocoBoxes, **files), 16)
    assert data.dataset("val").class_names == ["cat", "dog"]
    assert data.dataset("val").labels().tolist() == [1]
    coco("val.json", categories=[{"id": 1, "name": "emu"}], annotations=[mark])
    with pytest.raises(InputError, match=r"annotation 0: category 'emu' is not in .*train\.json"):
        CocoBoxes("val", **files)


def test_class_names_choose_categories(coco: Callable) -> None:
    with pytest.warns(UserWarning, match=r"2 annotations are not of `class_names` and left out: dog \(2\)"):
        assert len(CocoBoxes("train", **coco(), splits=ALL, class_names=["cat"])) == 2
    with pytest.warns(UserWarning, match="left out"):
        data = CocoMasks("train", **coco(), splits=ALL, class_names=["cat"])
    with pytest.raises(InputError, match=r"class_names: 'cta' is no category of .*a\.json, which has \['cat', 'dog'\]"):
        CocoBoxes("train", **coco(), class_names=["cta"])
    assert data.mask_names == ["background", "cat"]
    assert [set(np.unique(data.mask(index))) for index in range(2)] == [{0, 1}, {0, 255}]


MARK = {"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 1, 8, 6]}


def test_crowds_are_counted_and_refused_if_there_is_nothing_else(coco: Callable) -> None:
    crowd = {**MARK, "image_id": 1, "iscrowd": 1}
    with pytest.warns(UserWarning, match=r"a\.json: 1 crowds \(iscrowd\) are left out"):
        assert names(CocoBoxes("train", **coco(annotations=[MARK, crowd]), splits=ALL)) == ["x/0.png"]
    with pytest.raises(InputError, match="each of 1 annotations is a crowd, so nothing is left to learn"):
        CocoBoxes("train", **coco(annotations=[crowd]), splits=ALL)
    with pytest.raises(InputError, match="annotation 0: iscrowd must be 0 or 1; found '0'"):  # true in Python
        CocoBoxes("train", **coco(annotations=[{**MARK, "iscrowd": "0"}]), splits=ALL)


def test_polygons_in_shares_of_the_image_are_refused(coco: Callable) -> None:
    outline = [[0.1, 0.1, 0.9, 0.1, 0.9, 0.8]]
    with pytest.raises(InputError, match="annotation 0: the polygon has shares of the image; expected pixels"):
        CocoMasks("train", **coco(annotations=[{**MARK, "segmentation": outline}]), splits=ALL)


def test_masks_that_are_all_crowds_are_refused(coco: Callable) -> None:
    mark = {
        "id": 0,
        "image_id": 0,
        "category_id": 1,
        "segmentation": {"size": [8, 12], "counts": [0, 96]},
        "iscrowd": 1,
    }
    with pytest.raises(InputError, match="each of 1 annotations is a crowd"):
        CocoMasks("train", **coco(annotations=[mark]), splits=ALL)


# copies and absent classes


def test_the_same_files_are_found_by_content(tmp_path: Path) -> None:
    long = bytes(5000)
    contents = [
        b"a",
        b"b",
        b"a",
        b"",
        b"",
        long,
        long[:-1] + b"x",
        b"x" + long[:-1],
        long,
        long[:1000] + b"y" + long[1001:],
    ]
    paths = [tmp_path / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    assert same_files(paths) == [[0, 2], [3, 4], [5, 8]]
    with pytest.raises(InputError, match="gone: cannot be read"):
        same_files([tmp_path / "gone"])


def test_many_files_of_one_length_are_compared_in_linear_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda *args: opened.append(args) or real(*args))
    paths = [tmp_path / str(number) for number in range(300)]
    for number, path in enumerate(paths):
        path.write_bytes(number.to_bytes(400, "big"))
    assert same_files(paths) == []
    assert len([args for args in opened if Path(args[0]) in paths]) == 300


@pytest.mark.parametrize("kind", ["classes", "table", "voc", "boxes", "regions", "pairs", "labelme", "cvat"])
def test_copies_of_what_is_held_out_leave_training(sets: dict, tmp_path: Path, kind: str, caplog: Any) -> None:
    for folder in ("classes/b", "pairs/images", "voc/images", "labelme/images"):
        shutil.copy(tmp_path / "classes/b/1.png", tmp_path / folder / "5.png")
    held = {"classes": 3}.get(kind, 1)  # the place of photo 1
    with caplog.at_level("INFO"):
        train = sets[kind]("train", splits=Splits(fold=held, folds=6))
    assert len(train) == 4
    assert "1 of 5 training images left out, the same file as one held out" in caplog.text


@pytest.mark.parametrize("kind", ["classes", "table", "voc", "boxes", "labelme", "cvat"])
def test_a_copy_with_another_label_than_the_one_held_out_is_named(sets: dict, tmp_path: Path, kind: str) -> None:
    for folder in ("classes/a", "pairs/images", "voc/images", "labelme/images"):
        shutil.copy(tmp_path / "classes/b/1.png", tmp_path / folder / "2.png")
    held = {"classes": 3}.get(kind, 1)  # the place of photo 1
    with pytest.warns(UserWarning, match="Images that are there twice with different labels: 1 "):
        sets[kind]("train", splits=Splits(fold=held, folds=6))


def test_copies_in_the_users_own_splits_and_in_two_classes_are_counted(tmp_path: Path) -> None:
    for number, place in enumerate(("train/a/0", "train/b/1", "train/a/2", "val/a/3", "val/b/4")):
        picture(tmp_path / f"{place}.png", number)
    shutil.copy(tmp_path / "train/a/0.png", tmp_path / "val/a/copy.png")
    shutil.copy(tmp_path / "train/a/2.png", tmp_path / "train/b/copy.png")
    data = VisionDataModule(partial(ImageFolder, root=str(tmp_path)), 16)
    with pytest.warns(UserWarning, match="by content") as told:
        data.dataset("val")
    texts = [str(warning.message) for warning in told]
    assert len(texts) == 2
    assert texts[0].startswith("Images of val that are in training too: 1 ")
    assert "a/0.png = " in texts[0]
    assert "val/a/copy.png" in texts[0]
    assert texts[1].startswith("Images that are there twice with different labels: 1 ")


def test_a_class_without_a_training_image_is_refused(sets: dict) -> None:
    cases: list[tuple[Callable[[str], VisionDataset], str, str]] = [
        (
            partial(sets["pairs"], class_names=["a", "b", "c"]),
            "mask",
            r"mask_names: 1 of 3 classes have no pixel .*: 'c'\.",
        ),
        (partial(sets["voc"], class_names=["a", "b", "c", "d"]), "label", "class_names: 2 of 4 classes have no image"),
        (partial(sets["voc"], class_names=["a", "b", "c"], objects="labels"), "labels", "labels_names: 1 of 3 classes"),
        (partial(sets["regions"], splits=Splits(fold=1, folds=2)), "mask", "have no pixel in training: 'b'"),
    ]
    for make, key, message in cases:
        with pytest.raises(InputError, match=message):
            VisionDataModule(make, 16).check_classes(key)
    VisionDataModule(sets["table"], 16).check_classes("label")
    assert VisionDataModule(sets["table"], 16).class_shares("label") == pytest.approx({"a": 0.4, "b": 0.6})
    assert VisionDataModule(sets["pairs"], 16).class_shares("mask") == pytest.approx({"a": 0.906, "b": 0.094}, abs=5e-4)
    assert VisionDataModule(sets["table"], 16).class_shares("bbox") == {}


def test_a_label_that_is_no_index_of_a_class_is_named(sets: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (-100, 2):
        monkeypatch.setattr(ImageFolder, "target", lambda self, index, wrong=wrong: {"label": wrong})
        with pytest.raises(InputError, match=rf"\.png: label {wrong} is not an index of the 2 classes"):
            VisionDataModule(sets["classes"], 16).check_classes("label")


def test_one_image_is_too_few_to_train_on(tmp_path: Path) -> None:
    picture(tmp_path / "0.png", 0)
    write(tmp_path / "0.xml", XML)
    data = VisionDataModule(partial(VocBoxes, root=str(tmp_path), splits=ALL), 16)
    with pytest.raises(InputError, match="training has 1 image, and batch norm needs at least two"):
        data.train_dataloader()


# the user's files


def state(root: Path) -> dict[str, tuple[str, int]]:
    """The content and the time of the last change of everything below a folder."""
    return {
        str(path): (hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
    }


def test_no_dataset_changes_a_file(sets: dict, tmp_path: Path) -> None:
    before = state(tmp_path)
    for make in sets.values():
        data = VisionDataModule(make, 16)
        for split in ("train", "val"):
            dataset = data.dataset(split)
            assert all(dataset[index]["image"].size for index in range(len(dataset)))
        assert data.fingerprint
        assert data.keys
    assert state(tmp_path) == before
