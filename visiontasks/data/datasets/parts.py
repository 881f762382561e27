"""Splits of sets with objects that have a folder or a file per split, or are divided."""

from collections.abc import Callable

from visiontasks.core.errors import InputError
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.copies import divide_records
from visiontasks.data.datasets.records import Record
from visiontasks.data.splits import SplitsLike, find_part, split_paths


def read_parts(
    split: str, splits: SplitsLike, place: str, read: Callable[[str], list[Record]], class_names: list[str] | None
) -> tuple[list[Record], list[str]]:
    """Returns the images of a split, and the classes: the given ones, or the labels of train, sorted.

    Args:
        split: train, val or test.
        splits: How a set without splits, or train without val, is divided.
        place: The folder or file; `{split}` in it stands for the split.
        read: Reads a part of the set; its argument is train, val or test.
        class_names: The classes and their order, if they are given.

    Raises:
        InputError: There is no such part, or no object.
    """
    there = split_paths(place)
    part, divider = find_part(split, splits, there, place)
    records = read(part)
    of_train = records if part == "train" or not there else read("train")
    names = class_names or sorted({one.label for record in of_train for one in record.annotations})
    if not names:
        raise InputError(f"{place}: no image has a shape. Draw some, or give another path.")
    check_class_names(names, place, fewest=1)
    return divide_records(split, divider, records, names) if divider else records, names
