"""Sets of masks: COCO's segmentations, the trimaps of Oxford-IIIT Pet, Pascal VOC."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from PIL import Image
from pycocotools import mask as coco_mask

from visiontasks.core.errors import InputError
from visiontasks.data import CocoBoxes, CocoMasks, OxfordIIITPet, Splits, VisionDataset, VOCSegmentation
from visiontasks.data.datasets.regions import _unpacked
from visiontasks.data.splits import MissingSplit

ALL = Splits(val=0.0)
HEIGHT, WIDTH = 6, 8


def names(data: VisionDataset) -> list[str]:
    return [data.name(index) for index in range(len(data))]


def check_sample(data: VisionDataset, index: int) -> np.ndarray:
    """Reads a sample, checks what holds for all, and returns its mask."""
    sample = data[index]
    assert sample["index"] == index
    assert sample["image"].shape == (*sample["size"], 3)
    assert sample["mask"].shape == sample["size"] == data.size(index)
    assert sample["image"].dtype == sample["mask"].dtype == np.uint8
    assert sample["mask"].flags.c_contiguous
    assert set(np.unique(sample["mask"])) <= {*range(len(data.mask_names)), 255}
    return sample["mask"]


# COCO


def coco(*annotations: dict, images: list[dict] | None = None, categories: list[dict] | None = None) -> dict[str, Any]:
    return {
        "images": images or [{"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": list(annotations),
        "categories": categories or [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


def mark(segmentation: Any, category: Any = 18, image: Any = 7, **more: Any) -> dict[str, Any]:
    return {"id": 5, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


def rectangle(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def pixels(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    found = np.zeros((HEIGHT, WIDTH), bool)
    found[y1:y2, x1:x2] = True
    return found


def lengths(found: np.ndarray) -> list[int]:
    """The runs of a mask, column by column, the first of them outside."""
    runs, inside = [0], False
    for pixel in found.T.ravel().tolist():
        if pixel != inside:
            runs.append(0)
            inside = pixel
        runs[-1] += 1
    return runs


def plain(found: np.ndarray) -> dict[str, Any]:
    return {"size": list(found.shape), "counts": lengths(found)}


def packed(found: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(found, np.uint8))
    return {"size": list(found.shape), "counts": rle["counts"].decode()}


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Writes a JSON file and the images in it; returns the arguments of the dataset."""

    def write(content: dict[str, Any], name: str = "masks.json") -> dict[str, str]:
        for row in content["images"]:
            path = tmp_path / "photos" / row["file_name"]
            if path.resolve().is_relative_to(tmp_path):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        (tmp_path / name).write_text(json.dumps(content))
        return {"annotations": str(tmp_path / name), "images": str(tmp_path / "photos")}

    return write


@pytest.fixture
def read_coco(write_coco: Callable) -> Callable[..., np.ndarray]:
    """The mask of the only image of a file with these annotations."""
    return lambda *annotations: check_sample(CocoMasks("train", **write_coco(coco(*annotations)), splits=ALL), 0)


@pytest.mark.parametrize("form", [lambda *corners: [rectangle(*corners)], *[
    lambda *corners, kind=kind: kind(pixels(*corners)) for kind in (plain, packed)
]], ids=["polygon", "RLE", "compressed RLE"])  # fmt: skip
@pytest.mark.parametrize("corners", [(1, 2, 5, 4), (0, 0, 8, 6), (7, 5, 8, 6), (0, 3, 1, 6)])
def test_every_form_of_a_segmentation_gives_its_pixels(
    read_coco: Callable, form: Callable, corners: tuple[int, int, int, int]
) -> None:
    assert (read_coco(mark(form(*corners))) == 2 * pixels(*corners)).all()


def test_classes_are_background_and_the_categories_by_id(write_coco: Callable) -> None:
    """The ids have gaps and stand in another order in the file."""
    first, second = pixels(0, 0, 2, 2), pixels(4, 1, 8, 6)
    data = CocoMasks("train", **write_coco(coco(mark(plain(first), 3), mark(packed(second), 18))), splits=ALL)
    assert (data.class_names, data.mask_names) == ([], ["background", "cat", "dog"])
    assert names(data) == ["a.png"]
    assert data[0].keys() == {"image", "mask", "index", "size"}
    assert (check_sample(data, 0) == first + 2 * second).all()


