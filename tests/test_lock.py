"""Only one process at a time writes to a folder, and a process that died does not block it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from visiontasks.core.errors import InputError
from visiontasks.core.lock import lock

HOLD = "import sys, time; from pathlib import Path; from visiontasks.core.lock import lock\n"
HOLD += "with lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_second_holder_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with lock(tmp_path):
        message = rf"in use by process {os.getpid()} on \S+ since \d+-.* remove {tmp_path}/\.lock"
        with pytest.raises(InputError, match=message), lock(tmp_path):
            pass
        assert (tmp_path / ".lock").is_file()
    assert not any(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        _ = 1 / 0
    assert not any(tmp_path.iterdir())


def test_a_full_disk_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(InputError, match=r"\.lock: cannot be written \(No space left on device\)"), lock(tmp_path):
        pass
    assert not any(tmp_path.iterdir())


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"in use by process {other.pid} on "), lock(tmp_path):
            pass
        other.kill()
    with lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "stale"),
    [
        ({"start": "1"}, True),  # another process got the number
        ({"pid": 2**22 + 1}, True),  # more than Linux allows
        ({"pid": 2**70}, True),
        ({"host": "another", "pid": 2**22 + 1}, False),
        ({"pid": "1"}, False),  # not a lock of ours
    ],
)
def test_which_locks_are_taken_over(values: dict[str, Any], stale: bool, tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with lock(tmp_path):
        change(path, **values)
        with ExitStack() as stack:
            if not stale:
                stack.enter_context(pytest.raises(InputError, match="in use by"))
            stack.enter_context(lock(tmp_path))
    assert path.exists() is not stale  # the first holder left the lock of the other one alone


def test_one_of_many_takes_over_a_stale_lock(tmp_path: Path) -> None:
    with lock(tmp_path):
        old = (tmp_path / ".lock").read_text()

    def take() -> bool:
        try:
            stack.enter_context(lock(tmp_path))
        except InputError:
            return False
        return True

    for _ in range(20):
        (tmp_path / ".lock").write_text(old)
        change(tmp_path / ".lock", start="1")
        with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda _: take(), range(8))) == 1


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing.* cannot be written \(No such file or directory\)"):
        lock(tmp_path / "missing").__enter__()
