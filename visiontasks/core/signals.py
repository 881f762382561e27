"""Signals that end a command: at once, or between two steps of a training."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from threading import current_thread, main_thread

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
REQUEUE = getattr(signal, "SIGUSR1", None) if "SLURM_JOB_ID" in os.environ else None  # as `sbatch --signal=USR1@90`


class Interrupted(SystemExit):
    """A signal ended the process, whose status is 128 plus the number of the signal, as in shells."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return f"interrupted by {signal.Signals(self.number).name}"


class Inbox:
    """Holds the first signal that came until it is read.

    Attributes:
        number: The number of the signal; 0 if none came.
        closed: If true, a second signal is ignored instead of ending the process, as while a file is written.
    """

    def __init__(self) -> None:
        self.number, self.closed = 0, False

    def receive(self, number: int, frame: object) -> None:
        """Handles a signal; the second one raises `Interrupted`."""
        if self.number and not self.closed:
            raise Interrupted(number)
        self.number = self.number or number

    @contextmanager
    def open(self) -> Generator[None]:
        """Receives the signals within the block; does nothing outside the main thread, which alone may do so."""
        with handled(self.receive, *ENDING, *([REQUEUE] if REQUEUE else [])):
            yield


@contextmanager
def handled(handler: object, *numbers: int) -> Generator[None]:
    """Sets the handler of signals within the block."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}  # ty: ignore
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def end_now(number: int, frame: object) -> None:
    """Handles a signal by raising `Interrupted`."""
    raise Interrupted(number)
