"""Sizes and shapes of images against the picture that a network sees."""

from collections.abc import Iterator

import numpy as np

from visiontasks.core.geometry import height_width
from visiontasks.core.words import counted
from visiontasks.doctor.evidence import Evidence
from visiontasks.doctor.finding import Finding

EXTREME = 4.0  # longer over shorter side
STRETCHED = 2.0  # how much an image is stretched in one direction
MANY = 0.2  # share of the images
LITTLE, SMALLER = 64, 0.25  # pixels of the longer side, and share of the usual one, of an image that may be an icon
ENLARGED = 2.0


def check_sizes(evidence: Evidence) -> Iterator[Finding]:
    """Finds images of an extreme aspect or much smaller than the others, and sets that are stretched or enlarged."""
    known = [(s, i, size) for s, found in evidence.sizes.items() for i, size in enumerate(found.tolist()) if all(size)]
    if not known:
        return
    sizes = np.array([size for *_, size in known], float)
    aspects = sizes[:, 1] / sizes[:, 0]
    places = [evidence.place(s, i, f"{w} x {h}") for s, i, (h, w) in known]
    usual = np.median(np.maximum(aspects, 1 / aspects))
    odd = np.maximum(aspects, 1 / aspects) >= max(EXTREME, 2 * usual)
    if odd.any():
        message = f"{counted(int(odd.sum()), 'image')} with one side more than {EXTREME:g} times as long as the other."
        fix = "Check that they are whole images; cut them, or remove them."
        yield Finding("extreme_aspect", "warning", message, fix, [places[i] for i in np.flatnonzero(odd)])
    longest = sizes.max(1)
    tiny = (longest < LITTLE) & (longest < SMALLER * np.median(longest))
    if tiny.any():
        message = f"{counted(int(tiny.sum()), 'image')} much smaller than the others."
        fix = "They may be icons or thumbnails: get the originals, or remove them."
        yield Finding("tiny_images", "warning", message, fix, [places[i] for i in np.flatnonzero(tiny)])
    yield from _fit(evidence, sizes, aspects)


def _fit(evidence: Evidence, sizes: np.ndarray, aspects: np.ndarray) -> Iterator[Finding]:
    height, width = height_width(evidence.data.image_size)
    stretch = np.maximum(aspects / (width / height), width / height / aspects)
    if evidence.data.resize == "stretch" and (share := (stretch >= STRETCHED).mean()) >= MANY:
        message = f"{share:.0%} of the images are stretched by a factor of {STRETCHED:g} or more."
        fix = "Set `resize: letterbox`, or an `image_size: [height, width]` of their shape."
        yield Finding("stretched", "warning", message, fix)
    factor = np.minimum(height / sizes[:, 0], width / sizes[:, 1])
    if (share := (factor > ENLARGED).mean()) >= MANY:
        middle = " x ".join(f"{side:.0f}" for side in np.median(sizes, 0)[::-1])
        message = f"{share:.0%} of the images are enlarged more than {ENLARGED:g} times (median {middle} pixels)."
        yield Finding("enlarged", "note", message, "A smaller `image_size` is faster, and may be as good.")
