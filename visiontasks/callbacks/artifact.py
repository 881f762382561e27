"""The best checkpoint where others of a team find it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only


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
        for logger in trainer.loggers:
            if not (isinstance(logger, WandbLogger) and found and Path(found[0].best_model_path).is_file()):
                continue
            best, score = found[0], found[0].best_model_score
            metadata = {"monitor": best.monitor, "value": None if score is None else float(score)}
            artifact = wandb.Artifact(self.name or f"model-{logger.experiment.id}", "model", metadata=metadata)
            artifact.add_file(best.best_model_path)
            logger.experiment.log_artifact(artifact, aliases=["best", "latest", *self.aliases])
