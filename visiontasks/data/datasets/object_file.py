"""Objects of many images in one file of the VGG Image Annotator or of CreateML."""

from collections.abc import Sequence
from pathlib import Path

from visiontasks.core.errors import InputError
from visiontasks.core.faults import usable
from visiontasks.data.datasets.object_lists import Region, attribute_of, read_regions, to_annotation
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.parts import read_parts
from visiontasks.data.datasets.records import Annotation, Record, files_inside, without_repeats
from visiontasks.data.splits import Splits, SplitsLike, split_path


class ObjectFile(ObjectSet):
    """Images whose objects are in one file, as the VGG Image Annotator (VIA, Dutta and Zisserman) or CreateML write it.

    VIA's file is `via_region_data.json`, a project, or `via_export_csv.csv`; that of CreateML is a JSON list. If `path`
    contains `{split}`, there is a file per split; without one for val, `splits` divides train. Otherwise the images in
    string order of their names are divided by `splits`. An image in the file without a region has no object; one that
    is not in the file is not used. The classes are the labels (of train), sorted.

    A box is the smallest around a rectangle, polygon, circle or ellipse. Other shapes, such as points and lines, are an
    error, unless `keep` leaves out their label.

    Args:
        split: train, val or test.
        path: The file; `{split}` in it stands for the split.
        images: Folder that the names of the images are relative to, perhaps with `{split}`; by default that of the
            file.
        attribute: Attribute of VIA that is the class; by default the only one. Without any, give one name in
            `class_names`.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`,
            or `all` objects, which may be none.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        splits: How images without splits, or train without val, are divided.
        class_names: If given, the classes and their order, and other labels are errors.
        keep: If given, the classes to use and their order; objects of other classes are dropped and counted.
        absent: Keep images without an object, whose box is then known to be absent; else they are left out.
        masks: Read the pixels of each object too; for `objects: all`.
    """

    def __init__(
        self,
        split: str,
        path: str,
        images: str | None = None,
        attribute: str | None = None,
        objects: OnSeveralObjects = "all",
        boxes: OnInvalidBox = "error",
        splits: SplitsLike = Splits(),
        class_names: list[str] | None = None,
        keep: list[str] | None = None,
        absent: bool = False,
        masks: bool = False,
    ) -> None:
        def read(part: str) -> list[Record]:
            file = split_path(path, part)
            regions = read_regions(file)
            chosen = attribute or attribute_of([one for found in regions.values() for one in found], str(file))
            one_class = class_names[0] if class_names and len(class_names) == 1 else None
            folder = split_path(images, part) if images else file.parent
            files = files_inside(folder, [(name, f"{file}, image {name!r:.200}") for name in sorted(regions)])
            return [
                Record(files[index], name, _objects(regions[name], files[index], chosen, one_class, keep))
                for index, name in enumerate(sorted(regions))
                if files.has(index)
            ]

        records, names = read_parts(split, splits, path, read, class_names)
        super().__init__(records, names, objects, boxes, keep, absent, masks)


def _objects(
    regions: Sequence[Region], image: Path, attribute: str | None, one_class: str | None, keep: Sequence[str] | None
) -> list[Annotation]:
    found = [usable("annotation", image, _annotation, one, attribute, one_class, keep) for one in regions]
    return without_repeats([one for one in found if one])


def _annotation(region: Region, attribute: str | None, one_class: str | None, keep: Sequence[str] | None) -> Annotation:
    label = region.label(attribute) if attribute else one_class
    if not label:
        what = f"no attribute {attribute!r}" if attribute else "no attribute"
        advice = "Fill it in, or, for one class, give its name in `class_names`"
        raise InputError(f"{region.where}: it has {what} that says the class. {advice}.")
    return to_annotation(region, label) if keep is None or label in keep else Annotation(label, None, region.where)
