"""Frames of videos."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import MAX_PIXELS
from visiontasks.core.images import read_bytes, shown

VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
# FFmpeg's names of their formats; the file of another one may be a text that names addresses to open
FORMATS = {"format_whitelist": "avi,m4v,matroska,mov,mpeg,mpegts,mpegvideo", "protocol_whitelist": ""}


def frames(path: Path, every: int = 1) -> Iterator[tuple[int, Callable[[], np.ndarray]]]:
    """Decodes every n-th frame of a video.

    Yields:
        The number of every n-th frame, from 0, and a function that returns it: uint8 (H, W, 3), RGB, upright.

    Raises:
        InputError: The file cannot be read, or has no frames.
    """
    with _opened(path) as container:
        number = -1
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == 0:
                yield number, partial(_upright, frame)
        if number < 0:
            raise InputError(f"{shown(path)}: a video without frames. Export it again.")


def frame_count(path: Path, every: int = 1) -> int | None:
    """Returns the number of frames that `frames` yields, or None if the file does not say."""
    with _opened(path) as container:
        count = container.streams.video[0].frames
        return -(-count // every) if count else None


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    try:
        import av
    except ImportError:
        raise InputError(f"{shown(path)}: a video needs PyAV. Install it: pip install 'visiontasks[video]'.") from None
    read_bytes(path, 1)  # raises if the file is missing or unreadable
    try:
        with path.open("rb") as file, av.open(file, container_options=FORMATS, metadata_errors="replace") as container:
            if not container.streams.video:
                raise InputError(f"{shown(path)}: it has no pictures, only sound.")
            video = container.streams.video[0]
            if video.width * video.height > MAX_PIXELS:
                raise InputError(f"{shown(path)}: more than {MAX_PIXELS:,} pixels per frame. Scale it down.")
            video.thread_type = "AUTO"
            yield container
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{shown(path)}: broken or truncated video ({error.strerror}).") from None


def _upright(frame: Any) -> np.ndarray:
    """Rotates a frame upright; phones store frames as the sensor sees them, and the angle in the metadata."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
