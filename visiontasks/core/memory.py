"""Memory of the process."""

import ctypes
import gc
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Makes glibc's malloc reuse freed memory instead of returning it to the system.

    By default, malloc requests every block above 32 MB from the system, which fills it with zeros page by page. This
    takes a quarter of a training step on a CPU, because each step needs activations of the same size again. The peak
    memory of the process grew by at most a sixth in our measurements (`benchmarks/memory.py`).
    Returns False, without any effect, with another C library or if the environment configures malloc.
    """
    if platform.libc_ver()[0] != "glibc" or any(key.startswith(("MALLOC_", "GLIBC_TUNABLES")) for key in os.environ):
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1))


@contextmanager
def garbage_kept() -> Generator[None]:
    """Pauses the garbage collector, which searches all rows of a large file again and again while they are read."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
