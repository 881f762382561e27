"""The command init: every usual layout is recognized, and trains with the config that is written."""

from __future__ import annotations

import csv
import json
import re
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from visiontasks.cli import main
from visiontasks.cli.init import check
from visiontasks.cli.recipe import Facts, write_recipe
from visiontasks.core.errors import InputError
from visiontasks.data import CsvTable, ObjectFile, Splits, YoloBoxes
from visiontasks.data.layouts import Layout, find_layouts, masks
from visiontasks.data.splits import without_split

COUNT = 12
Box = tuple[int, int, int, int]


def photo(number: int, size: tuple[int, int] = (40, 48)) -> Image.Image:
    """A picture of noise with a bright rectangle, which is red in even pictures and blue in odd ones."""
    pixels = np.random.default_rng(number).integers(0, 120, (*size, 3)).astype(np.uint8)
    x1, y1, x2, y2 = box(number)
    pixels[y1:y2, x1:x2, 2 * (number % 2)] = 255
    return Image.fromarray(pixels)


def box(number: int) -> Box:
    return 4 + number, 6, 24 + number, 30


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def mask(number: int, values: Any = (0, 1)) -> Image.Image:
    x1, y1, x2, y2 = box(number)
    pixels = np.zeros((40, 48, *np.shape(values)[1:]), np.uint8) + np.uint8(values[0])
    pixels[y1:y2, x1:x2] = values[1]
    return Image.fromarray(pixels)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def class_folders(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / ("Red", "Blue")[number % 2] / f"{number}.jpg")


def split_folders(root: Path) -> None:
    for split in ("Training", "Testing", "valid"):
        class_folders(root / "set" / split)


def headerless_table(root: Path) -> None:
    lines = []
    for number in range(COUNT):
        save(photo(number), root / "photos" / f"{number}.png")
        if number % 3 == 0:
            lines.append(f"photos/{number}.png,,,,,")
        else:
            lines.append(",".join(map(str, [f"photos/{number}.png", *box(number), ("red", "blue")[number % 2]])))
    write(root / "annotations.csv", "\n".join(lines) + "\n")


def ids_and_names(root: Path) -> None:
    lines = ["image_id;class_id;fold"]
    for number in range(COUNT):
        save(photo(number), root / "imgs" / f"p{number}.jpg")
        lines.append(f"p{number};{number % 2};{'train' if number < 8 else 'valid'}")
    write(root / "labels.csv", "\n".join(lines) + "\n")
    write(root / "class_names.txt", "red thing\nblue thing\n")


def tensorflow_boxes(root: Path) -> None:
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for number in range(COUNT):
        save(photo(number), root / "images" / f"{number}.png")
        lines.append(",".join(map(str, [f"{number}.png", 48, 40, ("red", "blue")[number % 2], *box(number)])))
    write(root / "boxes.csv", "\n".join(lines) + "\n")


def wheat(root: Path) -> None:
    """One column of boxes and none of classes, the size and the source of the image; two images have no object."""
    lines = ["image_id,width,height,bbox,source"]
    for number in range(COUNT + 2):
        save(photo(number), root / "train" / f"b{number}a.jpg")
        for x, y in [(22 + number, 20), (30, 4), (2, 3 + number)] if number < COUNT else []:
            lines.append(f'b{number}a,48,40,"[{x}.0, {y}.0, 9.0, 12.0]",{("usask_1", "arvalis_1")[number % 2]}')
    write(root / "train.csv", "\n".join(lines) + "\n")
    write(root / "sample_submission.csv", "image_id,PredictionString\nb0a,\nb1a,\nb2a,\n")


def corners_as_text(root: Path) -> None:
    lines = ["file;width;height;kind;rect"]
    for number in range(COUNT):
        save(photo(number), root / f"{number}.png")
        x1, y1, x2, y2 = box(number)
        lines.append(f"{number}.png;48;40;{('red', 'blue')[number % 2]};({x1 + 12}, {y1 + 8}, {x2 + 12}, {y2 + 8})")
    write(root / "boxes.csv", "\n".join(lines) + "\n")


def open_images(root: Path) -> None:
    """Shares of the image, codes of the classes, and their names in a file without a header."""
    lines = ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded"]
    for number in range(COUNT):
        save(photo(number), root / f"images/{number:08x}.jpg")
        x1, y1, x2, y2 = box(number)
        code = ("/m/0a", "/m/0b")[number % 2]
        lines.append(f"{number:08x},xclick,{code},1,{x1 / 48},{x2 / 48},{y1 / 40},{y2 / 40},0")
        lines.append(f"{number:08x},xclick,{code},1,0.1,0.3,0.5,0.75,0")
    write(root / "train-annotations-bbox.csv", "\n".join(lines))
    write(root / "class-descriptions.csv", "/m/0a,Red thing\n/m/0b,Blue thing\n/m/0c,Other thing\n")


def paths_of_another_computer(root: Path) -> None:
    lines = ["\ufeffBild;Klasse;Preis"]
    for number in range(COUNT):
        save(photo(number), root / f"Fotos/{number}.JPG")
        lines.append(f"C:\\Users\\me\\Bilder\\{number}.JPG;{('Apfel', 'Birne')[number % 2]};{number},5")
    write(root / "tabelle.csv", "\n".join(lines))


def decimal_commas(root: Path) -> None:
    lines = ["photo;price"]
    for number in range(COUNT):
        save(photo(number), root / f"p/{number}.jpg")
        lines.append(f"{number}.jpg;{number},5")
    write(root / "prices.csv", "\n".join(lines))


def celeba(root: Path) -> None:
    lines = [str(COUNT), "Smiling Young"]
    for number in range(COUNT):
        save(photo(number), root / f"img_align_celeba/{number:06}.jpg")
        lines.append(f"{number:06}.jpg  {1 if number % 2 else -1} {1 if number % 3 else -1:2}")
    write(root / "list_attr_celeba.txt", "\n".join(lines) + "\n")


