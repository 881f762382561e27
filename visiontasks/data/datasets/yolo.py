"""Boxes and polygons in YOLO's text files."""

import re
from collections.abc import Sequence
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.bounded import check_yaml
from visiontasks.core.errors import InputError
from visiontasks.core.faults import is_collecting, note, refuse
from visiontasks.core.folders import images_below
from visiontasks.core.text import read_text
from visiontasks.core.words import verb
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.copies import divide
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import Annotation, Record, files_inside, first_of_each
from visiontasks.data.datasets.repeats import note_repeats, warn_of_repeats
from visiontasks.data.datasets.shares import in_pixels
from visiontasks.data.datasets.yolo_lines import read_lines
from visiontasks.data.splits import SPLITS, Splits, SplitsLike, find_part, read_list, split_of, split_path

LINE = re.compile(r"\s*\d+(\s+[-+.\de]+){4,}\s*$", re.MULTILINE)  # a class and at least four numbers


class YoloBoxes(ObjectSet):
    """Images with one text file each, as YOLO reads them, described by a `data.yaml`.

    `data.yaml` has `names` (a list, or a dict from 0 on) and, for `train`, `val` and `test`, a folder of images, a list
    of folders, or a text file with one image per line; they are relative to its key `path`, or else to its own folder.
    Without `val`, `splits` divides `train`. Nothing is downloaded: the key `download` is ignored. A text file with one
    name per line may take the place of `data.yaml`: the images are then those below its folder (or, if this is
    `labels`, the folder above), divided by folders of splits if there are any. So may Darknet's `obj.data`, which names
    the lists of images, `train` and `valid`, and the file of names.

    The labels of `images/x/a.jpg` are in `labels/x/a.txt`, or, where no folder is named `images`, beside the image. A
    line is `class x y width height`, the center and size of a box, or `class x y x y x y ...`, a polygon with its box,
    all in 0..1 of the image. An empty file says that there is no object. By YOLO's convention a missing file says the
    same: the log counts such images. If all are missing, it is an error.

    Args:
        split: train, val or test.
        path: The YAML file, the text file of names, or Darknet's file that ends with `.data`.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`,
            or `all` objects, which may be none.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        splits: How `train` is divided if there is no `val`.
        keep: If given, the classes to use and their order; objects of other classes are dropped and counted.
        absent: Keep images without an object, whose box is then known to be absent; else they are left out.
        masks: Read the pixels of each object too, from its polygon; for `objects: all`.
    """

    def __init__(
        self,
        split: str,
        path: str,
        objects: OnSeveralObjects = "all",
        boxes: OnInvalidBox = "error",
        splits: SplitsLike = Splits(),
        keep: list[str] | None = None,
        absent: bool = False,
        masks: bool = False,
    ) -> None:
        content = _content(Path(path))
        names, parts = _names(content, path), _parts(content, path)
        part, divider = find_part(split, splits, parts, path)
        root = _root(Path(path), content.get("path"), split)
        images = _images(parts[part], root, path)
        files = [_label_file(image) for image in images]
        there = [file.is_file() for file in files]
        if not any(there):
            raise InputError(
                f"{path}: no image of {split!r} has a label file; the first would be {files[0]}. Add them."
            )
        pairs = zip(files, images, there, strict=True)
        every = [read_lines(file, image, names, boxes) if known else [] for file, image, known in pairs]
        if is_collecting():
            _note_lonely(images, files)
        lines = [first_of_each(found, [(one.label, one.box) for one in found]) for found in every]
        for image, some, kept in zip(images, every, lines, strict=True):
            note_repeats(image, image, len(some) - len(kept), "object")
        if split == "train":
            warn_of_repeats(path, sum(map(len, every)) - sum(map(len, lines)), "object", "the class and box of")
        chosen = list(range(len(images)))
        if divider:
            labels = [names.index(found[0].label) if found else len(names) for found in lines]
            chosen = divide(split, divider, images, labels)
        if lonely := sum(not there[place] for place in chosen):
            rank_zero_info(
                f"{path}: {lonely} of {len(chosen)} images of {split} {verb(lonely, 'has', 'have')} no label file and "
                "so, by YOLO's convention, no object."
            )
        records = [Record(images[i], _name(images[i], root), _in_pixels(lines[i], images[i], masks)) for i in chosen]
        super().__init__(records, names, objects, boxes, keep, absent, masks)


def _content(path: Path) -> dict[str, Any]:
    text = read_text(path)
    if path.suffix == ".data":
        return _of_darknet(path, text)
    if path.suffix in (".txt", ".names"):
        return _described(path, [line for line in text.splitlines() if line.strip()])
    try:
        check_yaml(text)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    if not isinstance(content, dict) or "names" not in content:
        raise InputError(f"{path}: expected `names`, `train` and `val`; found {str(content)[:100]!r}.")
    if content.get("kpt_shape"):
        raise InputError(f"{path}: it describes keypoints (kpt_shape), which are not read. Export boxes or polygons.")
    return content


