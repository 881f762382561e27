"""The page that is read of an image file with several pages or frames."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.faults import refuse_each
from visiontasks.core.headers import has_pages, opened, said_of_pages, seek_page
from visiontasks.core.images import opened_file, shown

SUFFIXES = (".tif", ".tiff", ".gif")  # other formats rarely have several pages; the reader says so when it meets one


def check_pages(files: Sequence[Path], page: int | None) -> None:
    """Checks which files have a page, from their headers; without a page, counts the files that have several.

    Files that cannot be read are left to the reader.

    Raises:
        InputError: Files lack the page; the message names the first ones and counts them.
    """
    if page is None:
        several = [file for file in files if os.fspath(file).lower().endswith(SUFFIXES) and _has_several(file)]
        if several:
            example = f"{shown(several[0])} has {_count(several[0])}"
            advice = "Set `data.page` to the page to read; 1 is the first"
            counted = f"{len(several)} of {len(files)} image files have several pages ({example})"
            said_of_pages(example)
            rank_zero_warn(f"{counted}; only the first is read. {advice}.")
    elif page > 1 and (lacking := [file for file in files if _lacks(file, page)]):
        few = ", ".join(map(shown, lacking[:3])) + (", ..." if len(lacking) > 3 else "")
        counted = f"{len(lacking)} of {len(files)} files lack it: {few}"
        found = f"no page {page}; the file has {_count(lacking[0])}"
        advice = "Set `data.page` to a page that every file has."
        texts = [(path, f"{shown(path)}: no page {page}; the file has {_count(path)}. {advice}") for path in lacking]
        refuse_each("file", texts, f"{shown(lacking[0])}: {found}. {counted}. {advice}")


def _has_several(path: Path) -> bool:
    with suppress(Exception), opened_file(path) as file:
        return has_pages(file)
    return False


def _lacks(path: Path, page: int) -> bool:
    with suppress(Exception), opened_file(path) as file, opened(file) as image:
        return not seek_page(image, page)
    return False


def _count(path: Path) -> int:
    with opened_file(path) as file, opened(file) as image:
        return getattr(image, "n_frames", 1)
