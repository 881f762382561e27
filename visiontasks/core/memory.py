"""Memory that is freed stays with the process: a CPU's activations are as large again in the next step."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Has glibc's malloc reuse what is freed instead of giving it back to the system.

    By default it takes every block above 32 MB anew from the system, which fills it with zeros page by page: a
    quarter of a training step on a CPU. What the process holds at its peak grows by a sixth at most in what was
    measured (`benchmarks/memory.py`).

    Returns:
        Whether that was done: not with another C library, nor where the environment has settings of its own.
    """
    if platform.libc_ver()[0] != "glibc" or any(key.startswith(("MALLOC_", "GLIBC_TUNABLES")) for key in os.environ):
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1))
