"""Locks, which keep a second process from writing to the same folder."""

import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.files import cannot_be_written

try:
    import fcntl
except ImportError:  # not on Windows, where two processes could take over a stale lock at the same moment
    fcntl = None

NAME = ".lock"


@contextmanager
def lock(folder: Path) -> Generator[None]:
    """Holds the lock of an existing folder, a file with the process, host and time, and removes it at the end.

    The lock of a process of this host that has ended is taken over.

    Raises:
        InputError: Another process, perhaps on another host, holds the lock; or it cannot be written.
    """
    path, pid, since = folder / NAME, os.getpid(), datetime.now().isoformat(" ", "seconds")
    own = {"pid": pid, "host": socket.gethostname(), "start": _start(pid), "since": since}
    with cannot_be_written(path), _alone(folder):
        if _is_stale(path):
            path.unlink()
        try:
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            raise InputError(f"{folder}: in use by {_holder(path)}.") from None
        try:
            with os.fdopen(file, "w") as opened:
                json.dump(own, opened)
        except OSError:  # a full disk; an empty lock would keep all processes out
            path.unlink()
            raise
    try:
        yield
    finally:
        if os.getpid() == pid and _read(path) == own:  # not in a forked process, nor a lock of somebody else
            path.unlink()


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Keeps other processes of this host waiting, because to take over a lock takes several steps."""
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without such locks
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    is_lock = isinstance(found, dict) and found.keys() >= {"pid", "host", "start", "since"}
    return found if is_lock and isinstance(found["pid"], int) else {}


def _is_stale(path: Path) -> bool:
    found = _read(path)
    return found.get("host") == socket.gethostname() and not _is_running(found["pid"], found["start"])


def _holder(path: Path) -> str:
    process = "process {pid} on {host} since {since}".format_map(found) if (found := _read(path)) else "another run"
    return f"{process}. Wait for its end, or use another folder. If it has ended, remove {path}"


def _is_running(pid: int, start: Any) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # a process of another user
    return _start(pid) == start


def _start(pid: int) -> str:
    """Returns when a process started, which tells it from a later one with its number; empty if that is unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
