"""Sources of boxes: what counts of several, what is mended or refused, and what every odd input says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_image, read_size
from visiontasks.data import CocoBoxes, CsvTable, OxfordIIITPet, Splits, VisionDataModule, VocBoxes
from visiontasks.data.augment import EvalTransform
from visiontasks.data.batches import BatchDataset
from visiontasks.data.datasets.copies import without_copies
from visiontasks.data.splits import MissingSplit

Object = tuple[str, tuple[Any, ...]]
WIDTH, HEIGHT = 40, 30
ALL = Splits(val=0.0)


def xml(objects: list[Object], filename: str = "", size: tuple[int, int] = (WIDTH, HEIGHT), head: str = "") -> str:
    """A VOC annotation; the path in it is another machine's."""
    nodes = ""
    for name, box in objects:
        corners = "".join(
            f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        nodes += f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"
    width, height = size
    return (
        f"{head}<annotation><filename>{filename}</filename><path>C:\\photos\\{filename}</path>"
        f"<size><width>{width}</width><height>{height}</height></size>{nodes}</annotation>"
    )


@pytest.fixture
def voc(tmp_path: Path) -> Callable[..., Path]:
    """Writes images and annotations as raccoon's; the pictures of different names differ."""

    def write(annotations: dict[str, str], images: str = "images", folder: str = "annotations") -> Path:
        root = tmp_path / "voc"
        for number, (stem, text) in enumerate(annotations.items()):
            picture = root / images / f"{stem}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(noise).save(picture)
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / f"{stem}.xml").write_text(text)
        return root

    return write


def boxes(dataset: Any) -> list[list[float]]:
    return [dataset.target(index)["bbox"].tolist() for index in range(len(dataset))]


TWO = [("cat", (1, 2, 11, 12)), ("dog", (5, 5, 30, 25))]


# reading only the size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_image(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", (50, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert read_size(tmp_path / "a.jpg") == read_image(tmp_path / "a.jpg").shape[:2]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1"])
def test_the_size_of_any_mode_is_read(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (31, 17)).save(tmp_path / "a.tiff")
    assert read_size(tmp_path / "a.tiff") == (17, 31)


def test_the_size_of_a_file_whose_header_is_long_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (31, 17)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + bytes(60_000), comment=bytes(60_000))
    data = (tmp_path / "a.jpg").read_bytes()
    more = b"\xff\xe2" + (60_002).to_bytes(2, "big") + bytes(60_000)
    (tmp_path / "b.jpg").write_bytes(data[:2] + more * 6 + data[2:])
    assert read_size(tmp_path / "b.jpg") == (17, 31)


def test_the_size_of_what_is_no_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(InputError, match=name):
            read_size(tmp_path / name)


# VOC


@pytest.mark.parametrize(
    ("images", "folder"), [("images", "annotations"), ("JPEGImages", "Annotations"), ("images", "annotations/xmls")]
)
def test_voc_boxes_are_read_wherever_such_sets_have_them(voc: Callable, images: str, folder: str) -> None:
    root = voc({"b": xml([("dog", (1.5, 2, 11, 12))]), "a": xml([("cat", (0, 0, 40, 30))])}, images, folder)
    data = VocBoxes("train", str(root), splits=ALL)
    assert data.class_names == ["cat", "dog"]
    assert [data.name(i) for i in range(2)] == ["a.jpg", "b.jpg"]
    assert boxes(data) == [[0, 0, 40, 30], [1.5, 2, 11, 12]]
    sample = data[1]
    assert sample["label"] == 1
    assert sample["bbox"].dtype == np.float32
    assert sample["image"].shape == (30, 40, 3)
    assert data.size(1) == sample["size"] == (30, 40)


@pytest.mark.parametrize(("objects", "expected"), [("largest", ("dog", 5)), ("first", ("cat", 1))])
def test_of_several_objects_one_counts(voc: Callable, objects: Any, expected: tuple, caplog: Any) -> None:
    root = voc({"a": xml(TWO), "b": xml(TWO[:1])})
    data = VocBoxes("train", str(root), objects=objects, splits=ALL)
    assert (data.class_names[data.target(0)["label"]], data.target(0)["bbox"][0]) == expected
    assert len(data) == 2


