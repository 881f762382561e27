"""Freed memory stays with the process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource
from visiontasks.core.memory import keep_freed_memory
print(keep_freed_memory())
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize("own", [False, True])
def test_a_freed_block_is_used_again_unless_the_environment_says_otherwise(own: bool) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    environment |= {"MALLOC_MMAP_MAX_": "65536"} if own else {}
    child = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    done, faults = child.stdout.split()
    assert done == str(not own)
    assert (int(faults) > 1000) == own
