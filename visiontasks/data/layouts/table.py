"""A table of images: which of its columns are labels, boxes, numbers, splits and groups."""

import re
from collections.abc import Sequence
from typing import Any

from visiontasks.core.words import counted
from visiontasks.data.layouts.base import Layout, Listing, listed
from visiontasks.data.layouts.box_columns import find_boxes
from visiontasks.data.layouts.columns import VALUE, Column, column_of, is_list, is_number
from visiontasks.data.layouts.names import codes_beside, names_beside
from visiontasks.data.layouts.rows import ROWS, Table, first_line, tables
from visiontasks.data.splits import split_of, without_split

GROUP = re.compile(
    r"(patient|subject|group|video|scene|case|person|series|study|clip|sequence)([_ ]?(id|no))?", re.IGNORECASE
)
BOX = ["xmin", "ymin", "xmax", "ymax"]
SIZES = {"width", "height", "w", "h", "image_width", "image_height", "img_width", "img_height"}
OBJECT = "object"  # the class of boxes without one
OTHER_PATHS = "the folders in the paths of the table do not exist here, so that images are found by their names"
SEPARATORS = "|;, "


def find_table(files: Listing) -> Layout | None:
    """Recognizes the first table that names images and has something to learn."""
    for table in tables(files):
        names = table.header or _names(table)
        columns = [column_of(name, cells, table.divider) for name, cells in zip(names, table.columns, strict=True)]
        decimals = {column.name for column in columns if column.has_commas}
        options = _place(files, table, names)
        others = [column for place, column in enumerate(columns) if place != table.path and column.distinct]
        special = _splits(others)
        used = {names[table.path], *special.values()}
        count = len(table.columns[0])
        of_paths = [OTHER_PATHS] if table.place.by_name else []
        where = f"table, {table.name}: {'the first ' if count >= ROWS else ''}{counted(count, 'row')}"
        box, text = find_boxes(files, table, names, used)
        rest = [one for one in others if one.name not in used and one.name not in box]
        if box and (found := _objects(files, table, names, rest)):
            more, what, notes = found
            if text:
                columns_of_box = text.columns if len(text.columns) > 1 else text.columns[0]
                more |= {"box_columns": columns_of_box, "box_format": text.form}
            notes = [*of_paths, *([text.reason] if text else []), *notes]
            certainty = text.certainty if text else "likely"
            more |= {"decimal": ","} if decimals & {*box} else {}
            return Layout("objects", "CsvTable", options | special | more, f"{where}, {what}", certainty, notes)
        if target := _target(files, rest):
            kind, more, what = target
            more |= {"decimal": ","} if decimals & {*more.get("value_columns", [])} else {}
            chosen = more.get("label_column", "label")
            also = [one.name for one in rest if one.may_be_classes and one.name != chosen] if kind == "label" else []
            notes = [f"the class is in the column {chosen}; {listed(also)} could be classes too"] if also else []
            return Layout(kind, "CsvTable", options | special | more, f"{where}, {what}", "likely", [*of_paths, *notes])
    return None


def _names(table: Table) -> list[str]:
    """Names the columns of a table without a header: RetinaNet's tables have a path, a box and a class."""
    count, first = len(table.columns), ["path", *BOX, "label"]
    is_box = count == len(first) and table.path == 0 and all(is_number(cell) for cell in table.columns[1] if cell)
    if is_box:
        return first
    names = [f"column{number}" for number in range(1, count + 1)]
    names[table.path] = "path"
    if count == 2:
        names[1 - table.path] = "label"
    return names


def _place(files: Listing, table: Table, names: Sequence[str]) -> dict[str, Any]:
    """Returns the options that say where the table and its images are."""
    pattern, folder = _of_splits(files, table)
    options: dict[str, Any] = {"path": str(files.path(pattern))}
    are_below, extension, by_name = folder.endswith("**"), table.place.extension, table.place.by_name
    folder = folder.removesuffix("**").rstrip("/")
    if folder != pattern.rpartition("/")[0]:
        options["root"] = str(files.path(folder))
    if extension or are_below or by_name:
        options["pattern"] = f"{'**/' if are_below else ''}{{{'name' if by_name else 'path'}}}{extension}"
    if table.header is None:
        options["columns"] = [*names]
    if names[table.path] != "path":
        options["path_column"] = names[table.path]
    return options


def _of_splits(files: Listing, table: Table) -> tuple[str, str]:
    """Returns the table and the folder of its images, with `{split}` if other splits have such a table too."""
    pattern, split = without_split(table.name)
    if split != "train":
        return table.name, table.place.folder
    alike = [name for name in files.names if name != table.name and without_split(name)[0] == pattern]
    if not alike or {first_line(files, name) for name in (table.name, *alike)} != {first_line(files, table.name)}:
        return table.name, table.place.folder
    folder, of = without_split(table.place.folder)
    return pattern, folder if of == split else table.place.folder