def test_an_object_may_have_several_polygons_that_overlap(read_coco: Callable) -> None:
    """What stands in two polygons of one object belongs to it."""
    mask = read_coco(mark([rectangle(0, 0, 4, 3), rectangle(2, 1, 6, 5)], 3))
    assert (mask == (pixels(0, 0, 4, 3) | pixels(2, 1, 6, 5))).all()


@pytest.mark.parametrize("turned", [False, True])
def test_the_smaller_of_two_objects_lies_on_top(read_coco: Callable, turned: bool) -> None:
    """By its pixels, whatever `area` and the order in the file say."""
    large, small = pixels(0, 0, 6, 5), pixels(4, 3, 8, 6)
    marks = [mark(plain(large), 3, area=1), mark([rectangle(4, 3, 8, 6)], 18, area=99)]
    expected = np.where(small, 2, large)
    assert (read_coco(*marks[:: -1 if turned else 1]) == expected).all()


@pytest.mark.parametrize("turned", [False, True])
def test_a_crowd_is_ignored_where_no_object_lies(read_coco: Callable, turned: bool) -> None:
    """It is smaller than the object here."""
    crowd, thing = pixels(5, 0, 7, 2), pixels(0, 0, 6, 5)
    marks = [mark(plain(crowd), iscrowd=1), mark(packed(thing), 3, iscrowd=0)]
    mask = read_coco(*marks[:: -1 if turned else 1])
    assert (mask == np.where(thing, 1, 255 * crowd)).all()


def test_a_polygon_is_cut_at_the_frame(read_coco: Callable) -> None:
    assert (read_coco(mark([rectangle(-3, 4, 3, 9)], 3)) == pixels(0, 4, 3, 6)).all()


def test_an_object_of_less_than_a_pixel_leaves_no_trace(read_coco: Callable) -> None:
    assert not read_coco(mark([rectangle(1.1, 1.1, 1.2, 1.2)])).any()


def test_images_without_annotations_are_background(write_coco: Callable) -> None:
    images = [{"id": i, "file_name": f"{i}.png"} for i in (1, 2)]
    data = CocoMasks("train", **write_coco(coco(mark([rectangle(0, 0, 2, 2)], image=2), images=images)), splits=ALL)
    assert [check_sample(data, index).sum() for index in range(2)] == [0, 8]


def test_the_splits_are_those_of_the_boxes(write_coco: Callable, tmp_path: Path, caplog: Any) -> None:
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(8)]
    marks = [mark([rectangle(0, 0, 2, 2)], (3, 18)[i % 2], i, bbox=[0, 0, 2, 2]) for i in range(8)]
    arguments = write_coco(coco(*marks, images=images))
    for i in range(8):
        Image.new("RGB", (WIDTH, HEIGHT), (i, 0, 0)).save(tmp_path / "photos" / f"{i}.png")
    for splits in (Splits(val=0.25, test=0.25), Splits(fold=1, folds=4)):
        for split, count in (("train", 4 if splits.test else 6), ("val", 2)):
            found = names(CocoMasks(split, **arguments, splits=splits))
            assert found == names(CocoBoxes(split, **arguments, splits=splits))
            assert len(found) == count
    Image.new("RGB", (WIDTH, HEIGHT), (1, 0, 0)).save(tmp_path / "photos/4.png")
    with caplog.at_level("INFO"):
        found = names(CocoMasks("train", **arguments, splits=Splits(fold=1, folds=4)))
    assert found == ["0.png", "2.png", "3.png", "6.png", "7.png"]
    assert "1 of 6 training images left out, the same file as one held out." in caplog.text
    write_coco(coco(images=images[:3]), "val.json")
    arguments["annotations"] = str(tmp_path / "{split}.json")
    assert names(CocoMasks("val", **arguments)) == ["0.png", "1.png", "2.png"]
    with pytest.raises(MissingSplit, match=r"json: no 'train'; there are val"):
        CocoMasks("train", **arguments)