def test_images_with_several_objects_are_skipped_and_counted(voc: Callable, caplog: Any) -> None:
    root = voc({"a": xml(TWO), "b": xml(TWO[:1]), "c": xml([]), "d": xml(TWO[1:])})
    with caplog.at_level("INFO"):
        data = VocBoxes("train", str(root), objects="skip", splits=ALL)
    assert [data.name(i) for i in range(len(data))] == ["b.jpg", "d.jpg"]
    assert "2 of 4 images are used; 1 left out with several objects, 1 left out without an object." in caplog.text


def test_several_objects_are_an_error_if_that_is_wanted(voc: Callable) -> None:
    with pytest.raises(InputError, match=r"a\.xml, object 2: a\.jpg has 2 objects, and only one can be") as raised:
        VocBoxes("train", str(voc({"a": xml(TWO)})), objects="error", splits=ALL)
    assert str(raised.value).endswith("Set `objects: largest`, `first`, `skip`, `labels` or `all`.")


def test_voc_folds_are_those_of_all_sorted_files_and_then_images_are_skipped(voc: Callable) -> None:
    root = voc({f"{i}": xml(TWO if i == 5 else TWO[:1]) for i in range(12)})
    names = sorted(f"{i}" for i in range(12))  # 0 1 10 11 2 ...
    data = VocBoxes("val", str(root), objects="skip", splits=Splits(fold=3))
    expected = [f"{name}.jpg" for i, name in enumerate(names) if i % 5 == 3 and name != "5"]
    assert [data.name(i) for i in range(len(data))] == expected


def test_an_image_that_is_the_same_as_one_held_out_is_left_out_of_training(voc: Callable, caplog: Any) -> None:
    root = voc({f"{i}": xml(TWO[:1]) for i in range(10)})
    shutil.copy(root / "images/4.jpg", root / "images/6.jpg")  # 4 is held out by fold 4, as is 9
    with caplog.at_level("INFO"):
        train = VocBoxes("train", str(root), splits=Splits(fold=4))
    assert [train.name(i) for i in range(len(train))] == [f"{i}.jpg" for i in (0, 1, 2, 3, 5, 7, 8)]
    assert "1 of 8 training images left out, the same file as one held out." in caplog.text
    assert len(VocBoxes("val", str(root), splits=Splits(fold=4))) == 2


