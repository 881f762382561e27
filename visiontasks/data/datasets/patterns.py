"""Images and their masks, which have a part of their paths in common."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from visiontasks.core.errors import InputError
from visiontasks.core.faults import refuse, refuse_each
from visiontasks.core.folders import images_below
from visiontasks.core.images import EXTENSIONS
from visiontasks.core.text import normal
from visiontasks.data.splits import SPELLINGS, split_path

Pair = tuple[Path, Path]
STEM, SPLIT, ANY = "{stem}", "{split}", ".*"


class Pattern(NamedTuple):
    """Images below a folder, whose relative paths have a form: an image and its mask share the stem in it.

    Attributes:
        text: What the user wrote.
        folder: The folder of the split.
        form: The form of the paths below it.
        by_name: Whether the paths below it say the split.
    """

    text: str
    folder: Path
    form: re.Pattern[str]
    by_name: bool

    @classmethod
    def of(cls, root: Path, text: str, split: str) -> "Pattern":
        """Reads what a user writes, relative to `root`: a folder, or a path with `{stem}`; `{split}` is the split.

        Raises:
            InputError: The path has no extension of an image, or a star elsewhere.
        """
        path = text if STEM in text else f"{text}/{STEM}{ANY}"
        above, _, end = path.partition(STEM)
        inner, _, start = above.rpartition("/")
        rest = f"{start}{STEM}{end}"
        if "*" in rest.removesuffix(ANY) or not rest.lower().endswith((ANY, *EXTENSIONS)):
            raise InputError(f"{text!r} must end with an extension of images, such as .png, or .* for any.")
        return cls(text, split_path(str(root / inner), split), _form(rest, split), SPLIT in rest)

    def exists(self) -> bool:
        """Returns whether there is the split: its folder or, if the paths below it say the split, one of its files."""
        return self.folder.is_dir() and (not self.by_name or any(map(self.stem, images_below(self.folder))))

    def stem(self, path: Path) -> str | None:
        """Returns the stem of a file, which is a relative path without extension; None if it has another form."""
        if not path.is_relative_to(self.folder):
            return None
        found = self.form.fullmatch(path.relative_to(self.folder).as_posix())
        return found and normal(found["stem"])

    def files(self, others: "Pattern | None" = None) -> tuple[dict[str, Path], list[Path]]:
        """Returns the files by their stems, and those of another form; what is one of the `others` is neither.

        Raises:
            InputError: The folder is missing, no file has the form, or two files have the same stem.
        """
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such folder. Set `images` and `masks` to folders in `root`.")
        found: dict[str, Path] = {}
        left = []
        below = images_below(self.folder)
        for path in below if others is None else [path for path in below if not others.stem(path)]:
            if (stem := self.stem(path)) is None:
                left.append(path)
            elif (before := found.setdefault(stem, path)) is not path:
                fault = f"{path}: {before.name} has the same name except for the extension. Rename one."
                refuse("twice", path, InputError(fault))
        if not found and STEM in self.text and below:
            few = ", ".join(path.name for path in below[:3])
            raise InputError(f"{self.folder}: no image fits {self.text!r}; the first ones are {few}. Correct it.")
        if not found:
            raise InputError(f"{self.folder}: no images ({', '.join(EXTENSIONS)}) in this folder.")
        return found, left


def _form(text: str, split: str) -> re.Pattern[str]:
    parts = {SPLIT: f"(?i:{'|'.join(SPELLINGS[split])})", ANY: r"\.[^./]+"}
    first, *more = text.split(STEM)
    tokens = [re.split(r"(\{split\}|\.\*$)", part) for part in (first, *more)]
    texts = ["".join(parts.get(token) or re.escape(token) for token in found) for found in tokens]
    return re.compile(texts[0] + "(?P<stem>.+)" + "(?P=stem)".join(texts[1:]), re.DOTALL)


def all_pairs(images: Pattern, masks: Pattern) -> list[Pair]:
    """Returns the pairs in string order of their stems, and counts files that are neither an image nor a mask.

    Raises:
        InputError: A file has no partner.
    """
    (first, odd), (second, rest) = images.files(masks), masks.files()
    one, other = (pattern.text if STEM in pattern.text else pattern.folder for pattern in (images, masks))
    if not first.keys() & second.keys():
        names = " and ".join(", ".join([*sorted(files)[:3], "..."]) for files in (first, second))
        advice = "Give both the same names, describe them as in `masks/{stem}_mask.png`, or list the pairs in `lists`."
        raise InputError(f"{one}: no image has the name of a mask in {other}: {names}. {advice}")
    _check_partners(first, second.keys(), "images", f"mask in {other}", one)
    _check_partners(second, first.keys(), "masks", f"image in {one}", other)
    if left := sorted({*odd, *rest} - {*first.values(), *second.values()}):
        few = ", ".join(path.name for path in left[:3]) + (", ..." if len(left) > 3 else "")
        rank_zero_info(f"{images.folder}: {len(left)} images fit neither {one} nor {other} and are left out: {few}")
    return [(first[stem], second[stem]) for stem in sorted(first) if stem in second]


def _check_partners(files: dict[str, Path], others: Iterable[str], what: str, partner: str, where: str | Path) -> None:
    if lonely := sorted({*files}.difference(others)):
        few = ", ".join(lonely[:3]) + (", ..." if len(lonely) > 3 else "")
        fault = f"{len(lonely)} of {len(files)} {what} have no {partner}: {few}"
        texts = [(files[stem], f"{files[stem]}: no {partner}.") for stem in lonely]
        refuse_each("partner", texts, f"{where}: {fault}. Add them, or list the files to use in `lists`.")


def pairs_by_stem(images: Pattern, masks: Pattern) -> dict[str, Pair]:
    """Returns the pairs by their stems; files may lack a partner."""
    first, second = images.files(masks)[0], masks.files()[0]
    return {stem: (first[stem], second[stem]) for stem in first.keys() & second.keys()}
