"""Boxes in Pascal VOC XML files."""

from pathlib import Path
from xml.etree.ElementTree import Element

from visiontasks.core.errors import InputError
from visiontasks.core.faults import is_refused, refuse, usable
from visiontasks.core.folders import entries, images_below, walk, with_suffix
from visiontasks.core.images import EXTENSIONS
from visiontasks.core.text import normal
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.beside import ImageFiles, read_all
from visiontasks.data.datasets.copies import divide_records
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import Annotation, Record, four_numbers, stated_size
from visiontasks.data.datasets.xml import read_xml
from visiontasks.data.splits import SPLITS, Splits, SplitsLike, find_part, read_lists, split_path, split_paths

MAX_BYTES = 10_000_000
IMAGES = ("JPEGImages", "images", ".")
ANNOTATIONS = ("Annotations", "annotations", "annotations/xmls", ".")


class VocBoxes(ObjectSet):
    """Images with Pascal VOC annotations, one XML file per image.

    The lists `root/ImageSets/Main/<split>.txt` define the splits, or `{split}` in `root`, which stands for the split;
    without one for val, `splits` divides train, and without both the XML files in string order. The image of `x/a.xml`
    is the file `x/a` with an image extension, or else the `<filename>` in the XML, without its folders; the `<path>` is
    not used. Boxes are used as they are written. Images without an XML file are not annotated: they are counted and
    left out. An XML file without an object says that there is none.

    Args:
        split: train, val or test.
        root: Folder of the dataset, or, with `{split}`, of each split.
        images: Folder of the images in `root`; by default JPEGImages, images or root itself, the first with images.
        annotations: Folder of the XML files in `root`; by default Annotations, annotations, annotations/xmls or root
            itself, the first with XML files.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`,
            or `all` objects, which may be none.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        splits: How a folder without lists, or train without val, is divided.
        class_names: If given, the classes and their order, and other names are errors; by default all names (of train),
            sorted.
        keep: If given, the classes to use and their order; objects of other classes are dropped and counted.
        absent: Keep images without an object, whose box is then known to be absent; else they are left out.
    """

    def __init__(
        self,
        split: str,
        root: str,
        images: str | None = None,
        annotations: str | None = None,
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        splits: SplitsLike = Splits(),
        class_names: list[str] | None = None,
        keep: list[str] | None = None,
        absent: bool = False,
    ) -> None:
        folders, lists = split_paths(root), f"{root}/ImageSets/Main/{{split}}.txt"
        there = list(folders) or [name for name in SPLITS if split_path(lists, name).is_file()]
        if there and not folders and "train" not in there:
            raise InputError(f"{Path(lists).parent}: it has {there[0]}.txt, but no train.txt. Add it.")
        part, divider = find_part(split, splits, there, root if folders else str(Path(lists).parent))
        by_key = _read(split_path(root, part), images, annotations, tell=split == "train")
        train = (
            by_key
            if part == "train" or "train" not in folders
            else _read(split_path(root, "train"), images, annotations)
        )
        found = sorted({annotation.label for record in train.values() for annotation in record.annotations})
        if not (class_names or found):
            raise InputError(f"{root}: no XML file has an object.")
        check_class_names(class_names or found, root, fewest=1)
        xmls = _folder(split_path(root, part), annotations, ANNOTATIONS, (".xml",))
        records = _listed(lists, part, by_key, xmls) if there and not folders else list(by_key.values())
        if divider:
            records = divide_records(split, divider, records, found)
        super().__init__(records, class_names or found, objects, boxes, keep, absent)


def _read(root: Path, images: str | None, annotations: str | None, tell: bool = False) -> dict[str, Record]:
    """Reads all XML files of a folder by their paths without extension; `tell` counts the images without one."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder. `data.dataset.init_args.root` must hold images and XML files.")
    image_folder = _folder(root, images, IMAGES, EXTENSIONS)
    xml_folder = _folder(root, annotations, ANNOTATIONS, (".xml",))
    files = ImageFiles(image_folder, images_below(image_folder))
    records = read_all(with_suffix(walk(xml_folder), (".xml",)), xml_folder, files, read_voc, "XML")
    if tell:
        files.warn_of_others(Path(record.path) for record in records.values())
    return records


def read_voc(xml: Path, files: ImageFiles, key: str) -> Record:
    """Reads an XML file whose path below its folder is `key`, without extension.

    Raises:
        InputError: It is not a VOC annotation, an object has no name or no box, or the image is missing.
    """
    tree = read_xml(xml, "annotation", "Pascal VOC", MAX_BYTES)
    stated = (tree.findtext("filename") or "").strip()
    path = files.image_of(xml, key, stated)
    nodes = enumerate(tree.iter("object"), 1)
    found = [usable("annotation", path, _object, node, f"{xml}, object {number}") for number, node in nodes]
    annotations = [one for one in found if one]
    size = stated_size(tree.findtext("size/height"), tree.findtext("size/width"))
    return Record(path, path.relative_to(files.folder).as_posix(), annotations, size=size)


def _object(node: Element, where: str) -> Annotation:
    label = normal(node.findtext("name") or "")
    if not label:
        raise InputError(f"{where}: it has no <name>.")
    texts = [node.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
    box = four_numbers(texts, where, "<bndbox> must have xmin, ymin, xmax and ymax as numbers")
    return Annotation(label, box, where)


def _folder(root: Path, given: str | None, known: tuple[str, ...], suffixes: tuple[str, ...]) -> Path:
    """Returns the given folder, or the first known one with such files; if there is none, the first with some below."""
    if given is not None:
        if not (root / given).is_dir():
            raise InputError(f"{root / given}: no such folder.")
        return root / given
    folders = [root / name for name in known if (root / name).is_dir()]
    for listed in (lambda folder: map(Path, entries(folder)[1]), walk):
        for folder in folders:
            if with_suffix(listed(folder), suffixes):
                return folder
    raise InputError(f"{root}: no {suffixes[0]} files in {', '.join(known)}. Name their folder.")


def _listed(lists: str, split: str, records: dict[str, Record], folder: Path) -> list[Record]:
    """Returns the images of a list; `folder` is that of the XML files."""
    chosen = []
    for where, line in read_lists(lists, split):
        name = line if line in records else line.rsplit(None, 1)[0]  # the list of a class has a second column
        if name in records:
            chosen.append(records[name])
        elif not is_refused(folder / f"{name}.xml"):
            refuse("partner", f"{name}.xml", InputError(f"{where}: the annotation {name}.xml is missing."))
    return chosen