def test_copies_are_found_by_their_bytes_and_not_names_or_dates(tmp_path: Path) -> None:
    files = {"a": b"1234", "b": b"1234", "c": b"1235", "d": b"12345", "e": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = {name: tmp_path / name for name in files}
    assert without_copies("train", [paths[name] for name in "abcde"], [0, 2, 3]) == [2, 3]
    assert without_copies("val", [paths[name] for name in "abcde"], [0, 2, 3]) == [0, 2, 3]
    assert without_copies("train", [paths["a"]], [0]) == [0]


def test_voc_lists_say_what_belongs_to_a_split(voc: Callable) -> None:
    root = voc({name: xml(TWO[:1]) for name in "abcd"})
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("c\na\n\n")
    (root / "ImageSets/Main/val.txt").write_text("b -1\n")
    data = VocBoxes("train", str(root))
    assert [data.name(i) for i in range(len(data))] == ["c.jpg", "a.jpg"]
    assert len(VocBoxes("val", str(root))) == 1
    with pytest.raises(MissingSplit, match=r"ImageSets/Main: no 'test'; there are train, val"):
        VocBoxes("test", str(root))
    (root / "ImageSets/Main/test.txt").write_text("d\nq\n")
    with pytest.raises(InputError, match=r"test\.txt, line 2: the annotation q\.xml is missing"):
        VocBoxes("test", str(root))


def test_hidden_files_do_not_shift_the_lists(voc: Callable, caplog: Any) -> None:
    root = voc({name: xml(TWO[:1]) for name in "ab"})
    (root / "annotations/._a.xml").write_text("a Mac's")
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("a")
    (root / "ImageSets/Main/val.txt").write_text("b")
    with caplog.at_level("INFO"):
        assert VocBoxes("train", str(root), splits=ALL).name(0) == "a.jpg"
    assert "ImageSets/Main has the splits, so `splits: {val: 0.0" in caplog.text
    assert VocBoxes("val", str(root)).name(0) == "b.jpg"


def test_the_image_is_what_exists_and_not_what_a_path_says(voc: Callable) -> None:
    root = voc({"a": xml(TWO[:1], filename="old-name.jpg"), "b": xml(TWO[:1], filename="photo.JPG")})
    (root / "images/b.jpg").rename(root / "images/photo.JPG")
    data = VocBoxes("train", str(root), splits=ALL)
    assert [data.name(i) for i in range(2)] == ["a.jpg", "photo.JPG"]


def test_given_class_names_keep_their_order(voc: Callable) -> None:
    root = voc({"a": xml(TWO[:1])})
    assert VocBoxes("train", str(root), splits=ALL, class_names=["dog", "cat"]).target(0)["label"] == 1
    with pytest.raises(InputError, match=r"a\.xml, object 1: class 'cat' is not one of \['dog', 'cow'\]"):
        VocBoxes("train", str(root), splits=ALL, class_names=["dog", "cow"])


ODD_BOXES = {
    "outside": (
        (-3, 2, 11, 12),
        r"box \[-3, 2, 11, 12\] .* is outside the image; the image is 40 pixels wide and 30 hi",
    ),
    "beyond": ((1, 2, 41, 12), "is outside the image.*set `boxes: clip`"),
    "far away": ((100, 100, 120, 120), "is outside the image"),
    "inverted": ((11, 2, 1, 12), "is inverted or has no area"),
    "zero": ((0, 0, 0, 0), "is inverted or has no area"),
    "a line": ((5, 2, 5.5, 12), "is inverted or has no area"),
    "nan": (("nan", 2, 11, 12), r"box \[nan, 2, 11, 12\] has values that are not finite"),
    "infinite": ((1, 2, "inf", 12), "not finite"),
    "text": (("left", 2, 11, 12), r"<bndbox> must have xmin, ymin, xmax and ymax as numbers; found \['left', '2'"),
    "empty": (("", 2, 11, 12), "as numbers"),
}


@pytest.mark.parametrize("fault", ODD_BOXES)
def test_an_odd_box_is_an_error_that_names_file_object_and_box(voc: Callable, fault: str) -> None:
    box, message = ODD_BOXES[fault]
    with pytest.raises(InputError, match=r"b\.xml, object 2: .*" + message):
        VocBoxes("train", str(voc({"a": xml(TWO), "b": xml([TWO[0], ("dog", box)])})), splits=ALL)


@pytest.mark.parametrize("fault", ["outside", "beyond", "far away", "inverted", "zero", "a line"])
def test_clip_mends_boxes_and_counts_them(voc: Callable, fault: str, caplog: Any) -> None:
    """Sets of blood cells have zero boxes, and XML files whose size is 0."""
    box, _ = ODD_BOXES[fault]
    root = voc({"a": xml([("cat", box)], size=(0, 0)), "b": xml(TWO[:1], size=(0, 0))})
    with caplog.at_level("INFO"):
        data = VocBoxes("train", str(root), boxes="clip", splits=ALL)
    expected = {"outside": [0, 2, 11, 12], "beyond": [1, 2, 40, 12]}
    if fault in expected:
        assert boxes(data) == [expected[fault], [1, 2, 11, 12]]
        assert "2 of 2 images are used; 1 box clipped to the image." in caplog.text
    else:
        assert boxes(data) == [[1, 2, 11, 12]]
        assert "1 box without area dropped, 1 left out without an object" in caplog.text


@pytest.mark.parametrize("box", [("nan", 2, 11, 12), (1, 2, "inf", 12)])
def test_clip_does_not_mend_what_is_not_finite(voc: Callable, box: tuple) -> None:
    with pytest.raises(InputError, match="not finite"):
        VocBoxes("train", str(voc({"a": xml([("cat", box)])})), boxes="clip", splits=ALL)


LAUGHS = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]>'
BROKEN_XML = {
    "entities": (xml([("&y;", (1, 2, 11, 12))], head=LAUGHS), "a document type"),
    "outside entity": (xml([], head='<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'), "a document type"),
    "cut": (xml(TWO)[:80], "not a Pascal VOC annotation"),
    "empty": ("", "not a Pascal VOC annotation"),
    "another root": ("<html/>", "<html> instead of <annotation>"),
    "unknown encoding": (xml(TWO, head='<?xml version="1.0" encoding="klingon"?>'), "not a Pascal VOC annotation"),
    "no name": (xml([("", (1, 2, 11, 12))]), "object 1: it has no <name>"),
    "no box": ("<annotation><object><name>cat</name></object></annotation>", "must have xmin"),
}


