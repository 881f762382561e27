"""The only module that uses Weights & Biases: a logger that never blocks, and log functions for the other callbacks."""

import logging
import os
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from netrc import NetrcParseError, netrc
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlparse

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from visiontasks.callbacks.checkpoints import checkpoints_of
from visiontasks.core.compat import leave_out_anonymous
from visiontasks.core.errors import InputError
from visiontasks.core.files import write_text
from visiontasks.core.network import answers
from visiontasks.core.redact import redact_arguments
from visiontasks.core.sample import IGNORE_MASK

MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")  # of WANDB_MODE
SECONDS = {"init_timeout": 10, "finish_timeout": 15}  # limits on what a server that does not respond may cost


class WandbLogger(LightningWandbLogger):
    """Lightning's WandbLogger, online if there is an API key (or WANDB_MODE says so), else offline.

    If the server does not respond, the run continues offline after at most 10 seconds, and waits up to 15 seconds at
    the end. W&B prints only warnings and errors if Lightning does the same, as in commands without `--verbose`.
    Environment variables such as WANDB_PROJECT and WANDB_RUN_ID apply to everything that is not given here.

    Args:
        project: W&B project; by default `visiontasks`.
        name: Name of the run.
        group: Group of the run.
        save_dir: Folder of `wandb/`; by default the run directory.
        offline: Keep the run on this machine until `wandb sync`; by default if there is no API key.
    """

    def __init__(
        self,
        project: str | None = None,
        name: str | None = None,
        group: str | None = None,
        save_dir: str | None = None,
        offline: bool | None = None,
    ) -> None:
        import wandb  # takes a second

        talks = logging.getLogger("lightning.pytorch").isEnabledFor(logging.INFO)
        os.environ.setdefault("WANDB_SHOW_INFO", str(talks))  # W&B reads it nowhere else
        self.settings = wandb.Settings()
        for setting, value in {**SECONDS, "quiet": not talks}.items():
            if f"WANDB_{setting.upper()}" not in os.environ:
                setattr(self.settings, setting, value)
        mode = os.environ.get("WANDB_MODE")
        if mode is not None and mode not in MODES:
            raise InputError(f"WANDB_MODE: {mode!r} is not one of {', '.join(MODES)}. Change or unset it.")
        if offline is None:
            offline = mode is None and not has_key()
        self.must_ask = not offline and mode in (None, "online", "shared")
        self.options: dict[str, Any] = {
            "name": name,
            "project": project or os.environ.get("WANDB_PROJECT") or "visiontasks",
            "group": group,
            "save_dir": save_dir or os.environ.get("WANDB_DIR") or ".",
            "offline": offline,
            "settings": self.settings,
            "resume": os.environ.get("WANDB_RESUME") or "allow",
        }
        super().__init__(**self.options)

    @property
    def experiment(self) -> Any:
        """The W&B run, created at the first use."""
        import wandb

        leave_out_anonymous(self)
        try:
            if self.must_ask and not getattr(rank_zero_only, "rank", 0) and not answers(server()):
                self._stay_offline(f"no answer from {server()}")
            with _without_secrets():
                return super().experiment
        except wandb.errors.CommError as error:
            self._stay_offline(str(error))
            with _without_secrets():
                return super().experiment
        except wandb.errors.Error as error:
            raise InputError(f"W&B: {error}. Run `wandb login`, or give --trainer.logger false.") from error

    def keep_id(self, folder: Path) -> None:
        """Continues the W&B run whose id is in a run directory, or writes a new id there; WANDB_RUN_ID comes first."""
        file = folder / "wandb_id.txt"
        known = file.read_text("utf-8").strip() if file.is_file() else token_hex(4)
        chosen = os.environ.get("WANDB_RUN_ID") or known
        super().__init__(**self.options, id=chosen)
        rank_zero_only(write_text)(file, chosen)

    def _stay_offline(self, reason: str) -> None:
        rank_zero_warn(f"W&B does not respond ({reason}); this run stays offline. `wandb sync` uploads it later.")
        self.settings.mode, self.must_ask = "offline", False


@contextmanager
def _without_secrets() -> Generator[None]:
    """Hides secrets in the command line, which W&B stores."""
    given, sys.argv = sys.argv, redact_arguments(sys.argv)
    try:
        yield
    finally:
        sys.argv = given


def default_logger(directory: Path) -> WandbLogger:
    """Returns the logger of a run whose config names none; WANDB_NAME and WANDB_DIR come first."""
    name = os.environ.get("WANDB_NAME") or "/".join(directory.parts[-2:])
    # an absolute path, because the service of W&B keeps the working directory in which it was started
    return WandbLogger(name=name, save_dir=os.environ.get("WANDB_DIR") or str(directory.absolute()))


def server() -> str:
    """Returns the address of the W&B server."""
    return os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"


