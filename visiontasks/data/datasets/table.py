"""Images listed in a CSV table, with labels, boxes or numbers."""

from pathlib import Path
from typing import Literal

from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse
from visiontasks.core.text import is_missing, normal
from visiontasks.data.datasets.base import check_class_names
from visiontasks.data.datasets.box_columns import BoxColumns, BoxFormat, find_box
from visiontasks.data.datasets.copies import without_copies
from visiontasks.data.datasets.listed import Cells, join_rows, split_of_rows, warn_of_splits
from visiontasks.data.datasets.objects import ObjectSet, OnInvalidBox, OnSeveralObjects
from visiontasks.data.datasets.records import BELOW, Record, below, files_inside
from visiontasks.data.datasets.repeats import warn_of_repeats
from visiontasks.data.datasets.rows import Row, parts, read_rows, sorted_labels, without_signs
from visiontasks.data.datasets.shares import in_pixels
from visiontasks.data.splits import Splits, SplitsLike, find_part, split_path, split_paths

ONE_CLASS = "label_column: null"  # the name of the column that is added for it


class CsvTable(ObjectSet):
    """Images listed in a CSV file, with their labels and, in further columns, boxes or numbers.

    Commas, semicolons or tabs separate the columns, and the first line has their names. Labels are names or numbers;
    the classes are the labels that occur, in alphabetical (or numerical) order. Four columns are a box in pixels, empty
    if there is no box; several rows of one image are then its objects. They are found by their names, in any case:
    xmin, ymin, xmax, ymax; x_min, y_min, x_max, y_max; x1, y1, x2, y2; left, top, right, bottom; or x, y (the upper
    left corner) and w, h or width, height; all also with `bbox_` in front. With `box_columns`, one column may hold the
    four numbers as text, such as `[10, 20, 30, 40]`. Without boxes, an image has one label, and it is an error if two
    rows contradict each other. `value_columns` are numbers per image, empty if unknown. Several labels per image are
    columns of 0 and 1, or of -1 and 1, or a list in the label column. With either, a label is optional.
    JSON lines (`.jsonl`) with the cells of a row each, and CelebA's lists, are read too.
    With `objects: all` or `absent`, an image whose only row has neither label nor box has no object; one with a label
    but no box is not annotated.

    Args:
        split: train, val or test.
        path: The CSV file, or, with `{split}`, that of each split.
        root: Folder that image paths are relative to; by default the folder of the CSV file. `{split}` stands for the
            split if `path` has it too.
        path_column: Column of the image path.
        label_column: Column of the label; None if every box is of the one class in `class_names`.
        split_column: Column with train, val or test, in any spelling; by default `split` if the table has it.
        group_column: If given, column of a group (patient, video ...) that is never in two splits.
        splits: How a table without a split column is divided.
        class_names: If given, the classes and their order; any other label is an error.
        objects: Use the `largest` of several objects, or the `first`; `skip` the image; `error`; or use all `labels`,
            or `all` objects, which may be none.
        boxes: Raise an `error` for a box not inside its image, or `clip` the box and drop it if no area is left.
        value_columns: Columns of numbers to predict, the `value` of an image.
        labels_columns: Columns of 0 and 1, empty if unknown, one per class: the `labels` of an image.
        labels_separator: If given, the separator of several classes in the label column, such as `;`.
        keep: If given, the classes to use and their order; objects of other classes are dropped and counted.
        absent: Keep images without an object, whose box is then known to be absent; else they are left out.
        columns: The names of the columns, for a table whose first line does not have them.
        box_columns: The four columns of the box, if they have other names, or the one that holds the four numbers as
            text; `[]` if there is no box.
        box_format: What the columns of the box hold: two corners (xyxy), the upper left corner and the size (xywh), or
            the center and the size (cxcywh); by default what the names of four columns say. With `_shares` at the end,
            as in `xyxy_shares`, the numbers are shares of the width and height of the image, 0..1.
        label_names: If given, the class of each label in the table, such as `{'0': cat, '1': dog}`; the classes are in
            this order, and any other label is an error.
        pattern: If given, the path of an image, such as `images/{path}.jpg`; `{path}` stands for the cell, and `{name}`
            for the cell without folders, as for paths of another computer. With `**/` at the start, the image is in any
            folder below `root`.
        decimal: What separates whole numbers from fractions in `value_columns` and columns of boxes: `.` or `,`.
    """

    def __init__(
        self,
        split: str,
        path: str,
        root: str | None = None,
        path_column: str = "path",
        label_column: str | None = "label",
        split_column: str | None = None,
        group_column: str | None = None,
        splits: SplitsLike = Splits(),
        class_names: list[str] | None = None,
        objects: OnSeveralObjects = "largest",
        boxes: OnInvalidBox = "error",
        value_columns: list[str] = [],  # noqa: B006 - never changed, and jsonargparse shows it
        labels_columns: list[str] = [],  # noqa: B006
        labels_separator: str | None = None,
        keep: list[str] | None = None,
        absent: bool = False,
        columns: list[str] | None = None,
        box_columns: list[str] | str | None = None,
        box_format: BoxFormat | None = None,
        label_names: dict[str, str] | None = None,
        pattern: str | None = None,
        decimal: Literal[".", ","] = ".",
    ) -> None:
        tables = split_paths(path)
        if tables:
            part, divider = find_part(split, splits, tables, path)
            root, path = root and str(split_path(root, part)), str(tables[part])
        folder = Path(root) if root else Path(path).parent
        by_objects, may_be_empty = objects == "labels", objects == "all" or absent
        if bool(labels_columns) + bool(labels_separator) + by_objects > 1:
            raise InputError(f"{path}: labels_columns, labels_separator and `objects: labels` exclude each other.")
        if class_names and label_names:
            raise InputError(f"{path}: class_names and label_names exclude each other. Remove class_names.")
        if label_column is None and (len(class_names or ()) != 1 or by_objects or labels_columns or labels_separator):
            fault = f"label_column: null is for boxes of one class; found class_names: {class_names}"
            raise InputError(f"{path}: {fault}. Give one name in `class_names`, or the column of the classes.")
        others = [*value_columns, *labels_columns]
        optional = bool(others or labels_separator or may_be_empty or label_column is None)
        required = [path_column] if label_column is None or optional else [path_column, label_column]
        has_names = [label_column] if label_column and (labels_separator or label_names) else []
        special = [name for name in (split_column, group_column) if name]
        placed = read_rows(path, [*required, *special], [*others, *has_names], columns)
        _make_paths(placed, path_column, pattern)
        rows = list(placed.values())
        used = {path_column, label_column, split_column or "split", group_column, *others}
        chosen_columns = [box_columns] if isinstance(box_columns, str) else box_columns
        box = find_box([*rows[0]], used, chosen_columns, box_format, path)
        of_box = box.names if box and len(box.names) > 1 else ()
        for row in rows if decimal == "," else ():
            row.update({name: row[name].replace(",", ".") for name in (*value_columns, *of_box)})
        if labels_columns and without_signs(rows, labels_columns) and split == "train":
            rank_zero_info(f"{path}: the labels are 1 and -1, and never 0, so -1 is read as 0.")
        label_column = label_column or _one_class(rows, box, class_names, path)
        if may_be_empty:
            option = "absent" if absent else "`objects: all`"
            placed = _check_objects(placed, path, label_column, box, option, labels_separator)
        labels = {normal(str(label)): name for label, name in (label_names or {}).items()}
        if label_column in rows[0]:
            of_train = placed if not tables or part == "train" else read_rows(str(tables["train"]), [], [], columns)
            found = class_names or [*labels.values()] or _classes(of_train, label_column, labels_separator)
            check_class_names(found, path, fewest=1 if box or labels_separator else 2)
            labels = labels or {name: name for name in found}
        names = [*labels.values()]
        if keep and not box:
            check_class_names(keep, "keep")
        if labels_columns:
            check_class_names(labels_columns, path, fewest=1)
        cells = Cells(label_column, labels, box, value_columns, labels_columns, labels_separator, optional)
        listed = join_rows(placed, path_column, cells.read, bool(box) or by_objects, may_be_empty)
        order = {name: number for number, name in enumerate(names)}
        column = split_column or "split"
        has_splits = column in rows[0] and not tables
        sides = split_of_rows(placed, column, path_column, group_column) if has_splits else {}
        if split == "train" and not has_splits:
            warn_of_splits(rows, path)
        if not tables:
            part, divider = find_part(split, splits, {*sides.values()}, f"{path}, column {column!r}")
        listed = [image for image in listed if not has_splits or sides.get(image.where) == part]
        if split == "train":
            warn_of_repeats(path, sum(image.repeated for image in listed), "row", "the image and the values of")
        labels = [order[i.annotations[0].label] if i.annotations else len(names) for i in listed]
        groups = [image.row[group_column] for image in listed] if group_column else None
        chosen = divider.indices(split, labels, groups) if divider else range(len(listed))
        if split != "train":
            listed, chosen = [listed[i] for i in chosen], range(len(chosen))  # only their files are looked for
        named = [(image.row[path_column], image.where) for image in listed]
        files = files_inside(folder, below(folder, named) if (pattern or "").startswith(BELOW) else named)
        used = [(files.names[i], listed[i]) for i in without_copies(split, files, chosen, labels) if files.has(i)]
        records = [Record(file, i.row[path_column], i.annotations, i.others) for file, i in used]
        if box and box.are_shares:
            records = [one._replace(annotations=in_pixels(one.annotations, one.path)) for one in records]
        super().__init__(records, [] if labels_separator else names, objects, boxes, keep, absent)
        if group_column:
            known = {image.row[path_column]: image.row[group_column] for _, image in used}
            self.groups = [known[self.name(index)] for index in range(len(self))]
        self.value_names = value_columns
        self.labels_names = names if labels_separator else labels_columns or self.labels_names


