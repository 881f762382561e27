"""The only module that uses Weights & Biases: a logger that never blocks, and log functions for the other callbacks."""

import os
from collections.abc import Iterable, Mapping, Sequence
from netrc import NetrcParseError, netrc
from typing import Any
from urllib.parse import urlparse

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from visiontasks.callbacks.checkpoints import checkpoints_of
from visiontasks.core.sample import IGNORE_MASK


class WandbLogger(LightningWandbLogger):
    """Lightning's WandbLogger, online if there is an API key (or WANDB_MODE says so), else offline.

    If the server does not respond, the run continues offline after 10 seconds, and waits up to 15 seconds at the end.

    Args:
        project: W&B project.
        name: Name of the run.
        group: Group of the run.
        save_dir: Folder of `wandb/`; by default the run directory.
        offline: Keep the run on this machine until `wandb sync`; by default if there is no API key.
    """

    def __init__(
        self,
        project: str = "visiontasks",
        name: str | None = None,
        group: str | None = None,
        save_dir: str | None = None,
        offline: bool | None = None,
    ) -> None:
        import wandb  # takes a second

        self.settings = wandb.Settings(init_timeout=10, finish_timeout=15)
        if offline is None:
            offline = "WANDB_MODE" not in os.environ and not has_key()
        super().__init__(
            name=name, project=project, group=group, save_dir=save_dir or ".", offline=offline, settings=self.settings
        )

    @property
    def experiment(self) -> Any:
        """The W&B run, created at the first use."""
        import wandb

        try:
            return super().experiment
        except wandb.errors.CommError as error:
            rank_zero_warn(f"W&B does not respond ({error}); this run stays offline. `wandb sync` uploads it later.")
            self.settings.mode = "offline"
            return super().experiment


def has_key() -> bool:
    """Returns whether there is a W&B key in WANDB_API_KEY or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


def wandb_loggers(loggers: Iterable[Logger]) -> list[LightningWandbLogger]:
    """Returns the W&B loggers among these, ours and Lightning's."""
    return [logger for logger in loggers if isinstance(logger, LightningWandbLogger)]


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
    `boxes`, a list of {"box": xyxy in pixels, "label": int, "caption": str}, and `classes` of the pixels, uint8 (H, W).
    """
    if chosen := wandb_loggers(loggers):
        pictures = [_picture(*row, class_names, mask_names) for row in rows]
        for logger in chosen:
            logger.experiment.log({name: pictures})


def finish_runs(loggers: Iterable[Logger]) -> None:
    """Ends the W&B runs, so that a later logger starts a new one."""
    for logger in wandb_loggers(loggers):
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
