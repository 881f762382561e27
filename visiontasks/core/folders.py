"""Folders of images: which of their files are samples."""

import os
from collections.abc import Iterable
from pathlib import Path

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse, refuse_each
from visiontasks.core.images import EXTENSIONS, shown

UNREADABLE = (  # photos and drawings in formats that are not read
    *(".arw", ".cr2", ".cr3", ".dng", ".exr", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jxl"),
    *(".nef", ".orf", ".psd", ".raf", ".rw2", ".svg", ".tga"),
)
LITTER = {  # what systems leave in folders, in any case
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"),
    *("system volume information", "icon\r"),
}


def is_litter(name: str) -> bool:
    """Returns whether a file or folder is hidden, or left by the system, and so never a sample."""
    return name.startswith(".") or name.lower() in LITTER


def entries(folder: Path, checked: bool = True) -> tuple[list[str], list[str]]:
    """Returns the names of the folders and files in a folder, sorted, without litter; links are followed.

    A link that leads nowhere, a pipe, a socket or a device is an InputError, or, if not `checked`, a file.

    Raises:
        InputError: The folder cannot be read.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if is_litter(entry.name):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file() or not checked:
                    files.append(entry.name)
                else:
                    is_link = entry.is_symlink() and not os.path.exists(entry.path)
                    fault = "a link that leads nowhere" if is_link else "a pipe, a socket or a device, not a file"
                    refuse("file", entry.path, InputError(f"{shown(entry.path)}: {fault}. Remove it."))
    except OSError as error:
        raise InputError(f"{shown(error.filename or folder)}: the folder cannot be read ({error.strerror}).") from None
    return sorted(folders), sorted(files)


def walk(folder: Path, checked: bool = True) -> list[Path]:
    """Lists the files below a folder: those of a folder by name, then those of its folders; see `entries`.

    Links are followed, but each folder is visited once.
    """
    found, seen = [], {os.path.realpath(folder)}
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        folders, files = entries(parent, checked)
        found += [parent / name for name in files]
        inner = {os.path.realpath(parent / name): parent / name for name in reversed(folders)}
        waiting += [path for real, path in inner.items() if real not in seen]
        seen |= inner.keys()
    return found


def images_below(folder: Path) -> list[Path]:
    """Lists the images below a folder, in the order of `walk`; an image of a format that is not read is an error."""
    found = walk(folder)
    if strange := with_suffix(found, UNREADABLE):
        few = ", ".join(shown(path) for path in strange[:3]) + (", ..." if len(strange) > 3 else "")
        advice = "Convert them, or move them away."
        texts = [(path, f"{shown(path)}: an image of a format that is not read. {advice}") for path in strange]
        refuse_each("file", texts, f"{few}: {len(strange)} images of formats that are not read. {advice}")
    return with_suffix(found, EXTENSIONS)


def with_suffix(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """Returns the paths that end so, in any case."""
    return [path for path in paths if path.name.lower().endswith(suffixes)]
