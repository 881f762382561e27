"""What a fit is about, in a few lines."""

from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.callbacks.freeze import FreezeBackbone
from visiontasks.callbacks.wandb import addresses
from visiontasks.core.geometry import height_width
from visiontasks.core.tables import print_pairs, some

LONGEST = 30  # characters of the name of a class


class Summary(Callback):
    """Prints task, data, classes, model and run directory when a fit begins.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        data = trainer.datamodule  # ty: ignore[missing-attribute]
        pairs = [("task", f"{type(pl_module).__name__} ({', '.join(pl_module.heads)}), best by {pl_module.monitor}")]
        pairs.append(("data", _images(data, bool(trainer.limit_val_batches))))
        pairs += [("classes", text) for key in pl_module.heads if (text := _classes(data.class_shares(key), key))]
        pairs.append(("model", _model(trainer, pl_module)))
        pairs.append(("run", f"{self.directory} (resume: --ckpt_path auto)"))
        print_pairs([*pairs, *(("W&B", address) for address in addresses(trainer.loggers))])


def _images(data: Any, validates: bool) -> str:
    counts = [f"{len(data.dataset('train'))} training"]
    counts += [f"{len(data.dataset('val'))} validation"] if validates else []
    height, width = height_width(data.image_size)
    return f"{', '.join(counts)} images, {width}x{height} pixels, batches of {data.batch_size}"


def _classes(shares: dict[str, float], key: str) -> str:
    """Lists the classes by falling share; of many, the most frequent and the rarest ones."""
    order = sorted(shares.items(), key=lambda item: -item[1])
    names = {name: name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..." for name in shares}
    return f"{key}: {some([f'{names[name]} {100 * share:.3g}%' for name, share in order])}" if shares else ""


def _model(trainer: Any, task: Any) -> str:
    count, backbone = (sum(p.numel() for p in module.parameters()) for module in (task, task.backbone))
    frozen = [text for one in trainer.callbacks if isinstance(one, FreezeBackbone) and (text := str(one))]
    parts = [f"backbone ({backbone / count:.1%}): {', '.join(frozen)}"] if frozen else []
    return ", ".join([f"{task.backbone.name}, {count / 1e6:.3g} million parameters", *parts])
