"""Opening of a set that may have faults."""

import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple

from visiontasks.core.errors import InputError
from visiontasks.core.faults import Fault, Faults, collecting
from visiontasks.core.memory import garbage_kept
from visiontasks.data import VisionDataModule, VisionDataset, Windows
from visiontasks.data.splits import SPLITS, MissingSplit

SHARED = "lightning.pytorch.utilities.rank_zero"  # the logger that datasets talk to


class Opened(NamedTuple):
    """What could be opened of a set.

    Attributes:
        datasets: The splits, without what has a fault. For windows of images, the set of whole images.
        faults: The faults of each split, and of the files that are read for it.
        failed: Why splits could not be opened at all.
        said: What the datasets say as they are opened, each message once, up to the first fault that stops a training.
    """

    datasets: dict[str, VisionDataset]
    faults: dict[str, list[Fault]]
    failed: dict[str, str]
    said: list[str]


def open_splits(data: VisionDataModule) -> Opened:
    """Opens all splits of a set, and goes on after a fault that would stop a training."""
    opened = Opened({}, {}, {}, [])
    collected: list[Faults] = []

    def hear(message: str) -> None:
        if message not in opened.said and not opened.failed and not any(faults.refused for faults in collected):
            opened.said.append(message)

    with _listening(hear):
        for split in SPLITS:
            with collecting() as faults:
                collected.append(faults)
                _open(data, split, opened)
            opened.faults[split] = list(dict.fromkeys(faults))
    return opened


def _open(data: VisionDataModule, split: str, opened: Opened) -> None:
    try:
        with garbage_kept():
            made = data.make_dataset(split)
        made.set_reading(data.gray_range, data.page)
    except MissingSplit as error:
        if split != "test":
            opened.failed[split] = str(error)
        return
    except InputError as error:
        opened.failed[split] = str(error)
        return
    while isinstance(made, Windows):
        made = made.source
    opened.datasets[split] = made


class _Listener(logging.Handler):
    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self.hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self.hear(record.getMessage())


@contextmanager
def _listening(hear: Callable[[str], None]) -> Generator[None]:
    """Hands what is logged and warned of to `hear` at once, instead of printing it."""
    logger, listener = logging.getLogger(SHARED), _Listener(hear)
    before = logger.propagate, logger.level

    def show(message: Warning | str, *details: object, **more: object) -> None:
        hear(str(message))

    logger.addHandler(listener)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show  # ty: ignore[invalid-assignment]
            yield
    finally:
        logger.removeHandler(listener)
        logger.propagate = before[0]
        logger.setLevel(before[1])
