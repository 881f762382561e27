"""What libraries say about themselves, which is shown with `--verbose` only."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import lightning

import visiontasks

EXPECTED_WARNINGS = (
    ".*in eval mode at the start of training",  # frozen, or batch norm with the pretrained statistics
    "(Checkpoint|Experiment logs) directory .* exists and is not empty",  # config.yaml is there already
    ".*does not have many workers",  # zero is right if the model keeps the cores busy
    ".*callbacks used to create the checkpoint need to be provided",
    ".*is smaller than the logging interval",  # values per epoch are not affected
    ".*isinstance.treespec, LeafSpec.",
    ".*It is recommended to use .self.log.*sync_dist=True",  # figures are computed over all processes already
    ".*no transform to process it",  # color transforms do not move boxes
)
LIGHTNING, RANK_ZERO = ("lightning.pytorch", "lightning.fabric"), "lightning.pytorch.utilities.rank_zero"
FOLDER, OURS = Path(lightning.__file__).parent, Path(visiontasks.__file__).parent
format_whole = warnings.formatwarning


def set_chatter(verbose: bool) -> None:
    """Shows or hides what Lightning tells about itself, and warnings that are known to mean nothing here.

    W&B follows (see `WandbLogger`). Other warnings and all errors are always shown, our own ones in one line.
    """
    for name in LIGHTNING:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
    shared = logging.getLogger(RANK_ZERO)  # which visiontasks uses too
    shared.setLevel(logging.INFO)
    shared.removeFilter(_is_of_others)
    warnings.formatwarning = format_whole if verbose else _format_warning  # ty: ignore[invalid-assignment]
    if not verbose:
        shared.addFilter(_is_of_others)
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)


def is_shown() -> bool:
    """Tells whether Lightning may talk about itself."""
    return logging.getLogger(LIGHTNING[0]).isEnabledFor(logging.INFO)


@contextmanager
def said_once() -> Generator[None]:
    """Drops what visiontasks has logged before within the block."""
    shared, known = logging.getLogger(RANK_ZERO), set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_known = text in known
        known.add(text)
        return not is_known

    shared.addFilter(is_new)
    try:
        yield
    finally:
        shared.removeFilter(is_new)


def _is_of_others(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or not Path(record.pathname).is_relative_to(FOLDER)


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    is_ours = Path(filename).is_relative_to(OURS)
    return f"warning: {message}\n" if is_ours else format_whole(message, category, filename, lineno, line)
