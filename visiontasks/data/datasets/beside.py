"""Annotations with one file per image."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse, refuse_each
from visiontasks.core.text import normal
from visiontasks.core.words import counted
from visiontasks.data.datasets.records import Record, without_repeats
from visiontasks.data.datasets.repeats import note_repeats, warn_of_repeats

Reader = Callable[[Path, "ImageFiles", str], Record]


def last_part(path: str) -> str:
    """Returns a path without its folders, which may be divided by backslashes."""
    return path.replace("\\", "/").rpartition("/")[2]


class NoImage(InputError):
    """The image of an annotation is missing."""


class ImageFiles:
    """Images below a folder, which are found by their names in annotations."""

    def __init__(self, folder: Path, paths: Iterable[Path]) -> None:
        self.folder, self.paths = folder, list(paths)
        self._by_key, self._by_name = defaultdict[str, list[Path]](list), defaultdict[str, list[Path]](list)
        for path in sorted(self.paths, key=lambda path: (path.suffix.lower(), path.suffix.islower(), path)):
            self._by_key[key_of(path, folder)].append(path)
            self._by_name[normal(path.name)].append(path)

    def find(self, key: str, stated: str) -> Path | None:
        """Returns the image of an annotation: that of the same relative path, `key`, or else of the stated name."""
        name = normal(last_part(stated))
        by_key, by_name = self._by_key.get(key, []), self._by_name.get(name, [])
        both = [path for path in by_key if path in by_name]
        return next(iter(both or by_key or by_name), None) if by_key or len(by_name) == 1 else None

    def image_of(self, file: Path, key: str, stated: str) -> Path:
        """Returns the image of an annotation file; see `find`. If there is none, that is a `NoImage`."""
        if (path := self.find(key, stated)) is None:
            last = ", the end of a path with backslashes, as Windows writes them," if "\\" in stated else ""
            found = f"no image {key}.* nor {last_part(stated)!r}{last} in {self.folder}"
            kind = file.suffix[1:].upper()
            raise NoImage(f"{file}: {found}. Add it, or remove the {kind} file.")
        return path

    def warn_of_others(self, used: Iterable[Path]) -> None:
        """Counts the images that are not used."""
        if others := sorted(set(self.paths).difference(used)):
            few = ", ".join(path.name for path in others[:3]) + (", ..." if len(others) > 3 else "")
            has, are = ("has", "is") if len(others) == 1 else ("have", "are")
            count = counted(len(others), "image", len(self.paths))
            rank_zero_warn(f"{self.folder}: {count} {has} no annotation and {are} left out: {few}")


def key_of(path: Path, folder: Path) -> str:
    """Returns the relative path without extension, by which an image and its annotation belong together."""
    return normal(path.relative_to(folder).with_suffix("").as_posix())


def read_all(found: Iterable[Path], folder: Path, files: ImageFiles, read: Reader, kind: str) -> dict[str, Record]:
    """Reads annotation files, of a `kind` that messages name, in string order.

    Objects with the class, box and outline of one before them do not count, with a warning.

    Returns:
        The images by the paths of their annotation files below `folder`, without extension.

    Raises:
        InputError: Images are missing, or two files have the same image; the message counts them.
    """
    paths = {key_of(path, folder): path for path in sorted(found, key=str)}
    records, missing = {}, []
    used: dict[str | Path, Path] = {}
    for key, path in paths.items():
        try:
            records[key] = record = read(path, files, key)
        except NoImage as error:
            missing.append((key, error))
            continue
        except InputError as error:
            image = files.find(key, "")
            refuse("annotation", image or path, error)
            if image is None:
                continue
            records[key] = record = Record(image, image.relative_to(files.folder).as_posix(), [])
        if (before := used.setdefault(record.path, path)) is not path:
            fault = f"its image, {record.path}, is that of {before} too"
            refuse("twice", record.path, InputError(f"{path}: {fault}. Join or remove one of them."))
            del records[key]
    if missing:
        few = ", ".join(key for key, _ in missing[:3]) + (", ..." if len(missing) > 3 else "")
        more = f" {len(missing)} of {len(paths)} {kind} files have no image: {few}." if len(missing) > 1 else ""
        refuse_each("partner", [(paths[key], str(error)) for key, error in missing], f"{missing[0][1]}{more}")
    count = sum(len(record.annotations) for record in records.values())
    for key, record in records.items():
        records[key] = record._replace(annotations=without_repeats(record.annotations))
        note_repeats(record.path, paths[key], len(record.annotations) - len(records[key].annotations), "object")
    copies = count - sum(len(record.annotations) for record in records.values())
    warn_of_repeats(files.folder, copies, "object", "the same image, name and box as")
    return records
