"""Weights & Biases that neither asks nor waits."""

from __future__ import annotations

import os
from netrc import NetrcParseError, netrc
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger
from lightning.pytorch.utilities import rank_zero_warn


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

        settings = wandb.Settings(init_timeout=10, finish_timeout=15)
        if offline is None:
            offline = "WANDB_MODE" not in os.environ and not has_key()
        super().__init__(
            name=name, project=project, group=group, save_dir=save_dir or ".", offline=offline, settings=settings
        )

    @property
    def experiment(self) -> Any:
        """The W&B run, begun at the first use."""
        import wandb

        try:
            return super().experiment
        except wandb.errors.CommError as error:
            rank_zero_warn(f"W&B does not answer ({error}); this run stays offline. `wandb sync` uploads it later.")
            self._wandb_init["mode"] = "offline"
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