def _make_paths(rows: dict[str, Row], column: str, pattern: str | None) -> None:
    """Replaces the cells of the paths by what the pattern makes of them."""
    if pattern is None:
        return
    if "{path}" not in pattern and "{name}" not in pattern:
        fault = f"{pattern!r} has no {{path}} or {{name}}, which stand for the cell, as in images/{{path}}.jpg"
        raise InputError(f"pattern: {fault}.")
    made: dict[str, tuple[str, str]] = {}
    for where, row in rows.items():
        cell = row[column]
        name = cell.replace("\\", "/").rpartition("/")[2]
        row[column] = path = pattern.removeprefix(BELOW).replace("{path}", cell).replace("{name}", name)
        if (before := made.setdefault(path, (cell, where)))[0] != cell:
            fault = f"{cell!r} and {before[0]!r} in {before[1]} are both {path} by the pattern {pattern!r}"
            raise InputError(f"{where}: {fault}. Write the folders below `root` into the table, and use {{path}}.")


def _one_class(rows: list[Row], box: BoxColumns | None, class_names: list[str] | None, path: str) -> str:
    """Adds a column with the one class of each row that has a box, and returns its name."""
    if box is None:
        raise InputError(f"{path}: label_column: null is for boxes, and there are none. Name them in `box_columns`.")
    for row in rows:
        row[ONE_CLASS] = class_names[0] if class_names and any(row[name] for name in box.names) else ""
    return ONE_CLASS


