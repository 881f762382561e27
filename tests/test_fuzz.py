"""Files of annotations that were changed at random: read, or refused by name, in no time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
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
    LabelMe,
    MaskFolder,
    ObjectFile,
    VisionDataModule,
    VisionDataset,
    VocBoxes,
    YoloBoxes,
)

SECONDS = 5
TOKENS = [
    *(b"\0", b'"', b",", b";", b"\n", b"\r", b"\t", b" ", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b"e\xcc\x81"),
    *(b"../", b"..\\", b"/", b"file:///etc/passwd", b"[", b"{", b"}", b"]", b"[]", b"{}", b'""', b"null", b"true"),
    *(b"0", b"-1", b"nan", b"NaN", b"inf", b"1e400", b"9" * 400, b"<", b"</", b">", b"&x;"),
    *(b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"x" * 200_000, b"[" * 100_000),
]


KINDS = [
    "boxes",
    "regions",
    "XML",
    "CSV",
    "list",
    "objects",
    "YAML",
    "YOLO",
    "LabelMe",
    "CVAT",
    "JSON lines",
    "CelebA",
    "VIA",
    "VIA CSV",
    "bare CSV",
]


@pytest.fixture
def good(tmp_path: Path) -> dict[str, tuple[Path, Callable[[str], VisionDataset]]]:
    """A file of each kind, and the dataset that reads it, beside six images of 8 x 6 pixels and their masks."""
    rng = np.random.default_rng(0)
    for number in range(6):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).save(tmp_path / f"images/{number}.png")
        Image.fromarray(rng.integers(0, 2, (6, 8), np.uint8)).save(tmp_path / f"masks/{number}.png")
    images = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 6} for i in range(6)]
    shapes = [[[1, 1, 5, 1, 5, 4]], {"size": [6, 8], "counts": [8, 3, 37]}]
    marks = [
        {"id": i, "image_id": i, "category_id": i % 2, "bbox": [1, 1, 4, 3], "segmentation": shapes[i % 2]}
        for i in range(6)
    ]
    content = {"images": images, "annotations": marks, "categories": [{"id": i, "name": "ab"[i]} for i in range(2)]}
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>4</ymax></bndbox>"
    rows = [f"images/{i}.png,{'ab'[i % 2]},1,1,5,4,{0.5 * i}" for i in range(6)]
    texts = {
        "coco.json": json.dumps(content),
        "table.csv": "\n".join(["path,label,xmin,ymin,xmax,ymax,value", *rows]),
        "list.txt": "\n".join([*(f"images/{i}.png masks/{i}.png" for i in range(3)), "3", "4", "5"]),
        **{
            f"annotations/{i}.xml": f"<annotation><filename>{i}.png</filename><size><width>8</width><height>6</height>"
            f"</size><object><name>{'ab'[i % 2]}</name>{box}</object></annotation>"
            for i in range(6)
        },
    }
    polygon = "0.1 0.1 0.6 0.1 0.6 0.6"
    texts |= {f"labels/{i}.txt": f"{i % 2} {polygon}\n{(i + 1) % 2} {polygon} 0.2 0.5\n" for i in range(6)}
    texts["data.yaml"] = "names: {0: a, 1: b}\nnc: 2\ntrain: [images]\nval: images\n"
    outline = {"shape_type": "polygon", "points": [[1, 1], [5, 1], [5, 4]]}
    circle = {"shape_type": "circle", "points": [[3, 3], [4, 3]], "group_id": 1}
    for i in range(6):
        shapes = [{"label": "ab"[i % 2], **form} for form in (outline, circle)]
        stated = {"imagePath": f"{i}.png", "imageHeight": 6, "imageWidth": 8}
        texts[f"labelme/{i}.json"] = json.dumps({"shapes": shapes, **stated})
    nodes = [
        f'<image name="{i}.png" width="8" height="6"><box label="{"ab"[i % 2]}" xtl="1" ytl="1" xbr="5" ybr="4"/>'
        '<polygon label="a" points="1,1;5,1;5,4"/><ellipse label="b" cx="4" cy="3" rx="2" ry="1" rotation="9"/></image>'
        for i in range(6)
    ]
    texts["cvat.xml"] = f"<annotations>{''.join(nodes)}</annotations>"
    texts["bare.csv"] = "\n".join(f"{i},{i % 2},1,1,4,3" for i in range(6))
    shapes = [
        {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 2},
        {"name": "polygon", "all_points_x": [0, 4, 2], "all_points_y": [0, 1, 3]},
        {"name": "ellipse", "cx": 2, "cy": 2, "rx": 1.5, "ry": 1, "theta": 0.5},
    ]
    drawn = [{"shape_attributes": shapes[i % 3], "region_attributes": {"kind": "ab"[i % 2]}} for i in range(6)]
    place = {"x": 0.1, "y": 0.2, "w": 0.5, "h": 0.5}
    texts["rows.jsonl"] = "\n".join(json.dumps({"path": i, "label": "ab"[i % 2], **place}) for i in range(6))
    texts["list.attr"] = "\n".join(["6", "a b", *(f"x/{i}  {i % 2 * 2 - 1} 1" for i in range(6))])
    texts["via.json"] = json.dumps({f"{i}9": {"filename": f"{i}.png", "regions": [drawn[i]]} for i in range(6)})
    rows = ["\t".join([f"{i}.png", *map(json.dumps, drawn[i].values())]) for i in range(6)]
    texts["via.csv"] = "\n".join(["filename\tregion_shape_attributes\tregion_attributes", *rows])
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    coco = {"annotations": str(tmp_path / "coco.json"), "images": str(tmp_path / "images")}
    for i in range(6):
        (tmp_path / f"labelme/{i}.png").write_bytes((tmp_path / f"images/{i}.png").read_bytes())
    cvat = {"path": str(tmp_path / "cvat.xml"), "images": str(tmp_path / "images")}
    via = {"images": str(tmp_path / "images")}
    bare = {"columns": ["path", "label", "x", "y", "w", "h"], "pattern": "images/{path}.png"}
    yolo = partial(YoloBoxes, path=str(tmp_path / "data.yaml"), masks=True)
    masks = partial(MaskFolder, root=str(tmp_path), class_names=["a", "b"], lists="list.txt")
    return {
        "boxes": (tmp_path / "coco.json", partial(CocoBoxes, **coco)),
        "regions": (tmp_path / "coco.json", partial(CocoMasks, **coco)),
        "XML": (tmp_path / "annotations/3.xml", partial(VocBoxes, root=str(tmp_path))),
        "CSV": (tmp_path / "table.csv", partial(CsvTable, path=str(tmp_path / "table.csv"), value_columns=["value"])),
        "list": (tmp_path / "list.txt", masks),
        "objects": (tmp_path / "coco.json", partial(CocoBoxes, **coco, objects="all", masks=True, keep=["a"])),
        "YAML": (tmp_path / "data.yaml", yolo),
        "YOLO": (tmp_path / "labels/3.txt", yolo),
        "LabelMe": (tmp_path / "labelme/3.json", partial(LabelMe, root=str(tmp_path / "labelme"), masks=True)),
        "CVAT": (tmp_path / "cvat.xml", partial(CvatImages, **cvat, masks=True)),
        "JSON lines": (
            tmp_path / "rows.jsonl",
            partial(CsvTable, path=str(tmp_path / "rows.jsonl"), pattern="images/{path}.png", box_format="xywh_shares"),
        ),
        "CelebA": (
            tmp_path / "list.attr",
            partial(CsvTable, path=str(tmp_path / "list.attr"), pattern="images/{name}.png", labels_columns=["a", "b"]),
        ),
        "VIA": (tmp_path / "via.json", partial(ObjectFile, path=str(tmp_path / "via.json"), **via, masks=True)),
        "VIA CSV": (tmp_path / "via.csv", partial(ObjectFile, path=str(tmp_path / "via.csv"), **via)),
        "bare CSV": (
            tmp_path / "bare.csv",
            partial(CsvTable, path=str(tmp_path / "bare.csv"), label_names={"0": "a", "1": "b"}, **bare),
        ),
    }


def changed(data: bytes, rng: random.Random) -> bytes:
    """One to four of: a token put in, in place of a part; a part doubled, moved or cut out; bytes at random."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 5, 40)))
        new = rng.choice((rng.choice(TOKENS), rng.randbytes(2), data[start:end] * 2, b"", data[end : end + 20]))
        data = data[:start] + new + data[end:]
    return data


def accepted(make: Callable[[str], VisionDataset]) -> bool:
    """Reads everything that a fit asks for, and returns whether it was not refused in a short message."""
    data = VisionDataModule(make, image_size=16)
    try:
        train = data.dataset("train")
        [data.check_classes(key) for key in data.keys if data.fingerprint]
        [train[index] for index in range(len(train))]
    except InputError as error:
        return len(str(error)) > 2000  # which is no message to read
    return True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_changed_file_is_read_or_refused(good: dict, time_limit: Any, kind: str, count: int) -> None:
    path, make = good[kind]
    data, rng = path.read_bytes(), random.Random(0)
    assert accepted(make)
    read = 0
    for number in range(count):
        path.write_bytes(new := changed(data, rng))
        try:
            with time_limit(SECONDS):
                read += accepted(make)
        except Exception as error:
            error.add_note(f"{number}: {new[:300]!r}")
            raise
    assert 0 < read < count / 2