@pytest.mark.parametrize("fault", BROKEN_XML)
def test_a_broken_annotation_is_an_error_that_names_it(voc: Callable, fault: str) -> None:
    text, message = BROKEN_XML[fault]
    with pytest.raises(InputError, match=r"q\.xml") as raised:
        VocBoxes("train", str(voc({"q": text, "r": xml(TWO)})), splits=ALL)
    assert message in str(raised.value)


def test_a_huge_or_deep_annotation_is_refused(voc: Callable) -> None:
    root = voc({"a": xml(TWO)})
    (root / "annotations/a.xml").write_text("<annotation>" + " " * 11_000_000 + "</annotation>")
    with pytest.raises(InputError, match="more than 10,000,000 bytes"):
        VocBoxes("train", str(root), splits=ALL)
    (root / "annotations/a.xml").write_text("<annotation>" + "<a>" * 100_000)
    with pytest.raises(InputError, match="not a Pascal VOC annotation"):
        VocBoxes("train", str(root), splits=ALL)


def test_what_is_missing_in_a_voc_folder_is_said(voc: Callable, tmp_path: Path) -> None:
    root = voc({"a": xml(TWO), "b": xml(TWO, filename="gone.png")})
    (root / "images/b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.xml: no image b\.\* nor 'gone\.png' in .*images"):
        VocBoxes("train", str(root), splits=ALL)
    with pytest.raises(InputError, match=r"photos: no such folder"):
        VocBoxes("train", str(root), images="photos")
    with pytest.raises(InputError, match=r"nowhere: no such folder. `data\.dataset\.init_args\.root`"):
        VocBoxes("train", str(tmp_path / "nowhere"))
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"bare: no \.jpg files in JPEGImages, images, \.\. Name their folder"):
        VocBoxes("train", str(tmp_path / "bare"))
    with pytest.raises(InputError, match="no image with an object in 1 images"):
        VocBoxes("val", str(voc({"b": xml([])})), class_names=["cat"], splits=Splits(fold=1, folds=2))


def test_a_box_made_for_an_image_of_another_size_is_an_error(voc: Callable, caplog: Any) -> None:
    """A photo that was scaled, or is turned by its EXIF entry, after its boxes were drawn."""
    root = str(voc({"a": xml(TWO[:1]), "b": xml(TWO[1:], size=(HEIGHT, WIDTH))}))
    message = r"b\.xml, object 1: made for an image of 30 x 40 pixels; .*b\.jpg has 40 x 30, upright\. .*`boxes: clip`"
    with pytest.raises(InputError, match=message):
        VocBoxes("train", root, splits=ALL)
    with caplog.at_level("INFO"):
        data = VocBoxes("train", root, boxes="clip", splits=ALL)
    assert boxes(data) == [[1, 2, 11, 12], [5, 5, 30, 25]]
    assert "2 of 2 images are used; 1 of another size than stated." in caplog.text


def test_a_box_that_the_crop_cuts_away_is_an_error_that_names_the_image(voc: Callable) -> None:
    """The center square of a photo of 40 x 30 begins at the fifth column."""
    data = VocBoxes("train", str(voc({"a": xml(TWO[1:]), "b": xml([("dog", (0, 2, 5, 12))])})), splits=ALL)
    with pytest.raises(InputError, match=r"^b\.jpg: `resize: crop` cuts its box away\. Use `resize: letterbox`"):
        BatchDataset(data, EvalTransform(16, "crop"), {key: data.names(key) for key in ("label", "bbox")})[0, [0, 1]]


# COCO