BOX = rectangle(0, 0, 2, 2)
ODD = {
    "image id": ([mark([BOX], image=1)], "annotation 5: image_id 1 is not an id of this file. Correct it or remove"),
    "category id": ([mark([BOX], category="dog")], "annotation 5: category_id 'dog' is not an id of this file"),
    "absent": (
        [{"id": 5, "image_id": 7, "category_id": 3}],
        "annotation 5: segmentation must be a list of polygons, or an RLE with size and counts; found None. Add it",
    ),
    "empty": ([mark([])], r"found \[\]\. .* If the file has only boxes, use `CocoBoxes`"),
    "text": ([mark("0 0 1 1")], "found '0 0 1 1'"),
    "odd": (
        [mark([BOX, BOX[:7]])],
        r"annotation 5: a polygon must be x, y, .* even number of at least 6 finite numbers; found 7 numbers: \[0, 0,",
    ),
    "a line": ([mark([BOX[:4]])], r"found 4 numbers: \[0, 0, 2, 0\]\. Correct or remove it"),
    "flat": ([mark(BOX)], "found 0 numbers: 0"),
    "points": ([mark([[[0, 0], [2, 2], [0, 2]]])], r"found 0 numbers: \[\[0, 0\]"),
    "ragged": ([mark([[0, 0, 2, [2], 0, 2]])], "found 0 numbers"),
    "words": ([mark([["0", "0", "2", "2", "0", "2"]])], "found 0 numbers: .'0'"),
    "null": ([mark([None])], "found 0 numbers: None"),
    "nan": ([mark([[*BOX[:6], float("nan"), 0]])], "6 finite numbers; found nan"),
    "infinite": ([mark([[*BOX[:6], 0, float("inf")]])], "6 finite numbers; found inf"),
    "beyond double": ([mark([[*BOX[:6], 0, 10**400]])], "found 0 numbers"),
    "far": (
        [mark([rectangle(0, 0, 2e8, 3)])],
        r"annotation 5: the polygon reaches from x = 0, y = 0 to 2e\+08, 3, and the image has 8 x 6 pixels\. Export it",
    ),
    "huge": ([mark([rectangle(-1e300, 0, 2, 3)])], r"reaches from x = -1e\+300"),
    "below": ([mark([rectangle(0, 0, 2, 13)])], "to 2, 13, and"),
    "left": ([mark([rectangle(-9, 0, 2, 3)])], "reaches from x = -9"),
    "before": ([mark([rectangle(0, -7, 2, 3)])], "reaches from x = 0, y = -7 to 2, 3"),
    "size": (
        [mark(plain(np.ones((8, 6), bool)))],
        r"the RLE has size \[8, 6\], and the image \[height, width\] = \[6, 8\]\. Export it for this image",
    ),
    "no size": ([mark({"counts": [48]})], "the RLE has size None"),
    "no counts": ([mark({"size": [6, 8]})], "the RLE's counts must be lengths of runs, .* found None. Export it again"),
    "long": ([mark({"size": [6, 8], "counts": [40, 9]})], r"with the sum 6 x 8 = 48; found \[40, 9\]"),
    "short": ([mark({"size": [6, 8], "counts": [40, 7]})], r"found \[40, 7\]"),
    "negative": ([mark({"size": [6, 8], "counts": [50, -2]})], r"found \[50, -2\]"),
    "fractions": ([mark({"size": [6, 8], "counts": [40.0, 8.0]})], r"found \[40\.0, 8\.0\]"),
    "around": ([mark({"size": [6, 8], "counts": [2**63 - 1, 2**63 - 1, 50]})], "found .9223372036854775807"),
    "leaves": (
        [],
        r"masks\.json, image 7: '\.\./\.\./a\.png' leaves",
        {"images": [{"id": 7, "file_name": "../../a.png"}]},
    ),
    "background": (
        [],
        r"masks\.json: a category is named 'background', like pixels without one\. Rename it",
        {"categories": [{"id": 0, "name": "background"}, {"id": 1, "name": "dog"}]},
    ),
    "many": (
        [],
        "255 categories; a mask can have 254",
        {"categories": [{"id": i, "name": str(i)} for i in range(255)]},
    ),
}


