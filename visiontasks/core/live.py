"""Lines of a terminal that what is printed next replaces."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

CLEAR = "\r\x1b[K"  # erases the line
LOADING = "Loading ..."
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # of torchrun, Lightning and SLURM
_shown: list[str] = []


def is_live() -> bool:
    """Returns whether stderr is a terminal where a line can be replaced."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def loading() -> Generator[None]:
    """Shows in the terminal of the first process that a command has begun, until something else is printed."""
    if is_live() and all(os.environ.get(name, "0") == "0" for name in RANKS):
        # the cursor stays at the start, so that a warning replaces the line
        print(f"{LOADING}\r", end="", file=sys.stderr, flush=True)
        _shown.append(LOADING)
    try:
        yield
    finally:
        hide_loading()


def hide_loading() -> None:
    """Erases the line of `loading`, if it is still there."""
    if _shown:
        _shown.clear()
        print(CLEAR, end="", file=sys.stderr, flush=True)