def json_lines(root: Path) -> None:
    lines = []
    for number in range(COUNT):
        save(photo(number), root / f"train/{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "label": ("pie", "soup")[number % 2], "more": {"a": 1}}))
    write(root / "train/metadata.jsonl", "\n".join(lines))


def cats_and_dogs(root: Path) -> None:
    """Classes in file names; the table is an example of a submission."""
    for number in range(COUNT):
        save(photo(number), root / f"train/{('cat', 'dog')[number % 2]}.{number}.jpg")
        save(photo(number + 20), root / f"test1/{number + 1}.jpg")
    write(root / "sampleSubmission.csv", "id,label\n" + "\n".join(f"{number + 1},0" for number in range(COUNT)))


def numbers(root: Path) -> None:
    lines = ["file\theight in cm\tpatient"]
    for number in range(COUNT):
        save(photo(number), root / f"{number}.png")
        lines.append(f"{number}.png\t{150 + number * 1.5}\tp{number // 2}")
    write(root / "table.tsv", "\n".join(lines) + "\n")


def zeros_and_ones(root: Path) -> None:
    lines = ["path,cloudy,rain,sun"]
    for number in range(COUNT):
        save(photo(number), root / f"{number}.png")
        lines.append(f"{number}.png,{number % 2},{number % 3 // 2},1" if number else f"{number}.png,0,0,0")
    write(root / "train.csv", "\n".join(lines) + "\n")


def label_lists(root: Path) -> None:
    lines = ["path,tags"]
    for number in range(COUNT):
        save(photo(number), root / f"{number}.png")
        lines.append(f"{number}.png,{('haze primary', 'primary', 'haze water', 'primary water')[number % 4]}")
    write(root / "tags.csv", "\n".join(lines) + "\n")


def yolo(root: Path, polygons: bool = False) -> None:
    for number in range(COUNT):
        split = "train" if number < 8 else "val"
        save(photo(number), root / "images" / split / f"{number}.jpg")
        x1, y1, x2, y2 = np.array(box(number)) / [48, 40, 48, 40]
        values = [x1, y1, x2, y1, x2, y2, x1, y2] if polygons else [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        write(root / "labels" / split / f"{number}.txt", f"{number % 2} {' '.join(f'{v:.6f}' for v in values)}\n")
    write(root / "data.yaml", "train: images/train\nval: images/val\nnames: [red, blue]\n")


def labelimg(root: Path) -> None:
    yolo(root / "other")
    for number in range(COUNT):
        split = "train" if number < 8 else "val"
        for folder, suffix in (("images", ".jpg"), ("labels", ".txt")):
            (root / "other" / folder / split / f"{number}{suffix}").rename(root / f"{number}{suffix}")
    (root / "other" / "data.yaml").unlink()
    write(root / "classes.txt", "red\nblue\n")


def coco(numbers: range, names: Callable[[int], str], group: bool = False) -> str:
    categories = [{"id": 0, "name": "things", "supercategory": "none"}] if group else []
    categories += [
        {"id": 1, "name": "red", "supercategory": "things"},
        {"id": 2, "name": "blue", "supercategory": "things"},
    ]
    images = [{"id": n, "file_name": names(n), "height": 40, "width": 48} for n in numbers]
    annotations = []
    for n in numbers:
        x1, y1, x2, y2 = box(n)
        row = {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
        annotations.append({**row, "area": (x2 - x1) * (y2 - y1), "segmentation": []})
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def roboflow(root: Path) -> None:
    for split, numbers in (("train", range(8)), ("valid", range(8, 10)), ("test", range(10, 12))):
        for number in numbers:
            save(photo(number), root / split / f"{number}_jpg.rf.abc.jpg")
        write(root / split / "_annotations.coco.json", coco(numbers, lambda n: f"{n}_jpg.rf.abc.jpg", group=True))


def cvat(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "images" / f"{number}.jpg")
    write(root / "annotations/instances_default.json", coco(range(COUNT), lambda n: f"{n}.jpg"))


def cvat_xml(root: Path) -> None:
    images = []
    for number in range(COUNT):
        save(photo(number), root / "images" / f"{number}.jpg")
        ends = " ".join(f'{key}="{end}"' for key, end in zip(("xtl", "ytl", "xbr", "ybr"), box(number), strict=True))
        shape = f'<box label="{("red", "blue")[number % 2]}" occluded="0" {ends}/>'
        images.append(f'<image id="{number}" name="{number}.jpg" width="48" height="40">{shape}</image>')
    write(root / "annotations.xml", f"<annotations><version>1.1</version>{''.join(images)}</annotations>")


def label_studio(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "images" / f"ab-{number}.jpg")
    write(root / "result.json", coco(range(COUNT), lambda n: f"images\\ab-{n}.jpg"))


def voc(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "pictures" / f"{number}.jpg")
        ends = "".join(
            f"<{name}>{v}</{name}>" for name, v in zip(("xmin", "ymin", "xmax", "ymax"), box(number), strict=True)
        )
        thing = f"<object><name>{('red', 'blue')[number % 2]}</name><bndbox>{ends}</bndbox></object>"
        write(root / "xml" / f"{number}.xml", f"<annotation><filename>{number}.jpg</filename>{thing}</annotation>")


def via_regions(number: int) -> list[dict[str, Any]]:
    x1, y1, x2, y2 = box(number)
    shape = {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
    return [{"shape_attributes": shape, "region_attributes": {"kind": ("red", "blue")[number % 2]}}]


def via(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / f"{number}.jpg")
    entries = {f"{n}.jpg9": {"filename": f"{n}.jpg", "size": 9, "regions": via_regions(n)} for n in range(COUNT)}
    write(root / "via_project.json", json.dumps({"_via_settings": {}, "_via_img_metadata": entries}))


def via_csv(root: Path) -> None:
    columns = ["filename", "file_size", "file_attributes", "region_count", "region_id"]
    file = StringIO()
    table = csv.writer(file)
    table.writerow([*columns, "region_shape_attributes", "region_attributes"])
    for number in range(COUNT):
        save(photo(number), root / f"images/{number}.jpg")
        for one in via_regions(number):
            table.writerow([f"{number}.jpg", 9, "{}", 1, 0, *(json.dumps(part) for part in one.values())])
    write(root / "via_export_csv.csv", file.getvalue())


def balloons(root: Path) -> None:
    """A file per split, as of older versions of VIA, with polygons without attributes."""
    for split, numbers in (("train", range(8)), ("val", range(8, COUNT))):
        entries = {}
        for number in numbers:
            save(photo(number), root / split / f"{number}.jpg")
            x1, y1, x2, y2 = box(number)
            shape = {"name": "polygon", "all_points_x": [x1, x2, x2, x1], "all_points_y": [y1, y1, y2, y2]}
            regions = {"0": {"shape_attributes": shape, "region_attributes": {}}}
            entries[f"{number}.jpg9"] = {"filename": f"{number}.jpg", "regions": regions}
        write(root / split / "via_region_data.json", json.dumps(entries))


def createml(root: Path) -> None:
    for split, numbers in (("train", range(8)), ("valid", range(8, COUNT))):
        images = []
        for number in numbers:
            save(photo(number), root / split / f"{number}.jpg")
            x1, y1, x2, y2 = box(number)
            place = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1}
            label = ("red", "blue")[number % 2]
            images.append({"image": f"{number}.jpg", "annotations": [{"label": label, "coordinates": place}]})
        write(root / split / "_annotations.createml.json", json.dumps(images))


def labelme(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / f"{number}.jpg")
        x1, y1, x2, y2 = box(number)
        points = [[x1, y1], [x2, y1], [x2, y2], [(x1 + x2) / 2, y2 - 4], [x1, y2]]
        shape = {"label": ("red", "blue")[number % 2], "points": points, "shape_type": "polygon", "group_id": None}
        content = {
            "shapes": [shape],
            "imagePath": f"{number}.jpg",
            "imageData": None,
            "imageHeight": 40,
            "imageWidth": 48,
        }
        write(root / f"{number}.json", json.dumps(content))


def labelme_masks(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / f"{number}.jpg")
        x1, y1, x2, y2 = box(number)
        file = BytesIO()
        mask(number).crop((x1, y1, x2, y2)).save(file, "PNG")
        shape = {"label": ("red", "blue")[number % 2], "points": [[x1, y1], [x2 - 1, y2 - 1]], "shape_type": "mask"}
        shape |= {"group_id": None, "mask": b64encode(file.getvalue()).decode()}
        content = {"shapes": [shape], "imagePath": f"{number}.jpg", "imageData": None}
        write(root / f"{number}.json", json.dumps(content))


def cvat_masks(root: Path) -> None:
    images = []
    for number in range(COUNT):
        save(photo(number), root / f"{number}.jpg")
        x1, y1, x2, y2 = box(number)
        place = f'left="{x1}" top="{y1}" width="{x2 - x1}" height="{y2 - y1}"'
        shape = f'<mask label="{("red", "blue")[number % 2]}" rle="2, {(x2 - x1) * (y2 - y1) - 2}" {place}/>'
        images.append(f'<image id="{number}" name="{number}.jpg" width="48" height="40">{shape}</image>')
    write(root / "annotations.xml", f"<annotations><version>1.1</version>{''.join(images)}</annotations>")


def other_split_names(root: Path) -> None:
    for split in ("train", "test"):
        class_folders(root / f"seg_{split}" / f"seg_{split}")


def table_per_split(root: Path) -> None:
    for split, numbers in (("train", range(8)), ("valid", range(8, COUNT))):
        lines = ["image,species,age"]
        for number in numbers:
            save(photo(number), root / split / f"{number}.png")
            lines.append(f"{number}.png,{('cat', 'dog')[number % 2]},{number % 5}")
        write(root / split / "_classes.csv", "\n".join(lines) + "\n")


def kaggle(root: Path) -> None:
    lines, others = ["id_code,diagnosis"], ["id_code,diagnosis"]
    for number in range(COUNT):
        save(photo(number), root / "train_images" / f"x{number}.png")
        save(photo(number + 20), root / "test_images" / f"x{number + 20}.png")
        lines.append(f"x{number},{number % 2 * 40}")
        others.append(f"x{number + 20},0")
    write(root / "train.csv", "\n".join(lines) + "\n")
    write(root / "sample_submission.csv", "\n".join(others) + "\n")
    write(root / "test.csv", "\n".join(line.partition(",")[0] for line in others) + "\n")


def two_parts(root: Path) -> None:
    lines = ["lesion_id,image_id,dx"]
    for number in range(COUNT):
        save(photo(number), root / f"images_part_{1 + number // 6}" / f"i{number}.jpg")
        lines.append(f"L{number},i{number},{('nv', 'mel')[number % 2]}")
    write(root / "metadata.csv", "\n".join(lines) + "\n")


def roboflow_xml(root: Path) -> None:
    voc(root / "all")
    for number in range(COUNT):
        split = ("train", "train", "valid", "test")[number % 4]
        for folder, suffix in (("pictures", ".jpg"), ("xml", ".xml")):
            (root / split).mkdir(exist_ok=True)
            (root / "all" / folder / f"{number}{suffix}").rename(root / split / f"{number}{suffix}")


def named_files(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "train" / f"{('red', 'light_blue')[number % 2]}_{number}.jpg")


def listed_masks(root: Path) -> None:
    two_folders(root, (0, 1))
    write(root / "ImageSets" / "train.txt", "\n".join(map(str, range(8))))
    write(root / "ImageSets" / "val.txt", "\n".join(map(str, range(8, COUNT))))


def two_folders(root: Path, values: Any = (0, 255)) -> None:
    for number in range(COUNT):
        save(photo(number), root / "images" / f"{number}.jpg")
        save(mask(number, values), root / "masks" / f"{number}.png")


def suffix_masks(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "image" / f"car_{number:02}.jpg")
        save(mask(number), root / "mask" / f"car_{number:02}_mask.gif")


def one_folder(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / f"benign ({number}).png")
        save(mask(number, (0, 255)), root / f"benign ({number})_mask.png")


def other_ends(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "images" / f"{number:02}_training.tif")
        save(mask(number, (0, 255)), root / "1st_manual" / f"{number:02}_manual1.gif")


def field_of_view(root: Path) -> None:
    """As DRIVE: names with the split in them, and masks that are nearly the same in every image."""
    for split, numbers in (("training", range(8)), ("test", range(8, COUNT))):
        for number in numbers:
            save(photo(number), root / split / "images" / f"{number:02}_{split}.tif")
            save(mask(number, (0, 255)), root / split / "1st_manual" / f"{number:02}_manual1.gif")
            save(mask(5, (0, 255)), root / split / "mask" / f"{number:02}_{split}_mask.gif")


def named_values(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "train" / f"{number}_jpg.rf.ab{number}.jpg")
        save(mask(number), root / "train" / f"{number}_jpg.rf.ab{number}_mask.png")
    write(root / "train" / "_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n")


def darknet(root: Path) -> None:
    labelimg(root / "data")
    (root / "data/classes.txt").rename(root / "data/obj.names")
    write(root / "data/obj.data", "classes = 2\ntrain = data/train.txt\nvalid=data/test.txt\nnames = data/obj.names\n")
    for name, numbers in (("train", range(9)), ("test", range(9, COUNT))):
        write(root / f"data/{name}.txt", "\n".join(f"data/{number}.jpg" for number in numbers))


def colored_masks(root: Path) -> None:
    two_folders(root, ((10, 20, 30), (200, 0, 0)))
    write(root / "class_dict.csv", "name,r,g,b\nroad,10,20,30\ncar,200,0,0\n")


def jpeg_masks(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "images" / f"{number}.jpg")
        save(mask(number, (0, 255)), root / "masks" / f"{number}.jpg")


def numbered_objects(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "PNGImages" / f"p{number}.png")
        pixels = np.zeros((40, 48), np.uint8)
        for one in range(1 + number % 4):
            pixels[4:30, 10 * one : 10 * one + 8] = one + 1
        save(Image.fromarray(pixels), root / "PedMasks" / f"p{number}_mask.png")


def masks_of_train_alone(root: Path) -> None:
    for number in range(COUNT):
        save(photo(number), root / "train" / f"{number:02}.jpg")
        save(mask(number), root / "train_masks" / f"{number:02}_mask.gif")
        save(photo(number + 20), root / "test" / f"{number + 20:02}.jpg")


def cities(root: Path) -> None:
    for number in range(COUNT):
        city = ("aachen", "bonn")[number % 2]
        place = f"{('train', 'val')[number // 8]}/{city}/{city}_{number:03}"
        save(photo(number), root / "leftImg8bit" / f"{place}_leftImg8bit.png")
        save(mask(number, (7, 26)), root / "gtFine" / f"{place}_gtFine_labelIds.png")


def split_masks(root: Path) -> None:
    for split, numbers in (("train", range(8)), ("val", range(8, COUNT))):
        for number in numbers:
            save(photo(number), root / split / "image" / f"{number}.png")
            save(mask(number, (3, 7)), root / split / "label" / f"{number}.png")


def segnet_camvid(root: Path) -> None:
    for split, numbers in (("train", range(8)), ("val", range(8, COUNT))):
        for number in numbers:
            name = f"0001TP_00{6690 + 30 * number}"
            save(photo(number), root / split / f"{name}.png")
            bands = np.arange(48, dtype=np.uint8) // 4  # 11 classes and void
            save(Image.fromarray(np.tile(bands, (40, 1))), root / f"{split}annot" / f"{name}.png")


COLUMNS = ["path", "xmin", "ymin", "xmax", "ymax", "label"]
COLORS = [[10, 20, 30], [200, 0, 0]]
LAYOUTS: dict[str, tuple[Callable[[Path], None], str, dict[str, Any]]] = {
    "class folders": (class_folders, "folders", {}),
    "folders of splits": (split_folders, "folders", {"root": "set"}),
    "a table without a header": (
        headerless_table,
        "table",
        {"columns": ["path", "xmin", "ymin", "xmax", "ymax", "label"]},
    ),
    "ids beside a names file": (ids_and_names, "table", {"label_names": {"0": "red thing", "1": "blue thing"}}),
    "boxes as TensorFlow writes them": (tensorflow_boxes, "table", {"label_column": "class", "objects": "all"}),
    "boxes as text in one column": (
        wheat,
        "table",
        {
            **{"path": "train.csv", "root": "train", "pattern": "{path}.jpg", "path_column": "image_id"},
            **{"label_column": None, "class_names": ["object"], "objects": "all"},
            **{"box_columns": "bbox", "box_format": "xywh"},
        },
    ),
    "corners as text": (
        corners_as_text,
        "table",
        {"box_columns": "rect", "box_format": "xyxy", "label_column": "kind"},
    ),
    "boxes of Open Images": (
        open_images,
        "table",
        {
            **{"box_columns": ["XMin", "YMin", "XMax", "YMax"], "box_format": "xyxy_shares", "objects": "all"},
            **{"label_column": "LabelName", "label_names": {"/m/0a": "Red thing", "/m/0b": "Blue thing"}},
        },
    ),
    "paths of another computer": (paths_of_another_computer, "table", {"pattern": "{name}", "root": "Fotos"}),
    "decimal commas": (decimal_commas, "table", {"value_columns": ["price"], "decimal": ","}),
    "attributes of CelebA": (celeba, "table", {"labels_columns": ["Smiling", "Young"]}),
    "JSON lines": (json_lines, "table", {"path": "train/metadata.jsonl", "path_column": "file_name"}),
    "a submission beside classes in file names": (cats_and_dogs, "names", {"pattern": "{label}.{number}"}),
    "numbers": (numbers, "table", {"value_columns": ["height in cm"], "group_column": "patient"}),
    "columns of 0 and 1": (zeros_and_ones, "table", {"labels_columns": ["cloudy", "rain", "sun"]}),
    "lists of labels": (label_lists, "table", {"labels_separator": " ", "label_column": "tags"}),
    "YOLO boxes": (yolo, "yolo", {"path": "data.yaml"}),
    "YOLO polygons": (lambda root: yolo(root, polygons=True), "yolo", {"masks": True}),
    "YOLO of labelImg": (labelimg, "yolo", {"path": "classes.txt"}),
    "YOLO of Darknet": (darknet, "yolo", {"path": "data/obj.data"}),
    "COCO of Roboflow": (roboflow, "coco", {"annotations": "{split}/_annotations.coco.json", "images": "{split}"}),
    "COCO of CVAT": (cvat, "coco", {"images": "images"}),
    "XML of CVAT": (cvat_xml, "cvat", {"path": "annotations.xml", "images": "images"}),
    "COCO of Label Studio": (label_studio, "coco", {"annotations": "result.json"}),
    "LabelMe": (labelme, "labelme", {"root": "", "masks": True}),
    "masks of LabelMe": (labelme_masks, "labelme", {"root": "", "masks": True}),
    "masks of CVAT": (cvat_masks, "cvat", {"images": "", "masks": True}),
    "VIA": (via, "via", {"path": "via_project.json"}),
    "CSV of VIA": (via_csv, "via", {"path": "via_export_csv.csv", "images": "images"}),
    "VIA per split, without attributes": (
        balloons,
        "via",
        {"path": "{split}/via_region_data.json", "class_names": ["object"], "masks": True},
    ),
    "CreateML of Roboflow": (createml, "via", {"path": "{split}/_annotations.createml.json"}),
    "VOC": (voc, "voc", {"images": "pictures", "annotations": "xml"}),
    "masks of 0 and 255": (two_folders, "masks", {"values": [0, 255]}),
    "masks with another end": (suffix_masks, "masks", {"masks": "mask/{stem}_mask.gif"}),
    "images and masks in one folder": (one_folder, "masks", {"masks": "{stem}_mask.png"}),
    "images and masks with other ends": (other_ends, "masks", {"images": "images/{stem}_training.tif"}),
    "masks beside those of the field of view": (
        field_of_view,
        "masks",
        {"images": "{split}/images/{stem}_{split}.tif", "masks": "{split}/1st_manual/{stem}_manual1.gif"},
    ),
    "masks with named values": (named_values, "masks", {"class_names": ["background", "cat"]}),
    "masks of colors": (
        colored_masks,
        "masks",
        {"class_names": ["road", "car"], "colors": [[10, 20, 30], [200, 0, 0]]},
    ),
    "folders of splits with other names": (other_split_names, "folders", {"root": "seg_{split}/seg_{split}"}),
    "a table per split": (table_per_split, "table", {"path": "{split}/_classes.csv", "label_column": "species"}),
    "tables of a competition": (
        kaggle,
        "table",
        {"path": "train.csv", "root": "train_images", "pattern": "{path}.png"},
    ),
    "images in two folders": (two_parts, "table", {"pattern": "**/{path}.jpg", "label_column": "dx"}),
    "VOC of Roboflow": (roboflow_xml, "voc", {"root": "{split}"}),
    "classes in file names": (named_files, "names", {"root": "train", "pattern": "{label}_{number}"}),
    "lists of images with masks": (listed_masks, "masks", {"lists": "ImageSets/{split}.txt"}),
    "JPEG masks": (jpeg_masks, "masks", {"threshold": 128}),
    "masks of numbered objects": (
        numbered_objects,
        "masks",
        {"masks": "PedMasks/{stem}_mask.png", "class_names": ["object"]},
    ),
    "masks of train alone": (masks_of_train_alone, "masks", {"images": "train/{stem}.jpg"}),
    "cities": (cities, "masks", {"images": "leftImg8bit/{split}/{stem}_leftImg8bit.png"}),
    "CamVid": (segnet_camvid, "published", {"masks": "{split}annot", "ignore": [11]}),
    "masks in folders of splits": (split_masks, "masks", {"images": "{split}/image", "values": [3, 7]}),
}
PATHS = ("root", "path", "annotations", "images")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognized_and_opens(name: str, tmp_path: Path) -> None:
    make, finder, options = LAYOUTS[name]
    make(tmp_path)
    found = find_layouts(tmp_path)
    assert next(iter(found)) == finder, found
    layout = found[finder]
    for key, value in options.items():
        is_path = (
            key in PATHS and layout.dataset != "MaskFolder" and not (layout.dataset == "VocBoxes" and key != "root")
        )
        assert layout.options[key] == (str(tmp_path / value) if is_path else value), layout
    _, facts, counts = check(layout)
    assert counts["train"] + counts["val"] >= COUNT - counts.get("test", 0)
    assert facts.names or layout.kind == "value"


def trained(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs init and a fit of one step on a tiny network in a new working directory, and returns the config."""
    LAYOUTS[name][0](folder / "photos")
    monkeypatch.chdir(folder)
    main(["init", "photos", "--no_estimate"])
    tiny = ["--model.backbone.name", "test_resnet", "--model.backbone.pretrained", "false", "--data.image_size", "64"]
    short = ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1", "--trainer.logger", "false"]
    few = ["--trainer.callbacks", "null", "--data.batch_size", "4", "--trainer.check_val_every_n_epoch", "null"]
    main(["fit", "-c", "photos.yaml", *tiny, *short, *few])
    (run,) = folder.glob("runs/photos/*")
    assert (run / "best.ckpt").is_file()
    return Path("photos.yaml").read_text()


@pytest.mark.parametrize("name", ["class folders", "numbers", "lists of labels", "masks of colors", "YOLO polygons"])
def test_what_init_writes_trains_without_an_edit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = trained(name, tmp_path, monkeypatch)
    assert text.startswith("# visiontasks fit -c photos.yaml\n# ")
    assert str(tmp_path) not in text  # paths as they were given


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_trains(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(name, tmp_path, monkeypatch)


def test_init_says_what_it_found_and_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    split_folders(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    main(["init", "pets", "--no_estimate"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Found: class folders in test / train / val: 2 classes (Blue, Red) (certain).",
        "Images: 12 in train, 12 in val, 12 in test.",
        "Wrote pets.yaml. Next: visiontasks fit -c pets.yaml",
    ]
    Path("pets.yaml").write_text("mine")
    with pytest.raises(SystemExit):
        main(["init", "pets"])
    assert "pets.yaml: a file of this name is there already" in capsys.readouterr().err
    assert Path("pets.yaml").read_text() == "mine"


def test_a_folder_without_a_layout_is_an_error_that_lists_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("nothing", "photos"):
        (tmp_path / folder).mkdir()
    save(photo(0), tmp_path / "photos" / "a.jpg")
    for folder, text in (
        ("nothing", "no images"),
        ("photos", "no labels of the images"),
        ("missing", "no such folder"),
    ):
        with pytest.raises(SystemExit):
            main(["init", str(tmp_path / folder), "--output", str(tmp_path / "out.yaml")])
        assert text in capsys.readouterr().err


def test_digits_and_letters_are_not_mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(COUNT):
        save(photo(number), tmp_path / "digits" / str(number % 3) / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    main(["init", "digits", "--no_estimate"])
    text = Path("digits.yaml").read_text()
    assert "augment:  # without mirroring, because '0' may mean something else in a mirror\n" in text
    main(["preview", "-c", "digits.yaml", "--trainer.logger", "false"])


@pytest.mark.parametrize(
    ("kind", "name", "mirrored"),
    [
        ("label", "stop sign", False),
        ("objects", "stop sign", True),
        ("objects", "left hand", False),
        ("label", "left_hand", False),
        ("label", "turnLeft", False),
        ("label", "1_", False),
        ("value", "y", True),
        ("mask", "sign", True),
        ("label", "7", False),
        ("label", "handbag", True),
        ("label", "Rose", True),
    ],
)
def test_signs_are_mirrored_where_they_are_a_part_of_a_scene(kind: str, name: str, mirrored: bool) -> None:
    facts = Facts(100, np.array([[480, 640]]), [name, "other"], np.empty(0), np.empty(0))
    text = write_recipe(Layout(kind, "CsvTable", {"root": "photos"}, "a table", "certain"), facts, "one.yaml")
    assert ("without mirroring" not in text) == mirrored


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028", "\u2029"])
def test_a_name_of_a_file_stays_a_part_of_its_comment(end: str) -> None:
    facts = Facts(100, np.array([[480, 640]]), [f"a{end}imports: [evil]", "b"], np.empty(0), np.empty(0))
    name = f"a{end}imports: [evil]{end}#"
    layout = Layout("label", "CsvTable", {"root": name}, f"a table, {name}", "certain", [f"a note on {name}"])
    config = yaml.safe_load(write_recipe(layout, facts, f"{name}.yaml"))
    assert set(config) == {"trainer", "model", "data"}
    assert config["data"]["dataset"]["init_args"]["root"] == name


def test_masks_are_trained_on_parts_of_images_in_their_shape() -> None:
    layout = Layout("mask", "MaskFolder", {"root": "photos"}, "masks", "certain")
    sizes = {(360, 480): ("[352, 480]", "[256, 352]"), (2000, 1000): ("[576, 288]", "[416, 192]")}
    sizes |= {(200, 200): ("192", None), (4000, 4000): ("416", "288")}
    for size, (whole, part) in sizes.items():
        facts = Facts(100, np.array([size]), ["background", "road"], np.empty(0), np.empty(0))
        data = write_recipe(layout, facts, "one.yaml").partition("\ndata:")[2]
        assert f"image_size: {whole}  #" in data
        assert (f"train_size: {part}  #" in data) == bool(part), data


def test_init_estimates_time_and_memory_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    main(["init", "photos"])
    said = capsys.readouterr()
    assert re.search(r"\nIt will take about \d+ (s|min) on this machine, and \d\.\d GB of memory\.\n", said.out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "photos.yaml"]
    assert said.out.count("\n") == 4


def test_a_config_stands_if_its_first_steps_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(tmp_path / "photos")
    for path in tmp_path.glob("photos/*/*.jpg"):
        path.write_bytes(path.read_bytes()[:-200])  # the header is whole
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["init", "photos"])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert "Wrote photos.yaml." in said.out
    assert "It will take" not in said.out
    first, second = said.err.strip().splitlines()[-2:]
    assert first == "photos.yaml is written, but the first steps of its fit failed:"
    assert re.match(r"error: photos/\w+/\d+\.jpg", second)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "photos.yaml"]
    assert Path("photos.yaml").read_text().startswith("# visiontasks fit -c photos.yaml\n")


def test_what_the_data_says_is_printed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    voc(tmp_path / "photos")
    for number in range(0, COUNT, 2):  # some of these copies are held out
        (tmp_path / f"photos/pictures/{number}.jpg").write_bytes((tmp_path / "photos/pictures/0.jpg").read_bytes())
    outside = tmp_path / "photos/xml/3.xml"
    outside.write_text(outside.read_text().replace("<xmin>7<", "<xmin>-2<"))  # so that the data is opened twice
    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO"):
        main(["init", "photos", "--no_estimate"])
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(said) == 1
    assert "boxes: clip" in Path("photos.yaml").read_text()


def test_what_is_found_names_the_classes_alone(tmp_path: Path) -> None:
    roboflow(tmp_path / "boxes")  # with a category that only groups the others
    assert "boxes of 2 classes (red, blue)" in find_layouts(tmp_path / "boxes")["coco"].found
    for number in range(COUNT):
        save(photo(number), tmp_path / "vehicles" / ("bus", "car", "train")[number % 3] / f"{number}.jpg")
    assert "3 classes (bus, car, train)" in find_layouts(tmp_path / "vehicles")["folders"].found


def test_what_boxes_as_text_hold_is_decided_by_their_images(tmp_path: Path) -> None:
    wheat(tmp_path / "wheat")
    layout = find_layouts(tmp_path / "wheat")["table"]
    assert (layout.found, layout.certainty) == ("table, train.csv: 36 rows, boxes of one class", "likely")
    why, one_class, unlisted = layout.notes
    assert why == (
        "bbox is read as xywh, the upper left corner and the size: of 36 boxes, 75 % as xyxy and 66.7 % as cxcywh are "
        "impossible"
    )
    assert one_class == (
        "no column has the class of a box, so that all are called object; change `class_names` "
        "(source is the same in all rows of an image, as no class of a box is)"
    )
    assert unlisted.startswith("images that are not in the table are not used; for one without an object, add a row")
    dataset = CsvTable("train", **layout.options, splits=Splits(val=0))
    assert (len(dataset), dataset.class_names) == (COUNT, ["object"])
    assert dataset.objects(0)["boxes"].tolist() == [[22, 20, 31, 32], [30, 4, 39, 16], [2, 3, 11, 15]]


@pytest.mark.parametrize(
    ("texts", "form", "certainty"),
    [
        (["[30, 5, 10, 9]", "[2, 5, 10, 9]"], "xywh", "likely"),  # no corners
        (["[30, 20, 40, 39]", "[2, 5, 10, 9]"], "xyxy", "likely"),  # would end outside as corner and size
        (["[4, 5, 20, 10]", "[2, 5, 10, 9]"], "xyxy", "a guess"),
        (["[40, 30, 15, 19]", "[2, 5, 4, 9]"], "cxcywh", "likely"),  # as corner and size outside
        (["[.4, .5, .2, .1]", "[.4, .5, .2, .1]"], None, None),  # shares
        (["[30, 5, 10, 9]", "[2, 5, 10]"], None, None),
        (["[99, 99, 99, 99]", "[2, 5, 10, 9]"], None, None),
    ],
)
def test_the_form_of_boxes_as_text_is_what_fits_the_images(
    tmp_path: Path, texts: list[str], form: str | None, certainty: str | None
) -> None:
    rows = []
    for number, text in enumerate(texts * 4):
        save(photo(number, (40, 48)), tmp_path / f"{number}.png")
        rows.append(f'{number}.png,{("red", "blue")[number % 2]},"{text}"')
    write(tmp_path / "table.csv", "\n".join(["path,label,place", *rows]))
    layout = find_layouts(tmp_path)["table"]
    assert layout.options.get("box_format") == form
    assert layout.kind == ("objects" if form else "label")
    assert layout.certainty == (certainty or "likely")
    if certainty == "a guess":
        assert "but the numbers also fit xywh, the upper left corner and the size; look at the boxes" in layout.notes[0]


def test_classes_of_0_and_1_in_a_table_of_boxes_are_classes(tmp_path: Path) -> None:
    tensorflow_boxes(tmp_path)
    text = (tmp_path / "boxes.csv").read_text().replace("red", "0").replace("blue", "1")
    write(tmp_path / "boxes.csv", text)
    layout = find_layouts(tmp_path)["table"]
    assert (layout.kind, layout.options["label_column"]) == ("objects", "class")


def test_shares_of_the_image_become_pixels(tmp_path: Path) -> None:
    open_images(tmp_path)
    layout = find_layouts(tmp_path)["table"]
    dataset = CsvTable("train", **layout.options, splits=Splits(val=0))
    assert dataset.objects(3)["boxes"] == pytest.approx(np.array([[7, 6, 27, 30], [4.8, 20, 14.4, 30]]))
    for wrong, text in (({"box_format": "xyxy"}, "xyxy_shares"), ({"box_format": None}, "has shares of the image")):
        with pytest.raises(InputError, match=text):
            CsvTable("train", **layout.options | wrong)
    write(tmp_path / "pixels.csv", "path,label,x1,y1,x2,y2\nimages/00000000.jpg,a,4,6,24,30\n")
    with pytest.raises(InputError, match=r"expects shares of the image, 0..1; found \[4.0.*set xyxy\."):
        CsvTable("train", str(tmp_path / "pixels.csv"), box_format="xyxy_shares")


@pytest.mark.parametrize(
    ("cells", "form", "certainty"),
    [
        (".8,.8,.3,.3", "cxcywh_shares", "likely"),
        (".3,.3,.2,.2", "xywh_shares", "a guess"),
        ("2,2,9,9", None, "likely"),
    ],
)
def test_x_and_y_with_shares_are_a_corner_or_a_center(
    tmp_path: Path, cells: str, form: str | None, certainty: str
) -> None:
    lines = ["path,label,x,y,w,h"]
    for number in range(COUNT):
        save(photo(number), tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{('red', 'blue')[number % 2]},{cells}")
    write(tmp_path / "table.csv", "\n".join(lines))
    layout = find_layouts(tmp_path)["table"]
    assert (layout.options.get("box_format"), layout.certainty) == (form, certainty)


def test_paths_of_another_computer_are_not_guessed(tmp_path: Path) -> None:
    paths_of_another_computer(tmp_path)
    layout = find_layouts(tmp_path)["table"]
    assert CsvTable("train", **layout.options, splits=Splits(val=0)).names("label") == ["Apfel", "Birne"]
    (note,) = layout.notes
    assert note.startswith("the folders in the paths of the table do not exist here")
    table = tmp_path / "tabelle.csv"
    write(table, table.read_text() + "\nC:\\Users\\you\\0.JPG;Apfel;1")
    assert "table" not in find_layouts(tmp_path)
    with pytest.raises(InputError, match=r"line 14: .*you.*are both 0.JPG by the pattern"):
        CsvTable("train", **layout.options)
    write(table, "\n".join(table.read_text().splitlines()[:-1]))
    save(photo(1), tmp_path / "more/0.JPG")
    with pytest.raises(InputError, match="have the same name"):
        CsvTable("train", **layout.options | {"root": str(tmp_path), "pattern": "**/{name}"})


def test_an_address_is_no_path_if_there_is_one(tmp_path: Path) -> None:
    class_folders(tmp_path)
    rows = [
        f"https://example.org/{n}.jpg,{name}/{n}.jpg,{n % 3}" for n in range(COUNT) for name in [("Red", "Blue")[n % 2]]
    ]
    write(tmp_path / "table.csv", "\n".join(["url,file,label", *rows]))
    assert find_layouts(tmp_path)["table"].options["path_column"] == "file"


def test_decimal_commas_and_signs_are_read(tmp_path: Path) -> None:
    decimal_commas(tmp_path / "prices")
    options = find_layouts(tmp_path / "prices")["table"].options
    dataset = CsvTable("train", **options, splits=Splits(val=0))
    assert [dataset[place]["value"].item() for place in (0, 3)] == [0.5, 3.5]
    with pytest.raises(InputError, match="price must be numbers"):
        CsvTable("train", **options | {"decimal": "."})
    celeba(tmp_path / "celeba")
    dataset = CsvTable("train", **find_layouts(tmp_path / "celeba")["table"].options, splits=Splits(val=0))
    assert [dataset[place]["labels"].tolist() for place in range(4)] == [[0, 0], [1, 1], [0, 1], [1, 0]]
    write(tmp_path / "lists.csv", "path;tags\n" + "\n".join(f"prices/p/{n}.jpg;{n % 3},{n % 2}" for n in range(COUNT)))
    assert find_layouts(tmp_path)["table"].options["labels_separator"] == ","


@pytest.mark.parametrize("text", ["12", "12\n", "12\na\n", "3\n\n1 2\n", ""])
def test_a_text_that_begins_with_a_number_is_no_table(tmp_path: Path, text: str) -> None:
    class_folders(tmp_path)
    write(tmp_path / "notes.txt", text)
    assert [*find_layouts(tmp_path)] == ["folders"]


def test_errors_of_json_lines_name_the_line(tmp_path: Path) -> None:
    json_lines(tmp_path)
    path = tmp_path / "train/metadata.jsonl"
    lines = path.read_text().splitlines()
    for line, fault in (("{", "not JSON"), ("[1]", "expected an object"), ('{"label": "pie"}', "file_name is empty")):
        write(path, "\n".join([*lines[:4], line, *lines[4:]]))
        with pytest.raises(InputError, match=f"line 5: {fault}"):
            CsvTable("train", str(path), path_column="file_name")


def test_the_next_layout_is_used_if_the_best_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(tmp_path / "photos")
    rows = [f"{name}/{n}.jpg,{name}" for n in range(COUNT) for name in [("Red", "Blue")[n % 2]]]
    write(tmp_path / "photos/labels.csv", "\n".join(["path,label", *rows, "Red/0.jpg,Blue"]))
    monkeypatch.chdir(tmp_path)
    main(["init", "photos", "--no_estimate"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Found: table, labels.csv: 13 rows, 2 classes (Blue, Red) (likely)."
    assert lines[1].startswith("It is not used, because its data cannot be opened: photos/labels.csv, line 14: ")
    assert lines[2] == "Found: class folders: 2 classes (Blue, Red) (likely)."
    with pytest.raises(SystemExit):
        main(["init", "photos", "--no_estimate", "--layout", "table", "--output", "other.yaml"])
    assert "differs from that in" in capsys.readouterr().err


def test_a_certain_layout_that_cannot_be_opened_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    yolo(tmp_path / "photos")
    write(tmp_path / "photos/labels/train/0.txt", "0 0.5 0.5 0.1\n")
    with pytest.raises(SystemExit):
        main(["init", str(tmp_path / "photos"), "--no_estimate", "--output", str(tmp_path / "one.yaml")])
    assert "0.txt, line 1" in capsys.readouterr().err


def test_masks_that_are_not_used_or_not_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field_of_view(tmp_path / "eyes")
    (note,) = find_layouts(tmp_path / "eyes")["masks"].notes
    assert note == "{split}/mask/{stem}_mask.gif: nearly the same in every image, as a field of view is, and not used"
    two_folders(tmp_path / "two")
    for number in range(COUNT):
        save(mask(number, (3, 7)), tmp_path / "two/gt" / f"{number}.png")
    monkeypatch.setattr(masks, "SAMPLE", 11)
    read, other = find_layouts(tmp_path / "two")["masks"].notes[-2:]
    assert read.startswith("11 of 12 masks were read for their values; a value that only others have is an error")
    assert re.fullmatch(
        r"(gt|masks)/\{stem\}.png may be masks too; to use them, change `masks` and `class_names`", other
    )


def test_the_lists_of_darknet_are_used(tmp_path: Path) -> None:
    darknet(tmp_path)
    layout = find_layouts(tmp_path)["yolo"]
    assert layout.found == "YOLO, data/obj.data: boxes of 2 classes (red, blue); splits: train, val"
    assert check(layout)[2] == {"train": 9, "val": 3}
    write(tmp_path / "data/obj.data", "train = data/train.txt\nnames = data/other.names\n")
    with pytest.raises(InputError, match=r"names: 'data/other.names' is no file below .* or a folder above it"):
        YoloBoxes("train", str(tmp_path / "data/obj.data"))


@pytest.mark.parametrize("make", [via, via_csv, createml])
def test_regions_of_via_and_createml_are_the_boxes_that_were_drawn(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path)
    dataset = ObjectFile("train", **find_layouts(tmp_path)["via"].options, splits=Splits(val=0))
    assert dataset.class_names == ["blue", "red"]
    for index in (0, 3):
        number = int(Path(dataset.name(index)).stem)
        assert dataset.objects(index)["boxes"].tolist() == [list(box(number))]
        assert dataset.objects(index)["labels"].tolist() == [1 - number % 2]


def test_shapes_of_via_have_pixels_and_faults_have_names(tmp_path: Path) -> None:
    save(photo(0), tmp_path / "a.jpg")

    def read(*shapes: Any, attributes: Any = None, **options: Any) -> ObjectFile:
        regions = [{"shape_attributes": one, "region_attributes": attributes or {"kind": "x"}} for one in shapes]
        write(tmp_path / "via.json", json.dumps({"a": {"filename": "a.jpg", "regions": regions}}))
        return ObjectFile("train", str(tmp_path / "via.json"), splits=Splits(val=0), masks=True, **options)

    turned = {"name": "ellipse", "cx": 20, "cy": 20, "rx": 10, "ry": 5, "theta": np.pi / 2}
    circle = {"name": "circle", "cx": 20, "cy": 20, "r": 6}
    dataset = read(turned, circle)
    assert dataset.objects(0)["boxes"] == pytest.approx(np.array([[15, 10, 25, 30], [14, 14, 26, 26]]), abs=0.1)
    areas = (dataset.instances(0) > 0).sum((1, 2))
    assert areas == pytest.approx([np.pi * 50, np.pi * 36], rel=0.05)
    point = {"name": "point", "cx": 3, "cy": 3}
    with pytest.raises(
        InputError, match=r"region 2: the shape must be one of rect, polygon, circle, ellipse; found 'po"
    ):
        read(circle, point)
    with pytest.raises(InputError, match=r"attributes \['kind', 'name'\]. Set `attribute`"):
        read(circle, attributes={"kind": "x", "name": "y"})
    assert read(circle, attributes={"kind": {"x": True, "y": False}}).class_names == ["x"]
    with pytest.raises(InputError, match="region 1: it has no attribute 'other' that says the class"):
        read(circle, attribute="other")
    with pytest.raises(InputError, match="all_points_x"):
        read({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]})


def test_a_word_within_another_is_no_split() -> None:
    assert without_split("train/constraint.json") == ("{split}/constraint.json", "train")
    assert without_split("restrain/a.json") == ("restrain/a.json", None)
