"""Text that users write: lists, tables and names."""

import json
import unicodedata
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from os import PathLike
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_bytes, shown

UNSEEN = ("Cc", "Cf", "Zl", "Zp")  # Unicode's categories of controls, formats, and ends of lines and paragraphs
FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # other characters that show nothing
JOINERS = "\u200c\u200d"


def read_text(path: str | PathLike[str]) -> str:
    """Returns the text of a file; see `decode_text`."""
    return decode_text(read_bytes(path), shown(path))


def read_json(path: str | PathLike[str], limit: int = -1) -> Any:
    """Returns the content of a JSON file; one that is not JSON, or has more than `limit` bytes, is an InputError."""
    data = read_bytes(path, limit if limit < 0 else limit + 1)
    if 0 <= limit < len(data):
        raise InputError(f"{shown(path)}: more than {limit:,} bytes, too much for such a file.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown(path)}: not JSON ({error}).") from None


def decode_text(data: bytes, name: str, errors: str = "strict") -> str:
    r"""Decodes UTF-8, or UTF-16 with a byte order mark; lines end with \n, and messages call the file `name`.

    Raises:
        InputError: The text has another encoding or a NUL character.
    """
    is_utf16 = data.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig", errors)  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        fault = f"not {'UTF-16' if is_utf16 else 'UTF-8'} at byte {error.start}"
        found = "" if is_utf16 else " It may be latin-1 or cp1252."
        raise InputError(f"{name}: {fault}.{found} Save the file as UTF-8.") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if (place := text.find("\0")) >= 0:
        line = text.count("\n", 0, place) + 1
        raise InputError(f"{name}, line {line}: it has a NUL character. Remove it, or save the file as UTF-8.")
    return text


def is_missing(text: str) -> bool:
    """Returns whether a text is how tables write a missing value; NA and none may be names."""
    return text.lower() in ("", "nan", "null", "<na>", "#n/a", "n/a")


def invisible(name: str) -> str:
    """Returns the first character of a name that cannot be seen, or an empty text.

    Joiners between characters that are not ASCII do not count: the spelling of some languages, and emoji, need them.
    """
    if name.isascii() and name.isprintable():
        return ""
    for place, sign in enumerate(name):
        between = name[place - 1 : place] > "\x7f" and name[place + 1 : place + 2] > "\x7f"
        if (unicodedata.category(sign) in UNSEEN or sign in FILLERS) and not (sign in JOINERS and between):
            return sign
    return ""


def normal(name: str) -> str:
    """Returns a name in the form in which names are compared: without spaces at its ends, in Unicode's form NFC.

    Some systems write é as one character, others as e and an accent.
    """
    name = name.strip()
    return name if name.isascii() else unicodedata.normalize("NFC", name)