def _of_darknet(path: Path, text: str) -> dict[str, Any]:
    """Returns what a `data.yaml` would say of Darknet's file with the lists of images and the file of names.

    Its paths are relative to the folder in which Darknet was run, which is one above the file.
    """
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#")]
    content = {key.strip(): value.strip() for key, _, value in pairs}
    names = content.get("names", "")
    root = next((folder for folder in path.absolute().parents if names and isfile(folder / names)), None)
    if root is None:
        fault = f"names: {names!r} is no file below {path.parent} or a folder above it"
        raise InputError(f"{path}: {fault}. Set it to the file with the names of the classes.")
    lines = [line for line in read_text(root / names).splitlines() if line.strip()]
    return {"names": lines, "path": str(root), **{key: content[key] for key in content if split_of(key)}}


def _described(path: Path, names: list[str]) -> dict[str, Any]:
    """Returns what a `data.yaml` would say of a set that has a file of names alone, as labelImg writes it."""
    root = path.parent.parent if path.parent.name == "labels" else path.parent
    for pattern in ("images/{split}", "{split}/images", "{split}"):
        parts = {name: split_path(str(root / pattern), name) for name in SPLITS}
        found = {name: part.relative_to(root).as_posix() for name, part in parts.items() if part.is_dir()}
        if "train" in found:
            break
    else:
        found = {"train": "images" if isdir(root / "images") else "."}
    return {"names": names, "path": str(root.absolute()), **found}


def _names(content: dict[str, Any], path: str) -> list[str]:
    names = content["names"]
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise InputError(f"{path}: names: its keys must be 0 to {len(names) - 1}; found {str([*names])[:100]}.")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not all(type(name) in (str, int) for name in names):
        raise InputError(f"{path}: names: {str(names)[:100]} must be a list of texts. Quote names such as no and on.")
    names = [str(name).strip() for name in names]
    check_class_names(names, f"{path}: names", fewest=1)
    if content.get("nc", len(names)) != len(names):
        raise InputError(f"{path}: nc is {str(content['nc'])[:20]}, but there are {len(names)} names. Correct one.")
    return names


def _parts(content: dict[str, Any], path: str) -> dict[str, list[str]]:
    """Returns the folders or lists of each split; a split that is left empty is none."""
    parts = {split_of(key): content[key] for key in content if isinstance(key, str) and split_of(key) and content[key]}
    if not parts:
        raise InputError(f"{path}: no train, val or test. Set each to a folder of images or a list of them.")
    return {str(key): value if isinstance(value, list) else [value] for key, value in parts.items()}


def _root(path: Path, stated: Any, split: str) -> Path:
    """Returns the folder that `data.yaml` states, if it exists on this machine, or else its own."""
    if stated is None or stated == "":
        return path.parent
    if not isdir(found := path.parent / str(stated)):
        if split == "train":  # once is enough
            rank_zero_info(f"{path}: its `path`, {str(stated)[:200]}, is no folder here, so {path.parent} is used.")
        return path.parent
    return found


def _images(entries: Sequence[Any], root: Path, path: str) -> list[Path]:
    """Returns the images of one split, sorted by path within each folder, each one once."""
    found: list[Path] = []
    for entry in entries:
        text = str(entry)
        plain = text.replace("\\", "/")  # as Windows writes it
        places = [root / text, root / plain, root / plain.removeprefix("../")]  # Roboflow's ../train is train
        place = next((place for place in places if isdir(place) or isfile(place)), None)  # unlike exists, of any length
        if place is None:
            raise InputError(f"{path}: {text[:200]!r} is neither a folder nor a list in {root}. Correct it.")
        if isdir(place):
            found += sorted(images_below(place), key=str)
        else:
            lines = [(line, where) for where, line in read_list(place)]
            above = place.parent if any(line.startswith("./") for line, _ in lines) else root
            files = files_inside(above, lines)
            found += [file for number, file in enumerate(files) if files.has(number)]
    if not found:
        raise InputError(f"{path}: no image in {', '.join(map(str, entries))[:200]}.")
    return list(dict.fromkeys(found))


def _label_file(image: Path) -> Path:
    parts = list(image.with_suffix(".txt").parts)
    if places := [place for place, part in enumerate(parts[:-1]) if part == "images"]:
        parts[places[-1]] = "labels"
    return Path(*parts)


def _note_lonely(images: list[Path], files: list[Path]) -> None:
    """Notes files of labels beside those of the images that have no image."""
    folders = {file.parent: image.parent for file, image in zip(files, images, strict=True)}
    for labels, folder in folders.items():
        stems = {path.stem for path in images_below(folder)} if labels.is_dir() else set[str]()
        for path in sorted(labels.glob("*.txt")) if stems else ():
            if path.stem not in stems and LINE.match(path.read_text("utf-8", "replace")):
                note("partner", path, f"{path}: there is no image {path.stem}.* in {folder}.")


def _name(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.as_posix()


def _in_pixels(found: list[Annotation], image: Path, masks: bool) -> list[Annotation]:
    kept = []
    for one in found:
        if masks and not one.shape:
            fault = f"{one.where}: it has a box, and `masks` needs a polygon, x, y, x, y, x, y, ... Add it."
            refuse("annotation", image, InputError(fault))
        else:
            kept.append(one)
    return in_pixels(kept, image)
