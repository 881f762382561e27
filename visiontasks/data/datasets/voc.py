"""Boxes in Pascal VOC XML files."""

from pathlib import Path
from xml.etree import ElementTree

from visiontasks.core.errors import InputError
from visiontasks.core.images import EXTENSIONS, read_bytes
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import Annotation, Record, four_numbers, stated_size, without_copies
from visiontasks.data.splits import Splits, read_list

MAX_BYTES = 10_000_000
IMAGES = ("JPEGImages", "images", ".")
ANNOTATIONS = ("Annotations", "annotations", "annotations/xmls", ".")


class VocBoxes(ObjectSet):
    """Images with Pascal VOC annotations, one XML file per image.

    The lists `root/ImageSets/Main/<split>.txt` define the splits; without lists the XML files in string order are
    divided by `splits`. The image of `a.xml` is the file `a` with an image extension, or else the `<filename>` in the
    XML; the `<path>` is not used. Boxes are used as they are written.

    Args:
        split: train, val or test.
        root: Folder of the dataset.
        images: Folder of the images in `root`; by default JPEGImages, images or root itself, the first with images.
        annotations: Folder of the XML files in `root`; by default Annotations, annotations, annotations/xmls or root
            itself, the first with XML files.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        splits: How a folder without lists is divided.
        class_names: If given, the classes and their order, and other names are errors; by default all names, sorted.
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
            splits.log_unused(split, f"{lists} has lists")
            chosen = _listed(lists / f"{split}.txt", {xml.stem: i for i, xml in enumerate(xmls)})
        else:
            labels = [min((found.index(a.label) for a in r.annotations), default=len(found)) for r in records]
            chosen = without_copies(split, [r.path for r in records], splits.indices(split, labels).tolist())
        super().__init__([records[i] for i in chosen], class_names or found, objects, boxes)


def read_voc(xml: Path, image_folder: Path, files: dict[str, Path]) -> Record:
    """Reads an XML file; `files` are the files in `image_folder` by name.

    Raises:
        InputError: It is not a VOC annotation, a box has no numbers, or the image is missing.
    """
    tree = _parse(xml)
    stated = (tree.findtext("filename") or "").strip()
    if "/" in stated or "\\" in stated or "\0" in stated or stated == "..":
        raise InputError(f"{xml}: the file name {stated!r} leaves {image_folder}. Give the name alone.")
    names = [*(xml.stem + extension for extension in (*EXTENSIONS, *map(str.upper, EXTENSIONS))), stated]
    path = next((files[name] for name in names if name in files), None)
    if path is None:
        raise InputError(f"{xml}: no image {xml.stem}.* nor {stated!r} in {image_folder}.")
    annotations = []
    for number, node in enumerate(tree.iter("object"), 1):
        where = f"{xml}, object {number}"
        label = (node.findtext("name") or "").strip()
        if not label:
            raise InputError(f"{where}: it has no <name>.")
        texts = [node.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
        box = four_numbers(texts, where, "<bndbox> must have xmin, ymin, xmax and ymax as numbers")
        annotations.append(Annotation(label, box, where))
    size = stated_size(tree.findtext("size/height"), tree.findtext("size/width"))
    return Record(path, path.name, annotations, size)


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses document types, because they can declare entities that expand without limit."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type, which annotations do not need")


def _parse(xml: Path) -> ElementTree.Element:
    if len(data := read_bytes(xml, MAX_BYTES + 1)) > MAX_BYTES:
        raise InputError(f"{xml}: more than {MAX_BYTES:,} bytes, too much for an annotation.")
    try:
        tree = ElementTree.fromstring(data, ElementTree.XMLParser(target=_NoDoctype()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise InputError(f"{xml}: not a Pascal VOC annotation ({error}). Correct or remove it.") from None
    if tree.tag != "annotation":
        raise InputError(f"{xml}: not a Pascal VOC annotation: <{tree.tag}> instead of <annotation>.")
    return tree


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


def _listed(path: Path, by_stem: dict[str, int]) -> list[int]:
    chosen = []
    for where, (name, *_) in read_list(path):  # the list of a class has a second column
        if name not in by_stem:
            raise InputError(f"{where}: the annotation {name}.xml is missing.")
        chosen.append(by_stem[name])
    return chosen
