"""Boxes in Pascal VOC's XML files."""

from pathlib import Path
from xml.etree import ElementTree

from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.core.images import EXTENSIONS
from visiontasks.data.datasets.objects import (
    Annotation,
    Box,
    ObjectSet,
    OnInvalidBox,
    OnSeveralObjects,
    Record,
    stated_size,
)
from visiontasks.data.splits import MissingSplit, Splits

MAX_BYTES = 10_000_000
IMAGES = ("JPEGImages", "images", ".")
ANNOTATIONS = ("Annotations", "annotations", "annotations/xmls", ".")


class VocBoxes(ObjectSet):
    """Images with Pascal VOC annotations: one XML file an image.

    Where `root/ImageSets/Main/<split>.txt` are there, they say what belongs to a split; otherwise the
    XML files in string order are divided by `splits`. The image of `a.xml` is the file `a` with an image's
    extension, or else the `<filename>` that the XML names; its `<path>` is not used. Boxes are
    taken as they are written.

    Args:
        split: train, val or test.
        root: The folder.
        images: Folder of the images, from `root`; by default the first of JPEGImages, images and root itself.
        annotations: Folder of the XML files, from `root`; by default Annotations, annotations,
            annotations/xmls or root itself, the first that has any.
        objects: Of several objects take the `largest` box or the `first`, `skip` the image, or raise an `error`.
        boxes: A box that is not inside its image is an `error`, or is clipped to it; what then has no area is dropped.
        splits: How a folder without lists is divided.
        class_names: If given, the classes and their order; any other name is an error. By default all
            names that occur, sorted.

    Raises:
        MissingSplit: There is no such split.
        InputError: A file, name or box is wrong; the message says which.
    """

    def __init__(
        self,
        split: str,
        root: str,
        images: str | None = None,
        annotations: str | None = None,
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        splits: Splits = Splits(),
        class_names: list[str] | None = None,
    ) -> None:
        if not Path(root).is_dir():
            raise InputError(f"{root}: no such folder. `data.dataset.init_args.root` must hold images and XML files.")
        image_folder = _folder(Path(root), images, IMAGES, EXTENSIONS)
        xml_folder = _folder(Path(root), annotations, ANNOTATIONS, (".xml",))
        files = {path.name: path for path in image_folder.iterdir()}
        xmls = sorted((path for path in xml_folder.glob("*.xml") if not path.name.startswith(".")), key=str)
        records = [read_voc(xml, image_folder, files) for xml in xmls]
        found = sorted({annotation.label for record in records for annotation in record.annotations})
        if not (class_names or found):
            raise InputError(f"{xml_folder}: no XML file has an object.")
        lists = Path(root, "ImageSets", "Main")
        if (lists / "train.txt").is_file():
            if split == "train" and splits != Splits():
                rank_zero_info(f"{lists} has lists, so {splits} is not used.")
            held_out, chosen = [], _listed(lists, split, {xml.stem: i for i, xml in enumerate(xmls)})
        else:
            labels = [sorted(a.label for a in record.annotations)[:1] for record in records]
            indices = [found.index(label[0]) if label else len(found) for label in labels]
            chosen = splits.indices(split, indices).tolist()
            held_out = sorted(set(range(len(records))) - set(chosen)) if split == "train" else []
        super().__init__(
            [records[i] for i in chosen],
            class_names or found,
            objects,
            boxes,
            held_out=[records[i].path for i in held_out],
        )


def read_voc(xml: Path, image_folder: Path, files: dict[str, Path]) -> Record:
    """Reads one XML file.

    Args:
        xml: The file.
        image_folder: Where its image lies.
        files: What is in that folder, by name.

    Raises:
        InputError: It is no VOC annotation, a box has no numbers, or its image is not there.
    """
    tree = _parse(xml)
    stated = (tree.findtext("filename") or "").strip()
    if "/" in stated or "\\" in stated or "\0" in stated or stated == "..":
        raise InputError(f"{xml}: the file name {stated!r} leaves {image_folder}. Give the name alone.")
    own = [xml.stem + extension for extension in EXTENSIONS]
    names = [*own, *(name[: -len(Path(name).suffix)] + Path(name).suffix.upper() for name in own), stated]
    path = next((files[name] for name in names if name in files), None)
    if path is None:
        raise InputError(f"{xml}: no image {xml.stem}.* nor {stated!r} in {image_folder}.")
    annotations = []
    for number, node in enumerate(tree.iter("object"), 1):
        where = f"{xml}, object {number}"
        label = (node.findtext("name") or "").strip()
        if not label:
            raise InputError(f"{where}: it has no <name>.")
        annotations.append(Annotation(label, _box(node, where), where))
    size = stated_size(tree.findtext("size/height"), tree.findtext("size/width"))
    return Record(path, path.name, annotations, size)


class _NoDoctype(ElementTree.TreeBuilder):
    """Entities are declared in a document type: without one there are none to expand."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type, which annotations do not need")


def _parse(xml: Path) -> ElementTree.Element:
    if xml.stat().st_size > MAX_BYTES:
        raise InputError(f"{xml}: {xml.stat().st_size:,} bytes are too much for an annotation.")
    try:
        tree = ElementTree.fromstring(xml.read_bytes(), ElementTree.XMLParser(target=_NoDoctype()))
    except OSError as error:
        raise InputError(f"{xml}: cannot be read ({error.strerror}).") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise InputError(f"{xml}: not a Pascal VOC annotation ({error}). Correct or remove it.") from None
    if tree.tag != "annotation":
        raise InputError(f"{xml}: not a Pascal VOC annotation: <{tree.tag}> instead of <annotation>.")
    return tree


def _box(node: ElementTree.Element, where: str) -> Box:
    texts = [node.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x1, y1, x2, y2 = (float(text or "") for text in texts)
    except ValueError:
        raise InputError(f"{where}: <bndbox> must have xmin, ymin, xmax and ymax as numbers; found {texts}.") from None
    return x1, y1, x2, y2


def _folder(root: Path, given: str | None, known: tuple[str, ...], extensions: tuple[str, ...]) -> Path:
    if given is not None:
        if not (root / given).is_dir():
            raise InputError(f"{root / given}: no such folder.")
        return root / given
    for name in known:
        folder = root / name
        if folder.is_dir() and any(path.name.lower().endswith(extensions) for path in folder.iterdir()):
            return folder
    raise InputError(f"{root}: no {extensions[0]} files in {', '.join(known)}. Name their folder.")


def _listed(lists: Path, split: str, by_stem: dict[str, int]) -> list[int]:
    path = lists / f"{split}.txt"
    if not path.is_file():
        raise MissingSplit(f"{path}: no such list.")
    chosen = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        name = line.split()[0] if line.split() else ""  # a class's list has a second column
        if name and name not in by_stem:
            raise InputError(f"{path}, line {number}: there is no annotation {name}.xml.")
        chosen += [by_stem[name]] if name else []
    if not chosen:
        raise MissingSplit(f"{path}: the list is empty.")
    return chosen