def coco(images: list[dict], annotations: list[dict], categories: list[dict] | None = None) -> dict[str, Any]:
    categories = categories or [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Writes a JSON file and the images in it; returns the arguments of the dataset."""

    def write(content: Any, name: str = "boxes.json") -> dict[str, str]:
        for number, row in enumerate(content["images"]):
            path = tmp_path / "photos" / str(row.get("file_name"))
            if path.suffix and path.resolve().is_relative_to(tmp_path):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(path)
        (tmp_path / name).write_text(json.dumps(content))
        return {"annotations": str(tmp_path / name), "images": str(tmp_path / "photos")}

    return write


IMAGES = [{"id": 7, "file_name": "b.png"}, {"id": 2, "file_name": "x/a.png"}]


@pytest.mark.parametrize(
    ("height", "width", "wrong"), [(60, 80, True), (30, 40, False), (0, 0, False), (None, 1, False)]
)
def test_a_coco_image_of_another_size_than_stated_is_an_error(
    write_coco: Callable, height: Any, width: Any, wrong: bool
) -> None:
    arguments = write_coco(coco([IMAGES[0] | {"height": height, "width": width}], [mark()]))
    if wrong:
        with pytest.raises(InputError, match=r"annotation 5: made for an image of 80 x 60 pixels; .*b\.png has 40"):
            CocoBoxes("train", **arguments, splits=ALL)
    else:
        assert boxes(CocoBoxes("train", **arguments, splits=ALL)) == [[1, 2, 11, 22]]


def test_coco_annotations_that_are_there_twice_count_once(write_coco: Callable) -> None:
    outline = [[1, 2, 11, 2, 11, 22]]
    same = [mark(id=i, segmentation=outline, area=i) for i in range(3)]
    others = [mark(category=3, segmentation=outline), mark(segmentation=[[1, 2, 11, 2, 5, 22]]), mark(image=2)]
    arguments = write_coco(coco(IMAGES, [*same, *others, mark(segmentation=outline, bbox=(1, 2, 10, 21))]))
    with pytest.warns(
        UserWarning, match=r"boxes\.json: 2 annotations have the same image, class, box and outline as one"
    ):
        data = CocoBoxes("train", **arguments, splits=ALL)
    assert [len(data.objects(index)["labels"]) for index in range(2)] == [4, 1]


def test_voc_objects_that_are_there_twice_count_once(voc: Callable) -> None:
    with pytest.warns(UserWarning, match="3 objects have the same image, name and box as one before them"):
        data = VocBoxes("train", str(voc({"a": xml(TWO * 2), "b": xml([*TWO, TWO[0]])})), splits=ALL)
    assert [data.objects(index)["labels"].tolist() for index in range(2)] == [[1, 0], [1, 0]]  # the larger one first


@pytest.mark.parametrize("name", ["photos\\gone.png", "..\\..\\gone.png", "C:\\photos\\gone.png"])
def test_a_path_of_windows_without_a_file_is_an_error_that_speaks_of_backslashes(
    write_coco: Callable, write_table: Callable, voc: Callable, tmp_path: Path, name: str
) -> None:
    text = r"Backslashes, as Windows writes them, are read as slashes; correct the folders"
    arguments = write_coco(coco(IMAGES, [mark()]))
    (tmp_path / "boxes.json").write_text(json.dumps(coco([{"id": 7, "file_name": name}], [mark()])))
    with pytest.raises(InputError, match=rf"image 7: .*gone\.png.* {text}"):
        CocoBoxes("train", **arguments, splits=ALL)
    with pytest.raises(InputError, match=rf"line 2: .*gone\.png.* {text}"):
        CsvTable("train", write_table(f"{name},cat,1,1,9,9"), splits=ALL)
    root = voc({"a": xml(TWO)})
    (root / "annotations/b.xml").write_text(xml(TWO, name))
    with pytest.raises(InputError, match=r"b\.xml: no image b\.\* nor 'gone\.png', the end of a path with backslashes"):
        VocBoxes("train", str(root), splits=ALL)


def mark(image: Any = 7, category: Any = 18, bbox: Any = (1, 2, 10, 20), **more: Any) -> dict[str, Any]:
    return {"id": 5, "image_id": image, "category_id": category, "bbox": bbox, **more}


def test_coco_boxes_become_corners_and_gaps_in_the_ids_close(write_coco: Callable) -> None:
    marks = [mark(2, 3, [0, 0, 4.5, 3]), mark(), mark(bbox=[0, 0, 40, 30], iscrowd=1)]
    data = CocoBoxes("train", **write_coco(coco(IMAGES, marks)), splits=ALL)
    assert data.class_names == ["cat", "dog"]
    assert [data.name(i) for i in range(2)] == ["b.png", "x/a.png"]
    assert boxes(data) == [[1, 2, 11, 22], [0, 0, 4.5, 3]]
    assert data.labels().tolist() == [1, 0]


def test_coco_may_have_one_file_a_split(write_coco: Callable, tmp_path: Path) -> None:
    for split, bbox in (("train", [1, 1, 5, 5]), ("val", [2, 2, 6, 6])):
        write_coco(coco(IMAGES[:1], [mark(bbox=bbox)]), f"instances_{split}.json")
    arguments = {"annotations": str(tmp_path / "instances_{split}.json"), "images": str(tmp_path / "photos")}
    assert boxes(CocoBoxes("train", **arguments)) == [[1, 1, 6, 6]]
    assert boxes(CocoBoxes("val", **arguments)) == [[2, 2, 8, 8]]
    with pytest.raises(MissingSplit, match=r"instances_\{split\}\.json: no 'test'; there are train, val"):
        CocoBoxes("test", **arguments)
    with pytest.raises(InputError, match=r"no_train\.json: no such file, nor one of another split"):
        CocoBoxes("train", str(tmp_path / "no_{split}.json"), str(tmp_path))


def test_files_of_other_classes_do_not_go_together(write_coco: Callable, tmp_path: Path) -> None:
    for split, name in (("train", "cat"), ("val", "emu")):
        write_coco(coco(IMAGES[:1], [mark()], [{"id": 18, "name": name}]), f"instances_{split}.json")
    arguments = {"annotations": str(tmp_path / "instances_{split}.json"), "images": str(tmp_path / "photos")}
    with pytest.raises(InputError, match=r"val\.json, annotation 5: category 'emu' is not in .*train\.json, which has"):
        VisionDataModule(partial(CocoBoxes, **arguments), 32).val_dataloader()


ODD_COCO = {
    "image id": (coco(IMAGES, [mark(image=1)]), "annotation 5: image_id 1 is not an id of this file"),
    "category id": (coco(IMAGES, [mark(category=1)]), "annotation 5: category_id 1 is not an id"),
    "null id": (coco(IMAGES, [mark(image=None)]), "image_id None"),
    "image twice": (coco([*IMAGES, IMAGES[0]], [mark()]), "the image id 7 occurs twice"),
    "category twice": (coco(IMAGES, [mark()], [{"id": 18, "name": "a"}] * 2), "the category id 18 occurs twice"),
    "one name": (coco(IMAGES, [mark()], [{"id": i, "name": "a"} for i in (18, 2)]), "two categories share a name"),
    "no categories": ({"images": IMAGES, "annotations": []}, "'categories' must be a list of objects"),
    "empty categories": (coco(IMAGES, []) | {"categories": []}, "the file has no category"),
    "no name": (coco([{"id": 7}], [mark()]), "image 7 must have an id and a file_name"),
    "outside": (
        coco(IMAGES, [mark(bbox=[30, 2, 11, 20])]),
        r"annotation 5: box \[30, 2, 41, 22\] .* is outside the image",
    ),
    "negative": (coco(IMAGES, [mark(bbox=[5, 2, -3, 20])]), "is inverted or has no area"),
    "short": (coco(IMAGES, [mark(bbox=[5, 2, 3])]), r"bbox must be four numbers.*found \[5, 2, 3\]"),
    "absent": (coco(IMAGES, [mark(bbox=None)]), "bbox must be four numbers"),
    "nan": (coco(IMAGES, [mark(bbox=[5, 2, float("nan"), 3])]), "not finite"),
    "leaves": (coco([{"id": 7, "file_name": "../../x.png"}], [mark()]), r"image 7: '\.\./\.\./x\.png' leaves"),
}


@pytest.mark.parametrize("fault", ODD_COCO)
def test_an_odd_coco_file_is_an_error_that_names_the_entry(write_coco: Callable, fault: str) -> None:
    content, message = ODD_COCO[fault]
    with pytest.raises(InputError, match=r"boxes\.json.*" + message):
        CocoBoxes("train", **write_coco(content), splits=ALL)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[1]", "\xff"])
def test_what_is_no_coco_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, "latin-1")
    with pytest.raises(InputError, match=r"a\.json: not (JSON|a COCO file)"):
        CocoBoxes("train", str(tmp_path / "a.json"), str(tmp_path))


# CSV and Oxford-IIIT Pet


def dangle(path: Path) -> str:
    """Replaces a file by a link to nowhere, and returns its name."""
    path.unlink(missing_ok=True)
    path.symlink_to(path.parent / "nowhere")
    return path.name


@pytest.mark.parametrize(
    ("split", "name"),
    [("train", "annotations/a.xml"), ("train", "images/a.jpg"), ("train", "images/d.jpg"), ("val", "images/d.jpg")],
)
def test_a_link_to_nowhere_in_a_voc_folder_is_an_error_that_names_it(voc: Callable, split: str, name: str) -> None:
    """The image d is held out: training compares its bytes."""
    root = voc({stem: xml(TWO[:1], size=(0, 0)) for stem in "abcd"})
    name = dangle(root / name)

    def read(part: str) -> None:
        data = VocBoxes(part, str(root), splits=Splits(fold=3))
        [data[index] for index in range(len(data))]

    with pytest.raises(InputError, match=name):
        read(split)


def test_a_link_to_nowhere_in_a_coco_file_or_a_table_is_an_error_that_names_it(
    write_coco: Callable, write_table: Callable, tmp_path: Path
) -> None:
    files = write_coco(coco([{"id": i, "file_name": f"{i}.png"} for i in range(5)], []))
    name = dangle(tmp_path / "photos/4.png")
    with pytest.raises(InputError, match=rf"image 4: no such file: .*{name}"):
        CocoBoxes("train", **files)
    with pytest.raises(InputError, match=dangle(tmp_path / "boxes.json")):
        CocoBoxes("train", **files)
    path = write_table("a.png,cat,1,1,9,9", "b.png,dog,1,1,9,9")
    dangle(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"line 3: no such file: .*b\.png"):
        CsvTable("train", path, splits=ALL)
    with pytest.raises(InputError, match=dangle(tmp_path / "table.csv")):
        CsvTable("train", path, splits=ALL)


@pytest.mark.parametrize("name", ["loop.png", "a" * 300 + ".png"])
def test_a_path_that_the_system_refuses_is_an_error_that_names_it(
    write_table: Callable, tmp_path: Path, name: str
) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(InputError, match=rf"line 2: no such file: .*{name}"):
        CsvTable("train", write_table(f"{name},cat,1,1,9,9"), splits=ALL)


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[..., str]:
    def write(*rows: str, header: str = "path,label,xmin,ymin,xmax,ymax") -> str:
        for number, name in enumerate("abcd"):
            Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(tmp_path / f"{name}.png")
        (tmp_path / "table.csv").write_text("\n".join([header, *rows]))
        return str(tmp_path / "table.csv")

    return write


def test_csv_rows_of_one_image_are_its_objects(write_table: Callable) -> None:
    path = write_table("a.png,cat,1,2,11,12", "b.png,dog,,,,", "a.png,dog,5,5,30,25")
    data = CsvTable("train", path, splits=ALL)
    assert [data.name(i) for i in range(len(data))] == ["a.png", "b.png"]
    assert data.target(0)["label"] == 1
    assert data.target(0)["bbox"].tolist() == [5, 5, 30, 25]
    assert data.target(1) == {"label": 1}
    assert len(CsvTable("train", path, splits=ALL, objects="skip")) == 1


def test_csv_with_boxes_may_have_one_class(write_table: Callable) -> None:
    assert CsvTable("train", write_table("a.png,cat,1,2,11,12"), splits=ALL).class_names == ["cat"]


def test_csv_rows_of_one_image_are_in_one_split(write_table: Callable) -> None:
    header = "path,label,xmin,ymin,xmax,ymax,split"
    path = write_table("a.png,cat,1,2,11,12,train", "a.png,dog,5,5,30,25,val", header=header)
    with pytest.raises(InputError, match=r"table\.csv, line 3: path 'a\.png' is in val and in train"):
        CsvTable("train", path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,cat,1,2,41,12", r"\[1, 2, 41, 12\] .* is outside the image"),
        ("a.png,cat,1,2,,12", "ymax must be numbers, or all be empty"),
        ("a.png,cat,1,2,x,12", "must be numbers"),
        ("a.png,cat,1,2,nan,12", "not finite"),
    ],
)
def test_an_odd_csv_box_is_an_error_that_names_the_row(write_table: Callable, row: str, message: str) -> None:
    with pytest.raises(InputError, match=r"table\.csv, line 2: .*" + message):
        CsvTable("train", write_table(row), splits=ALL)


def test_pet_head_boxes_are_added_where_there_are_any(tmp_path: Path) -> None:
    home = tmp_path / "oxford-iiit-pet"
    (home / "images").mkdir(parents=True)
    (home / "annotations/xmls").mkdir(parents=True)
    lines = []
    for i in range(6):
        name = f"{('Abyssinian', 'beagle')[i % 2]}_{i}"
        Image.new("RGB", (WIDTH, HEIGHT), (i, 0, 0)).save(home / "images" / f"{name}.jpg")
        lines.append(f"{name} {i % 2 + 1} {i % 2 + 1} 1")
        if i < 3:
            (home / "annotations/xmls" / f"{name}.xml").write_text(xml(TWO[: i + 1]))
    (home / "annotations/trainval.txt").write_text("\n".join(lines))
    plain, boxed = (
        OxfordIIITPet("train", str(tmp_path), "species", splits=ALL, head_boxes=head_boxes)
        for head_boxes in (False, True)
    )
    assert all("bbox" not in plain.target(i) for i in range(6))
    assert {boxed.name(i) for i in range(6) if "bbox" in boxed.target(i)} == {
        "Abyssinian_0.jpg",
        "beagle_1.jpg",
        "Abyssinian_2.jpg",
    }
    heads = OxfordIIITPet("train", str(tmp_path), "species", splits=ALL, head_boxes=True, objects="all")
    known = {heads.name(i): heads.target(i).get("objects") for i in range(6)}
    assert [len(found["labels"]) for found in known.values() if found] == [1, 2, 2]
    assert known["beagle_1.jpg"]["labels"].tolist() == [1, 1]
    assert "bbox" not in heads.target(0)
    assert sorted(boxed.target(i)["bbox"].tolist() for i in range(6) if "bbox" in boxed.target(i)) == [
        [1, 2, 11, 12],
        [5, 5, 30, 25],
        [5, 5, 30, 25],
    ]
    assert boxed.size(0) == (HEIGHT, WIDTH)


# what the data module tells a head


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_the_summary_has_the_boxes_as_a_batch_has_them(voc: Callable, resize: Any) -> None:
    root = voc({"a": xml([("cat", (4, 3, 20, 15))]), "b": xml([("dog", (0, 0, 40, 30))])})
    data = VisionDataModule(partial(VocBoxes, root=str(root), splits=ALL), 16, resize, "none")
    (batch,) = data.loader("train")
    found = data.summary("bbox")
    assert set(found) == {"boxes"}
    assert found["boxes"].dtype == np.float32
    np.testing.assert_allclose(found["boxes"], batch["bbox"], atol=1e-6)


def test_the_fingerprint_changes_with_a_box(voc: Callable) -> None:
    prints = {
        VocBoxes("train", str(voc({"a": xml([("cat", box)])})), splits=ALL).fingerprint()
        for box in ((1, 2, 11, 12), (1, 2, 11, 13))
    }
    assert len(prints) == 2


# the real sets


def test_real_raccoons_are_read_by_folds(shared_data: Path, caplog: Any) -> None:
    with caplog.at_level("INFO"):
        sizes = [
            len(VocBoxes(split, str(shared_data / "raccoon"), objects="skip", splits=Splits(fold=4)))
            for split in ("train", "val")
        ]
    assert sizes == [144, 38]
    assert "2 of 160 training images left out, the same file as one held out" in caplog.text


def test_real_pet_heads_are_read(shared_data: Path) -> None:
    root = str(shared_data / "pets3/oxford-iiit-pet")
    assert len(VocBoxes("train", root, splits=ALL)) == 296
    assert VocBoxes("val", root, splits=Splits(fold=4)).class_names == ["cat", "dog"]
