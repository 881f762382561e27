"""Files that cannot be read, or are stored in an odd way."""

from collections.abc import Callable, Iterator
from pathlib import Path

from visiontasks.core.words import counted
from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.finding import Finding, Place, Severity
from visiontasks.doctor.look import Look
from visiontasks.doctor.survey import files_of

BLANK = 3  # largest difference of the pixels of a blank image, in levels
FILLED = 0.1  # share of rows of one gray that no photo ends with
SUFFIXES = {
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo",
    "MPO": ".jpg .jpeg .jpe .jfif .mpo",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "TIFF": ".tif .tiff",
    "GIF": ".gif",
    "AVIF": ".avif",
    "PPM": ".ppm .pgm .pbm .pnm",
}
WHITES = (1023, 4095, 16383, 65535)  # the largest values of 10, 12, 14 and 16 bits
RARE = 0.2  # share of the images up to which gray ones are odd

Test = Callable[[Look], bool]


def check_files(evidence: Evidence) -> Iterator[Finding]:
    """Finds images that cannot be read, are blank or end in gray, and files of another format than their suffix."""
    broken = _where(evidence, lambda look: bool(look.error) and not look.is_dim, lambda look: look.error)
    fix = "Replace these files, or remove them with their labels. A training stops at the first one."
    yield from _found("unreadable", "error", broken, "cannot be read (empty, truncated, or not an image)", fix)
    blank = _where(evidence, lambda look: not look.error and look.spread <= BLANK)
    yield from _found("blank", "warning", blank, "of one color only", "Remove these images.")
    filled = _where(
        evidence,
        lambda look: look.spread > BLANK and look.filled >= FILLED,
        lambda look: f"{look.filled:.0%} of its rows",
    )
    fix = "Look at these images; copy them again from their source if they are damaged."
    yield from _found("gray_end", "warning", filled, "ending in plain gray, as damaged files do", fix)
    yield from _suffixes(evidence)
    yield from _odd(evidence)


def _suffixes(evidence: Evidence) -> Iterator[Finding]:
    places = []
    for split, survey in evidence.surveys.items():
        for index, (file, look) in enumerate(zip(files_of(evidence.datasets[split]), survey.looks, strict=False)):
            suffix, kind = Path(file).suffix.lower(), look.header.format
            if kind and suffix not in SUFFIXES.get(kind, suffix).split():
                places.append(evidence.place(split, index, f"{kind}, not {suffix}"))
    fix = "They are read by their content. Other programs may refuse them: rename them."
    yield from _found("suffix", "note", places, "of another format than the file name says", fix)


def _odd(evidence: Evidence) -> Iterator[Finding]:
    """Finds ways of storing pixels that programs read in different ways."""
    annotated = any(dataset.names("mask") for dataset in evidence.datasets.values()) or evidence.has_boxes
    turned = _where(evidence, lambda look: look.header.stored > 1, lambda look: f"orientation {look.header.stored}")
    fix = "Images are turned upright as they are read."
    fix += " Check that their masks and boxes were made for the upright image." if annotated else ""
    severity: Severity = "warning" if annotated else "note"
    yield from _found("exif_turn", severity, turned, "turned by EXIF", fix)
    yield from _deep(evidence)
    cmyk = _where(evidence, lambda look: look.header.mode in ("CMYK", "YCCK", "LAB"), lambda look: look.header.mode)
    fix = "Their colors are converted roughly. Save them as RGB if colors matter."
    yield from _found("cmyk", "note", cmyk, "made for print (CMYK)", fix)
    alpha = _where(evidence, lambda look: look.header.alpha, lambda look: look.header.mode)
    fix = "Transparent pixels become white. Save them without alpha if that is wrong."
    yield from _found("alpha", "note", alpha, "with transparency", fix)
    pages = _where(evidence, lambda look: look.header.pages)
    fix = "Only the first page or frame is read; `data.page` chooses another."
    yield from _found("pages", "note", pages, "with several pages or frames", fix)
    gray = _where(evidence, lambda look: look.header.mode in ("L", "LA", "1", "I", "F") and bool(look.header.format))
    if len(gray) <= RARE * sum(len(survey.looks) for survey in evidence.surveys.values()):
        fix = "They are read as color images without color. This is fine if new images may be gray, too."
        yield from _found("gray", "note", gray, "without color among color images", fix)


def _deep(evidence: Evidence) -> Iterator[Finding]:
    """Finds images of 16 bits: those that a training stops at, those that `gray_range` cuts, and the others."""
    looks = [look for survey in evidence.surveys.values() for look in survey.looks]
    highest = max((look.highest for look in looks), default=0)
    white = next((value for value in WHITES if value >= highest), highest)
    stated = evidence.data.gray_range
    limit = stated[1] if stated else WHITES[-1]
    fix = f"Set `data.gray_range: [0, {white}]`, which holds all values that were seen. Images of fewer bits are then "
    fix += "dark: save all with the same number of bits."
    dim = _where(evidence, lambda look: look.is_dim, lambda look: look.error)
    text = "of 16 bits with small values, at which a training stops"
    is_gray = any(look.is_dim and look.highest for look in looks)
    yield from _found("deep", "error", dim, text, fix if is_gray else "Convert them to 8 bits.")
    cut = _where(evidence, lambda look: look.highest > limit, _values)
    yield from _found("deep", "warning", cut, f"with values above {limit:g}, which `gray_range` makes white", fix)
    deep = _where(evidence, lambda look: look.header.deep and not look.is_dim and look.highest <= limit, _values)
    yield from _found("deep", "note" if stated else "warning", deep, "of 16 bits", f"16 bits become 8. {fix}")


def _values(look: Look) -> str:
    return f"{look.header.mode}, values up to {look.highest}" if look.highest else look.header.mode


def _where(evidence: Evidence, test: Test, note: Callable[[Look], str] = lambda look: "") -> list[Place]:
    return [
        evidence.place(split, index, note(look))
        for split, survey in evidence.surveys.items()
        for index, look in enumerate(survey.looks)
        if test(look)
    ]


def _found(check: str, severity: Severity, places: list[Place], text: str, fix: str) -> Iterator[Finding]:
    if places:
        yield Finding(check, severity, f"{counted(len(places), 'image')} {text}.", fix, places)
