"""The progress of a fit in one line."""

import logging
import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar

from visiontasks.core.live import CLEAR, is_live
from visiontasks.core.progress import duration

GAP = "   "
INTERVAL = 0.2  # seconds between two updates
TIMED = 5  # steps after the first one, from which on the time that is left is known
HANDLERS = logging.getLogger("lightning.pytorch").handlers  # print what we log too


class ProgressLine(ProgressBar):
    """Shows epoch, share of the fit, time left, training loss and the monitored figure beside its baseline.

    A terminal has one line, which is replaced. A file gets a line after some steps, when the first time left is known,
    and one per validation. Both are on stderr.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enabled, self.is_drawn, self.drawn_at = True, False, -math.inf
        self.begun, self.total, self.is_timed = 0.0, math.inf, False
        self.first: tuple[float, int] | None = None  # time and step after the first step, which is slower than others

    @property
    def is_live(self) -> bool:
        """Whether stderr is a terminal where a line can be replaced."""
        return is_live()

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        self.clear()
        print(*args, **kwargs)

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        for handler in HANDLERS:
            handler.addFilter(self._make_room)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        for handler in HANDLERS:
            handler.removeFilter(self._make_room)  # which would keep the model in memory

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.begin(trainer.estimated_stepping_batches)

    def begin(self, total: float) -> None:
        """Starts the clock for a total number of steps."""
        self.begun, self.total = time.monotonic(), total
        self.first, self.is_timed = None, False

    def count(self, title: str, step: int) -> None:
        """Shows how many of the steps are done that `begin` has begun."""
        self.first = self.first or (time.monotonic(), step)
        self._draw(lambda: GAP.join([f"{title} {step}/{self.total:.0f}", self._left(step)]))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.first = self.first or (time.monotonic(), trainer.global_step)
        if self.is_live:
            self._draw(lambda: self._text(trainer, pl_module))
        elif not self.is_timed and trainer.global_step - self.first[1] >= TIMED:
            self.is_timed = True
            self._tell(self._text(trainer, pl_module))

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        start = [self._place(trainer)] if trainer.state.fn == "fit" and not trainer.sanity_checking else []
        total = sum(trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches)
        self._draw(lambda: GAP.join([*start, f"validation {batch_idx + 1}/{total}"]))

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._draw(lambda: f"test {batch_idx + 1}/{sum(trainer.num_test_batches)}")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not self.is_live:
            self._tell(self._text(trainer, pl_module))
        elif trainer.state.fn != "fit" or trainer.sanity_checking:
            self.clear()

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        self.clear()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.clear()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.clear()
        self.teardown(trainer, pl_module, "")

    def _text(self, trainer: Any, task: Any) -> str:
        parts = [self._place(trainer), self._left(trainer.global_step)]
        loss, count = task.figures["train_"].loss.tolist()
        parts += [f"train/loss {loss / count:.4f}"] if count else []
        value, baseline = (trainer.callback_metrics.get(name) for name in (task.monitor, f"{task.monitor}_baseline"))
        if value is not None:
            parts.append(
                f"{task.monitor} {value:.4f}" + (f" (baseline {baseline:.4f})" if baseline is not None else "")
            )
        return GAP.join(parts)

    def _place(self, trainer: Any) -> str:
        step, epochs = trainer.global_step, trainer.max_epochs
        place = f"step {step}/{self.total:.0f}" if epochs == -1 else f"epoch {trainer.current_epoch + 1}/{epochs}"
        return f"{place}{GAP}{step / self.total:4.0%}"

    def _left(self, step: int) -> str:
        """Returns the time that is left at the pace since the first step, or at the end the time of the whole fit."""
        now = time.monotonic()
        if step >= self.total:
            return f"{duration(now - self.begun)} in all"
        if self.first is None or step - self.first[1] < TIMED:
            return "..."
        pace = (now - self.first[0]) / (step - self.first[1])
        return f"{duration(pace * (self.total - step))} left"

    def _draw(self, text: Callable[[], str]) -> None:
        if self.enabled and self.is_live and time.monotonic() - self.drawn_at >= INTERVAL:
            line = text()[: shutil.get_terminal_size().columns - 1]
            # the cursor stays at the start, so that a warning replaces the line
            print(f"{CLEAR}{line}\r", end="", file=sys.stderr, flush=True)
            self.is_drawn, self.drawn_at = True, time.monotonic()

    def _tell(self, line: str) -> None:
        if self.enabled:
            print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Erases the line."""
        if self.is_drawn:
            print(CLEAR, end="", file=sys.stderr, flush=True)
            self.is_drawn = False

    def _make_room(self, record: logging.LogRecord) -> bool:
        self.clear()
        return True