def _splits(columns: Sequence[Column]) -> dict[str, Any]:
    """Returns the columns of splits and of groups."""
    found: dict[str, Any] = {}
    for column in columns:
        parts = {*map(split_of, column.distinct)}
        if "train" in parts and None not in parts and len(parts) > 1:
            found.setdefault("split_column", column.name)
        elif GROUP.fullmatch(column.name) and 1 < len(column.distinct) < column.count:
            found.setdefault("group_column", column.name)
    return found


def _objects(
    files: Listing, table: Table, names: Sequence[str], columns: Sequence[Column]
) -> tuple[dict[str, Any], str, list[str]] | None:
    """Returns the options that name the class of each box, what it is in words, and notes; None if each image has one
    row, with something else to learn."""
    images = table.columns[table.path]
    several = len({*images}) < len(images)
    of_images = [one.name for one in columns if one.name.casefold() in SIZES]
    if several:
        pairs = {one.name: {*zip(images, table.columns[names.index(one.name)], strict=True)} for one in columns}
        of_images += [one.name for one in columns if not one.is_named_label and len(pairs[one.name]) == len({*images})]
    rest = [one for one in columns if one.name not in of_images]
    classes = [one for one in rest if one.may_be_classes and (one.is_named_label or not one.are_decisions)]
    notes = _unlisted(files, table)
    if label := next(iter([one for one in classes if one.is_named_label] or classes), None):
        options, found = _label(files, label)
        return options | {"objects": "all"}, f"boxes of {counted(len(found), 'class')} ({listed(found)})", notes
    if rest and not several:
        return None
    note = f"no column has the class of a box, so that all are called {OBJECT}; change `class_names`"
    doubtful = [name for name in dict.fromkeys(of_images) if name.casefold() not in SIZES]
    if doubtful:
        note += f" ({listed(doubtful)} is the same in all rows of an image, as no class of a box is)"
    return {"label_column": None, "class_names": [OBJECT], "objects": "all"}, "boxes of one class", [note, *notes]


def _unlisted(files: Listing, table: Table) -> list[str]:
    """Returns a note if some images beside those of a table are not in it, which may have no object."""
    folder = table.place.folder.removesuffix("**").rstrip("/")
    beside = [name for name in files.images if name.startswith(f"{folder}/" if folder else "")]
    if len(beside) <= len({*table.columns[table.path]}):
        return []
    return ["images that are not in the table are not used; for one without an object, add a row with its path alone"]


def _target(files: Listing, columns: Sequence[Column]) -> tuple[str, dict[str, Any], str] | None:
    """Returns the kind of the target, the options that name its columns, and what it is in words."""
    decisions = [column for column in columns if column.are_decisions]
    if len(decisions) < 2 < 1 + sum(column.are_signs for column in columns):
        decisions = [column for column in columns if column.are_signs]
    classes = [column for column in columns if column.may_be_classes and column not in decisions]
    classes = [column for column in classes if len(column.distinct) > 1 or column.count >= ROWS]
    named = [column for column in classes if column.is_named_label]
    numbers = [column for column in columns if column.has_numbers and not column.may_be_classes]
    if separator := next((sign for column in named for sign in SEPARATORS if is_list(column, sign)), None):
        label = next(column for column in named if is_list(column, separator))
        names = sorted({part.strip() for cell in label.distinct for part in cell.split(separator) if part.strip()})
        options = {"labels_separator": separator, **_renamed("label_column", label.name, "label")}
        return "labels", options, f"lists of {counted(len(names), 'class')} ({listed(names)})"
    if len(decisions) > 1 and not named:
        names = [column.name for column in decisions]
        what = f"columns of {-1 if decisions[0].are_signs else 0} and 1 for {counted(len(names), 'class')}"
        return "labels", {"labels_columns": names}, f"{what} ({listed(names)})"
    value = next((column for column in numbers if VALUE.fullmatch(column.name)), None)
    if value and not named:
        return "value", {"value_columns": [value.name]}, f"numbers in the column {value.name}"
    if label := next(iter(named or decisions or classes), None):
        options, names = _label(files, label)
        return "label", options, f"{counted(len(names), 'class')} ({listed(names)})"
    if numbers:
        return "value", {"value_columns": [numbers[0].name]}, f"numbers in the column {numbers[0].name}"
    return None


def _label(files: Listing, column: Column) -> tuple[dict[str, Any], list[str]]:
    """Returns the options of the column of classes, and their names."""
    options = _renamed("label_column", column.name, "label")
    names = {str(number): name for number, name in names_beside(files).items()} if column.has_numbers else {}
    names = names or codes_beside(files, column.distinct)
    if column.distinct <= {*names}:
        is_whole = column.count < ROWS  # else other rows may have other labels
        used = {code: name for code, name in names.items() if code in column.distinct or not is_whole}
        return options | {"label_names": used}, [*used.values()]
    return options, sorted(column.distinct)


def _renamed(option: str, name: str, default: str) -> dict[str, Any]:
    return {} if name == default else {option: name}
