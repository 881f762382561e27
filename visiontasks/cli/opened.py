"""A model to look into, with images."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from visiontasks.cli.training import main as run
from visiontasks.core.errors import InputError
from visiontasks.core.resize import OnlyResize
from visiontasks.data import VisionDataModule
from visiontasks.predict.sources import find_sources
from visiontasks.tasks import VisionTask
from visiontasks.tasks.restore import restore_task


class Opened(NamedTuple):
    """A model, the data of its config if that was read, and where pictures go."""

    task: VisionTask
    data: VisionDataModule | None
    directory: Path

    def batches(self, sources: Sequence[str], count: int) -> Iterable[dict[str, Any]]:
        """Of the images of these files and folders, or else the first `count` of the validation set, one at a time."""
        if sources:
            resize = OnlyResize(self.task.spec["image_size"], self.task.spec["resize"])
            for index, source in enumerate(find_sources(sources)):
                picture = resize({"image": source.read()}, 0, index)["image"]
                image = torch.from_numpy(picture).permute(2, 0, 1)[None]
                yield {"image": image, "name": Path(source.name).stem}
            return
        assert self.data is not None
        dataset, left = self.data.dataset("val"), count
        for batch in self.data.loader("val"):
            for image, index in zip(batch["image"], batch["index"].tolist(), strict=True):
                if not left:
                    return
                left -= 1
                yield {"image": image[None], "name": Path(dataset.name(index)).stem}

    def save(self, name: str, picture: np.ndarray) -> None:
        Image.fromarray(picture).save(self.directory / f"{name.replace('/', '_').replace(' ', '_')}.png")

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        with (self.directory / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def open_model(model: Path, more: Sequence[str], needs_data: bool) -> Opened:
    """Opens a checkpoint, or builds the model of a config.

    Args:
        model: Either's file.
        more: Arguments of `fit` that change a config; `--ckpt_path` gives it trained weights.
        needs_data: Whether the data is needed: of a checkpoint it is that of the `config.yaml` in its folder.

    Raises:
        InputError: The file cannot be used so.
    """
    if model.suffix in (".yaml", ".yml"):
        args = ["-c", str(model), *more]
    elif needs_data:
        config = model.parent / "config.yaml"
        if not config.is_file():
            raise InputError(
                f"{config}: no such file, which would tell the images. Name some, or give a config in place of the "
                f"checkpoint and `--ckpt_path {model}`."
            )
        args = ["-c", str(config), "--ckpt_path", str(model), *more]
    else:
        if more:
            raise InputError(f"inspect: unrecognized arguments: {' '.join(more)}. Only a config can be changed so.")
        task = restore_task(str(model))
        (model.parent / "inspect").mkdir(exist_ok=True)
        return Opened(task, None, model.parent / "inspect")
    cli = run("inspect", [*args, "--trainer.logger", "false"])
    return Opened(cli.model.eval(), cli.datamodule, cli.run_dir)
