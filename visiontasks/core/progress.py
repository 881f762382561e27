"""Progress bars in the terminal."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from rich.progress import track as track_visibly

Item = TypeVar("Item")


def track(items: Iterable[Item], title: str, total: float | None = None, hidden: bool = False) -> Iterable[Item]:
    """Yields items beside a progress bar that leaves nothing behind; a file or a pipe gets none."""
    return track_visibly(items, title, total, transient=True, disable=hidden or not sys.stdout.isatty())


def duration(seconds: float) -> str:
    """Returns a time in words: `45 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