def has_key() -> bool:
    """Returns whether there is a W&B key in WANDB_API_KEY or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc(os.environ.get("NETRC")).authenticators(urlparse(server()).hostname or "") is not None
    except (OSError, NetrcParseError):
        return False


def wandb_loggers(loggers: Iterable[Logger]) -> list[LightningWandbLogger]:
    """Returns the W&B loggers among these, ours and Lightning's."""
    return [logger for logger in loggers if isinstance(logger, LightningWandbLogger)]


def addresses(loggers: Iterable[Logger]) -> list[str]:
    """Returns the web pages of the W&B runs that are online."""
    runs = (logger.experiment for logger in wandb_loggers(loggers))
    return [run.url for run in runs if not run.offline and run.url]  # an offline run would warn


def log_config(loggers: Iterable[Logger], config: dict[str, Any]) -> None:
    """Logs settings to the W&B loggers among these, like all functions below."""
    for logger in wandb_loggers(loggers):
        logger.experiment.config.update(config, allow_val_change=True)


def log_pictures(loggers: Iterable[Logger], name: str, pictures: Sequence[np.ndarray]) -> None:
    """Logs pictures, uint8 (H, W, 3), under one name."""
    for logger in wandb_loggers(loggers):
        logger.log_image(name, list(pictures))


def log_table(loggers: Iterable[Logger], name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Logs a table."""
    for logger in wandb_loggers(loggers):
        logger.log_table(name, columns=list(columns), data=[list(row) for row in rows])


def log_boxes_and_masks(
    loggers: Iterable[Logger],
    name: str,
    rows: Iterable[tuple[np.ndarray, str, Mapping[str, Mapping[str, Any]]]],
    class_names: Sequence[str],
    mask_names: Sequence[str],
) -> None:
    """Logs images whose boxes and masks can be switched on and off.

    A row has an image, uint8 (H, W, 3), a caption, and layers such as `target` and `prediction`. A layer may have
    `boxes`, a list of {"box": xyxy in pixels, "label": int, "caption": str}, perhaps with a "score", and `classes` of
    the pixels, uint8 (H, W).
    """
    if chosen := wandb_loggers(loggers):
        pictures = [_picture(*row, class_names, mask_names) for row in rows]
        for logger in chosen:
            logger.experiment.log({name: pictures})


def finish_run(loggers: Iterable[Logger], error: BaseException | None) -> None:
    """Ends the W&B run of these loggers if it has begun, as failed if there is an error, before the next one begins."""
    import wandb

    if wandb_loggers(loggers) and wandb.run:
        wandb.run.finish(0 if error is None else 1)


def _picture(
    image: np.ndarray,
    caption: str,
    layers: Mapping[str, Mapping[str, Any]],
    class_names: Sequence[str],
    mask_names: Sequence[str],
) -> Any:
    import wandb

    labels, values = dict(enumerate(class_names)), {**dict(enumerate(mask_names)), IGNORE_MASK: "ignored"}
    boxes, masks = {}, {}
    for name, layer in layers.items():
        if found := layer.get("boxes"):
            boxes[name] = {"box_data": [_box(**one) for one in found], "class_labels": labels}
        if (mask := layer.get("classes")) is not None:
            masks[name] = {"mask_data": mask, "class_labels": values}
    return wandb.Image(image, boxes=boxes or None, masks=masks or None, caption=caption or None)


def _box(box: Sequence[float], label: int, caption: str, score: float | None = None) -> dict[str, Any]:
    corners = dict(zip(("minX", "minY", "maxX", "maxY"), map(float, box), strict=True))
    scores = {} if score is None else {"scores": {"score": float(score)}}
    caption = caption if score is None else f"{caption} {score:.2f}"
    return {"position": corners, "domain": "pixel", "class_id": int(label), "box_caption": caption, **scores}


class BestCheckpointArtifact(Callback):
    """Logs `best.ckpt` to W&B as an artifact of type `model` when a fit ends; offline runs need `wandb sync`.

    Its metadata are the name and value of the monitored metric.

    Args:
        name: Name of the artifact, which makes the runs of a project versions of one model; by default `model-` and the
            id of the run.
        aliases: More names of this version, such as `production`, besides `best` and `latest`.
    """

    def __init__(self, name: str | None = None, aliases: list[str] | None = None) -> None:
        self.name, self.aliases = name, aliases or []

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        import wandb

        kept = checkpoints_of(trainer)
        if kept is None or not kept.best:
            return
        metadata = {"monitor": kept.monitor, "value": kept.best[kept.monitor]}
        for logger in wandb_loggers(trainer.loggers):
            artifact = wandb.Artifact(self.name or f"model-{logger.experiment.id}", "model", metadata=metadata)
            artifact.add_file(kept.best_model_path)
            logger.experiment.log_artifact(artifact, aliases=["best", "latest", *self.aliases])