def _check_objects(
    rows: dict[str, Row], path: str, column: str, box: BoxColumns | None, option: str, separator: str | None
) -> dict[str, Row]:
    """Checks a table whose images may have no object, empties the cells of labels that say so, and returns the rows."""
    if separator:
        raise InputError(f"{path}: {option} and labels_separator exclude each other.")
    first = next(iter(rows.values()))
    if box is None or column not in first:
        missing = "xmin" if column in first else column
        advice = "Name the columns of the box in `box_columns`."
        raise InputError(f"{path}: no column {missing!r}, which {option} needs; the header has {[*first]}. {advice}")
    usable = {}
    for where, row in rows.items():
        row[column] = "" if is_missing(row[column]) else row[column]
        if not row[column] and any(row[name] for name in box.names):
            refuse("class", path, InputError(f"{where}: a box without a {column}. Fill it in, or remove the box."))
        else:
            usable[where] = row
    return usable


def _classes(rows: dict[str, Row], column: str, separator: str | None) -> list[str]:
    """Returns the labels that occur."""
    if separator:
        return sorted_labels({part for row in rows.values() for part in parts(row[column], separator)})
    found = {row[column] for row in rows.values()} - {""}
    if found and all(map(_is_number, found)) and not all(label.isdecimal() for label in found):
        where, row = next((where, row) for where, row in rows.items() if not (row[column] or "0").isdecimal())
        advice = "If it is a class, list all in `class_names`; if these are numbers to predict, use `value_columns`."
        raise InputError(f"{where}: {column} {row[column]!r} is not 0, 1, 2, ..., as a class is. {advice}")
    return sorted_labels(found)


def _is_number(text: str) -> bool:
    try:
        return float(text) is not None
    except ValueError:
        return False
