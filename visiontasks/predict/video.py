"""The frames of videos."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.images import read_bytes, shown

VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")


def frames(path: Path, every: int = 1) -> Iterator[tuple[int, Callable[[], np.ndarray]]]:
    """Decodes a video.

    Args:
        path: Of its file.
        every: Each n-th frame.

    Yields:
        The number of a frame, from 0, and a function that gives it: uint8 (H, W, 3), RGB, upright.

    Raises:
        InputError: It cannot be read, or has no picture.
    """
    with _opened(path) as container:
        number = -1
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == 0:
                yield number, partial(_upright, frame)
        if number < 0:
            raise InputError(f"{shown(path)}: a video without a frame. Export it anew.")


def frame_count(path: Path, every: int = 1) -> int | None:
    """How many frames `frames` gives; None where the file does not say."""
    with _opened(path) as container:
        count = container.streams.video[0].frames
        return -(-count // every) if count else None


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    try:
        import av
    except ImportError:
        raise InputError(f"{shown(path)}: a video needs PyAV. Install it: pip install 'visiontasks[video]'.") from None
    read_bytes(path, 1)  # no such file, or none that may be read
    try:
        with path.open("rb") as file, av.open(file, metadata_errors="replace") as container:
            if not container.streams.video:
                raise InputError(f"{shown(path)}: no pictures in it, sound alone.")
            container.streams.video[0].thread_type = "AUTO"
            yield container
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{shown(path)}: broken or truncated video ({error.strerror}).") from None


def _upright(frame: Any) -> np.ndarray:
    """A telephone's video is stored as the sensor lies, with the angle beside it."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
