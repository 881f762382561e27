"""All that knows Weights & Biases: a logger that neither asks nor waits, and what the other callbacks log with it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from visiontasks.core.sample import IGNORE_MASK


class WandbLogger(LightningWandbLogger):
    """Lightning's WandbLogger: online if a key is there (or WANDB_MODE says so), else offline.

    A server that does not answer costs 10 seconds at the start, after which the run goes on offline,
    and 15 at the end.

    Args:
        project: W&B project.
        name: Name of the run.
        group: Group of the run.
        save_dir: Folder that gets `wandb/`; the run directory if not given.
        offline: Keep the run on this machine until `wandb sync`; decided by the key if not given.
    """

    def __init__(
        self,
        project: str = "visiontasks",
        name: str | None = None,
        group: str | None = None,
        save_dir: str | None = None,
        offline: bool | None = None,
    ) -> None:
        import wandb  # a second: only when it is used

        self.settings = wandb.Settings(init_timeout=10, finish_timeout=15)
        if offline is None:
            offline = "WANDB_MODE" not in os.environ and not has_key()
        super().__init__(
            name=name, project=project, group=group, save_dir=save_dir or ".", offline=offline, settings=self.settings
        )

    @property
    def experiment(self) -> Any:
        """The W&B run, begun at the first use."""
        import wandb

        try:
            return super().experiment
        except wandb.errors.CommError as error:
            rank_zero_warn(f"W&B does not answer ({error}); this run stays offline. `wandb sync` uploads it later.")
            self.settings.mode = "offline"
            return super().experiment


def has_key() -> bool:
    """Whether the user has a W&B key, in WANDB_API_KEY or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


def wandb_loggers(trainer: Trainer) -> list[LightningWandbLogger]:
    """The W&B loggers of a trainer, ours and Lightning's."""
    return _only_wandb(trainer.loggers)


def _only_wandb(loggers: Iterable[Logger]) -> list[LightningWandbLogger]:
    return [logger for logger in loggers if isinstance(logger, LightningWandbLogger)]


def log_config(loggers: Iterable[Logger], config: dict[str, Any]) -> None:
    """Logs settings to the W&B loggers among these; the functions below do the same with other things."""
    for logger in _only_wandb(loggers):
        logger.experiment.config.update(config, allow_val_change=True)


def log_pictures(loggers: Iterable[Logger], name: str, pictures: Sequence[np.ndarray]) -> None:
    """Logs pictures, uint8 (H, W, 3), under one name."""
    for logger in _only_wandb(loggers):
        logger.log_image(name, list(pictures))


def log_table(loggers: Iterable[Logger], name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Logs a table."""
    for logger in _only_wandb(loggers):
        logger.log_table(name, columns=list(columns), data=[list(row) for row in rows])


def log_boxes_and_masks(
    loggers: Iterable[Logger],
    name: str,
    rows: Iterable[tuple[np.ndarray, str, Mapping[str, Mapping[str, Any]]]],
    class_names: Sequence[str],
    mask_names: Sequence[str],
) -> None:
    """Logs images whose boxes and masks can be switched on and off.

    Args:
        loggers: Of a trainer.
        name: Of the row of images.
        rows: For each image: uint8 (H, W, 3), a caption, and layers such as `target` and `prediction`. A layer may have
            `boxes`, a list of {"box": xyxy in pixels, "label": int, "caption": str}, and `classes` of the pixels, uint8
            (H, W).
        class_names: Of the labels.
        mask_names: Of the values of a mask.
    """
    if chosen := _only_wandb(loggers):
        pictures = [_picture(*row, class_names, mask_names) for row in rows]
        for logger in chosen:
            logger.experiment.log({name: pictures})


def finish_runs(loggers: Iterable[Logger]) -> None:
    """Ends the W&B runs, so that a later logger begins another."""
    for logger in _only_wandb(loggers):
        logger.experiment.finish()


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


def _box(box: Sequence[float], label: int, caption: str) -> dict[str, Any]:
    corners = dict(zip(("minX", "minY", "maxX", "maxY"), map(float, box), strict=True))
    return {"position": corners, "domain": "pixel", "class_id": int(label), "box_caption": caption}


class BestCheckpointArtifact(Callback):
    """Logs `best.ckpt` to W&B as an artifact of type `model` when a fit ends; offline it waits for `wandb sync`.

    Its name is `model-` and the run's id, or `name`, under which the runs of a project become versions of one model;
    its metadata are the monitored metric's name and value.

    Args:
        name: Of the artifact; if not given each run has its own.
        aliases: Further names of this version, such as `production`; `best` and `latest` always.
    """

    def __init__(self, name: str | None = None, aliases: list[str] | None = None) -> None:
        self.name, self.aliases = name, aliases or []

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        import wandb

        found = [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint) and one.monitor]
        for logger in wandb_loggers(trainer):
            if not (found and Path(found[0].best_model_path).is_file()):
                continue
            best, score = found[0], found[0].best_model_score
            metadata = {"monitor": best.monitor, "value": None if score is None else float(score)}
            artifact = wandb.Artifact(self.name or f"model-{logger.experiment.id}", "model", metadata=metadata)
            artifact.add_file(best.best_model_path)
            logger.experiment.log_artifact(artifact, aliases=["best", "latest", *self.aliases])
