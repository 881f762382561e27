"""XML files of annotations."""

from pathlib import Path
from xml.etree import ElementTree

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_bytes


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses document types, because they can declare entities that expand without limit."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type, which annotations do not need")


def read_xml(path: Path, tag: str, kind: str, limit: int) -> ElementTree.Element:
    """Returns the top element of an annotation file of a `kind`, for messages.

    Raises:
        InputError: The file has more than `limit` bytes, is not XML, or its top element has another tag.
    """
    if len(data := read_bytes(path, limit + 1)) > limit:
        raise InputError(f"{path}: more than {limit:,} bytes, too much for an annotation.")
    try:
        tree = ElementTree.fromstring(data, ElementTree.XMLParser(target=_NoDoctype()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise InputError(f"{path}: not a {kind} annotation ({error}). Correct or remove it.") from None
    if tree.tag != tag:
        raise InputError(f"{path}: not a {kind} annotation: <{tree.tag}> instead of <{tag}>.")
    return tree