@pytest.mark.parametrize("fault", ODD)
def test_an_odd_segmentation_is_an_error_that_names_it(write_coco: Callable, fault: str) -> None:
    annotations, message, more = (*ODD[fault], {})[:3]
    with pytest.raises(InputError, match=message) as error:
        CocoMasks("train", **write_coco(coco(*annotations, **more)), splits=ALL)
    assert "masks.json" in str(error.value)


@pytest.mark.parametrize("text", ["", "o", "ooooooo0", "0ooo", "11", "`2", "`1`", "0\0", "é", "0N", "`1OO", "0" * 7])
def test_a_broken_compressed_rle_is_an_error(write_coco: Callable, text: str) -> None:
    """pycocotools shows memory of others where runs are missing, and reads and writes beyond a string cut short."""
    with pytest.raises(InputError, match="annotation 5: the RLE's counts must be"):
        CocoMasks("train", **write_coco(coco(mark({"size": [6, 8], "counts": text}))), splits=ALL)


def test_the_lengths_in_a_string_are_those_that_pycocotools_packed() -> None:
    rng = np.random.default_rng(0)
    for height, width, share in [(1, 1, 1), (1, 1, 0), (5, 7, 0.5), (300, 400, 0.01), (400, 300, 0.5), (1200, 500, 1)]:
        found = rng.random((height, width)) < share
        found[: height // 3] = False
        assert _unpacked(packed(found)["counts"]).tolist() == lengths(found)


def test_garbled_strings_are_refused_or_have_the_right_sum(write_coco: Callable) -> None:
    rng = np.random.default_rng(0)
    good = packed(rng.random((HEIGHT, WIDTH)) < 0.3)["counts"]
    arguments = write_coco(coco())
    refused = 0
    for _ in range(200):
        text = list(good)
        text[rng.integers(len(text))] = chr(rng.integers(32, 127))
        content = coco(mark({"size": [HEIGHT, WIDTH], "counts": "".join(text)}))
        Path(arguments["annotations"]).write_text(json.dumps(content))
        try:
            check_sample(CocoMasks("train", **arguments, splits=ALL), 0)
        except InputError:
            refused += 1
    assert refused > 100


def test_an_endless_outline_is_an_error(write_coco: Callable) -> None:
    images = [{"id": 7, "file_name": "a.png", "height": 10**7, "width": 10**7}]
    with pytest.raises(InputError, match=r"annotation 5: the polygon's outline is 20,000,001 pixels long, limit"):
        CocoMasks("train", **write_coco(coco(mark([[0, 0, 0, 10**7, 1, 0]]), images=images)), splits=ALL)


def test_an_image_of_another_size_than_stated_is_an_error_when_it_is_read(write_coco: Callable) -> None:
    images = [{"id": 7, "file_name": "a.png", "height": HEIGHT, "width": 9}]
    data = CocoMasks("train", **write_coco(coco(mark([BOX]), images=images)), splits=ALL)
    with pytest.raises(InputError, match=r"masks\.json, image 7: 9 x 6 pixels; .*a\.png has 8 x 6, upright\. Export"):
        data[0]


# Oxford-IIIT Pet

PETS = {"Abyssinian": (1, 1), "american_bulldog": (2, 2), "Bengal": (6, 1)}  # class id and species, as published
COUNTS = {"trainval": 10, "test": 5}
XML = """<annotation><filename>{}</filename><object><name>cat</name>
<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"""


@pytest.fixture
def pets(tmp_path: Path, write_image: Callable[..., Path]) -> str:
    """Ten images of each breed in trainval, five in test; trimaps of all, and the heads of half of trainval."""
    notes = tmp_path / "oxford-iiit-pet/annotations"
    for folder in ("trimaps", "xmls"):
        (notes / folder).mkdir(parents=True)
    trimap = np.full((15, 20), 2, np.uint8)
    trimap[3:9, 4:12] = 3
    trimap[4:8, 5:11] = 1
    for part, count in COUNTS.items():
        lines = []
        for breed, ids in PETS.items():
            for i in range(count):
                name = f"{breed}_{part}{i}"
                write_image(tmp_path / f"oxford-iiit-pet/images/{name}.jpg", size=(20, 15))
                Image.fromarray(trimap).save(notes / f"trimaps/{name}.png")
                if part == "trainval" and i % 2:
                    (notes / f"xmls/{name}.xml").write_text(XML.format(f"{name}.jpg"))
                lines.append("{} {} {} 1\n".format(name, *ids))
        (notes / f"{part}.txt").write_text("".join(lines))
    return str(tmp_path)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_trimaps_are_masks_of_background_and_animal(pets: str, split: str) -> None:
    expected = np.zeros((15, 20), np.uint8)
    expected[3:9, 4:12] = 255
    expected[4:8, 5:11] = 1
    data = OxfordIIITPet(split, pets, trimaps=True)
    assert data.mask_names == ["background", "animal"]
    for index in range(len(data)):
        assert (check_sample(data, index) == expected).all()


def test_a_pet_without_trimaps_has_no_mask(pets: str) -> None:
    data = OxfordIIITPet("train", pets)
    assert not data.mask_names
    assert data[0].keys() == {"image", "label", "index", "size"}


@pytest.mark.parametrize("parts", ["published", "all"])
def test_breed_head_and_trimap_go_together(pets: str, parts: Any) -> None:
    data = OxfordIIITPet("train", pets, head_boxes=True, trimaps=True, parts=parts, splits=ALL)
    assert len(data) == (30 if parts == "published" else 45)
    with_box = [index for index in range(len(data)) if "bbox" in data.target(index)]
    assert len(with_box) == 15
    for index in range(len(data)):
        sample = data[index]
        assert sample.keys() - {"bbox"} == {"image", "label", "mask", "index", "size"}
        assert ("bbox" in sample) == (
            Path(pets, f"oxford-iiit-pet/annotations/xmls/{data.name(index)[:-4]}.xml").exists()
        )
    assert data[with_box[0]]["bbox"].tolist() == [2, 1, 9, 8]


@pytest.mark.parametrize("classes", ["breed", "species"])
@pytest.mark.parametrize("splits", [Splits(val=0.2, test=0.2), Splits(fold=2)])
def test_all_pets_are_divided_by_splits(pets: str, classes: Any, splits: Splits) -> None:
    published = OxfordIIITPet("train", pets, classes)
    every = [*PETS] if classes == "breed" else [1, 2]
    found = []
    for split, count in (("train", 27), ("val", 9), ("test", 9)) if splits.test else (("train", 36), ("val", 9)):
        data = OxfordIIITPet(split, pets, classes, splits=splits, parts="all")
        assert len(data) == count
        assert data.class_names == published.class_names
        breeds = [name.rsplit("_", 1)[0] for name in names(data)]
        expected = breeds if classes == "breed" else [PETS[breed][1] for breed in breeds]
        assert [every[label] for label in data.labels()] == expected
        assert {"_test" in name for name in names(data)} == {True, False}
        found += names(data)
    assert sorted(found) == sorted(f"{b}_{part}{i}.jpg" for b in PETS for part, n in COUNTS.items() for i in range(n))


def test_all_pets_without_a_share_for_test_have_no_test_split(pets: str) -> None:
    with pytest.raises(MissingSplit, match="the test split is empty: 45 samples"):
        OxfordIIITPet("test", pets, parts="all")
    with pytest.raises(InputError, match=r"splits\.test: 0\.2, but OxfordIIITPet has a test part of its own"):
        OxfordIIITPet("train", pets, splits=Splits(test=0.2))


def test_all_pets_of_breeds_that_only_test_has_are_refused(pets: str) -> None:
    path = Path(pets, "oxford-iiit-pet/annotations/test.txt")
    path.write_text(path.read_text().replace("Bengal", "Birman").replace(" 6 ", " 7 "))
    with pytest.raises(InputError, match=r"\['Birman'\] in test\.txt, but not in trainval\.txt"):
        OxfordIIITPet("train", pets, parts="all")


def test_a_missing_trimap_is_an_error_that_names_the_file(pets: str) -> None:
    data = OxfordIIITPet("test", pets, trimaps=True)
    Path(pets, "oxford-iiit-pet/annotations/trimaps/Abyssinian_test0.png").unlink()
    with pytest.raises(InputError, match=r"annotations/trimaps/Abyssinian_test0\.png: no such file"):
        data[0]


def test_real_trimaps_are_read(shared_data: Path) -> None:
    root = shared_data / "pets3"
    if not root.is_dir():
        pytest.skip("no pets3")
    sizes = {}
    for split, parts in (("train", "published"), ("test", "published"), ("train", "all")):
        data = OxfordIIITPet(split, str(root), trimaps=True, parts=parts, splits=ALL)
        sizes[split, parts] = len(data)
    assert list(sizes.values()) == [300, 298, 598]
    counts = np.sum([np.bincount(check_sample(data, i).ravel(), minlength=256) for i in range(0, 598, 20)], 0)
    assert np.flatnonzero(counts).tolist() == [0, 1, 255]
    assert counts[0] > counts[1] > counts[255] > 0


# Pascal VOC

CLASSES = np.array([[0, 1, 20], [255, 15, 0]], np.uint8)


def write_voc(root: Path, folder: str = "VOCdevkit/VOC2012", **lists: list[str]) -> None:
    """Images and palette masks; the lists name some of them."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("2007_000032", "2007_000039", "2008_000007", "2008_unmarked"):
        Image.new("RGB", (3, 2)).save(root / folder / f"JPEGImages/{name}.jpg")
        if name != "2008_unmarked":
            image = Image.fromarray(CLASSES, "P")
            image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
            image.save(root / folder / f"SegmentationClass/{name}.png")
    for split, listed in lists.items():
        (root / folder / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(listed) + "\n")


def test_voc_is_read_by_its_lists(tmp_path: Path) -> None:
    write_voc(tmp_path, train=["2008_000007", "2007_000032"], val=["2007_000039"])
    for split, listed in (("train", ["2008_000007", "2007_000032"]), ("val", ["2007_000039"])):
        data = VOCSegmentation(split, str(tmp_path))
        assert names(data) == [f"JPEGImages/{name}.jpg" for name in listed]
        for index in range(len(data)):
            assert (check_sample(data, index) == CLASSES).all()
    assert len(data.mask_names) == 21
    assert [data.mask_names[i] for i in (0, 1, 15, 20)] == ["background", "aeroplane", "person", "tvmonitor"]
    assert data.class_names == []
    with pytest.raises(MissingSplit, match=r"ImageSets/Segmentation/\{split\}\.txt: no 'test'; there are train, val"):
        VOCSegmentation("test", str(tmp_path))


@pytest.mark.parametrize(("year", "folder"), [(2007, "VOCdevkit/VOC2007"), (2011, "TrainVal/VOCdevkit/VOC2011")])
def test_voc_of_another_year(tmp_path: Path, year: int, folder: str) -> None:
    assert torchvision.datasets.voc.DATASET_YEAR_DICT[str(year)]["base_dir"] == folder
    write_voc(tmp_path, folder, val=["2007_000032"])
    assert (check_sample(VOCSegmentation("val", str(tmp_path), year), 0) == CLASSES).all()


def test_voc_that_is_not_there_is_an_error_and_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"VOCdevkit/VOC2012: no such folder\. .* or set `download: true`"):
        VOCSegmentation("train", str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_voc_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(root: str, year: str, download: bool) -> None:
        asked.append((root, year, download))
        write_voc(Path(root), train=["2007_000032"], val=["2007_000039"])

    monkeypatch.setattr(torchvision.datasets, "VOCSegmentation", fetch)
    root = str(tmp_path / "new")
    for split in ("train", "val"):
        assert len(VOCSegmentation(split, root, download=True)) == 1
    assert asked == [(root, "2012", True)]


def test_a_download_of_voc_that_fails_is_an_error(tmp_path: Path) -> None:
    """torchvision knows no such year, and says so before it asks for anything."""
    with pytest.raises(InputError, match=r"torchvision does not find VOCSegmentation there \(.*2012"):
        VOCSegmentation("train", str(tmp_path), year=1999, download=True)
