"""What is done with a checkpoint: predictions in Python and as files."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from PIL import Image
from rich.progress import track
from torch.utils.data import DataLoader

from visiontasks.checkpoint import read_checkpoint
from visiontasks.data.batches import BatchDataset, BatchSampler
from visiontasks.data.datasets.files import Images, find_images
from visiontasks.data.resize import OnlyResize
from visiontasks.models.backbone import without_weights
from visiontasks.placement import height_width, original_boxes
from visiontasks.pretrained import pretrained_task
from visiontasks.samples import Batch, InputError, Sample
from visiontasks.tasks import VisionTask
from visiontasks.tiles import tiled_mask
from visiontasks.write import PredictionWriter, make_folder

DOTTED = r"\w+(\.\w+)+"
FREE_TEXT = ("name", "pretrained", "weights")  # names of networks and files, never imported
TRUSTED = ("visiontasks.", "torch.optim.", "torch.nn.")


class Predictor:
    """A trained model with its reader and preprocessing: images in, predictions out.

    Attributes:
        task: The model, in eval mode.
        spec: `class_names`, `mask_names`, `image_size` and `resize`.
        class_names: Name of every class.
    """

    def __init__(self, task: VisionTask) -> None:
        self.task = task.eval()
        self.spec = task.spec
        self.class_names: list[str] = task.spec["class_names"]

    @classmethod
    def from_checkpoint(cls, path: str) -> Predictor:
        """Builds the model that a checkpoint describes and gives it its weights.

        Raises:
            InputError: The file is no checkpoint of visiontasks, or names classes outside visiontasks and
                torch whose module the caller has not imported.
        """
        checkpoint = read_checkpoint(path)
        task = build_task(checkpoint["hyper_parameters"])
        try:
            task.load_state_dict(checkpoint["state_dict"])
        except RuntimeError as error:
            raise InputError(f"{path}: the weights do not fit the model that it describes: {error}") from None
        return cls(task)

    @classmethod
    def from_pretrained(cls, name: str, pretrained: bool | str = True) -> Predictor:
        """Takes a network of timm as it is, with its own classes and preprocessing.

        Args:
            name: timm's name of it.
            pretrained: `true` takes timm's weights from its hub, `bundled` those that are installed with this package
                (of `tf_efficientnet_lite0`), a path a file of weights, classifier and all.

        Raises:
            InputError: timm has no such network, its weights cannot be had, or it has no classes.
        """
        return cls(pretrained_task(name, pretrained))

    def predict(
        self,
        images: Iterable[str | Path | Image.Image | np.ndarray],
        batch_size: int = 32,
        tile: int | None = None,
    ) -> list[Sample]:
        """Predicts images.

        Args:
            images: Paths, Pillow images, or uint8 arrays (H, W, 3) in RGB.
            batch_size: Images at a time.
            tile: If given, a mask is predicted at the image's own resolution, in tiles of so many pixels.

        Returns:
            A dict for each image, in order: where there is a class `label` (int), `class_name`, `score`
            (0..1) and `probabilities` (float32 (classes,)); where there is a box `bbox` (float32 (4,), xyxy in
            pixels of the image); where there is a mask `mask` (uint8 (H, W), indices of `spec["mask_names"]`).

        Raises:
            InputError: An image cannot be read, or `tile` is given to a model that does not only predict masks.
        """
        return list(self.stream(Images(images), batch_size, tile=tile))

    def check_tile(self, tile: int) -> None:
        """Refuses tiles where they make no sense.

        Raises:
            InputError: The model does not predict masks alone, or a tile would have no pixel.
        """
        if list(self.task.heads) != ["mask"]:
            raise InputError(
                f"tile={tile}: tiles are for masks alone; this model answers {', '.join(self.task.heads)}."
            )
        if tile < 1:
            raise InputError(f"tile={tile}: expected the height and width of a tile in pixels.")

    @torch.inference_mode()
    def stream(
        self, images: Images, batch_size: int = 32, workers: int = 0, tile: int | None = None
    ) -> Iterator[Sample]:
        """Predicts images as `predict` does, but hands on one after the other, so that no more than a batch is kept."""
        device = next(self.task.parameters()).device
        if tile is None:
            for batch in image_loader(images, self.spec, batch_size, workers):
                output = self.task.predict_step({**batch, "image": batch["image"].to(device)}, 0)
                yield from unbatch(output, self.spec)
            return
        self.check_tile(tile)
        for index in range(len(images)):
            image = images.image(index)
            mask = tiled_mask(
                lambda tiles: self.task(tiles.to(device))["mask"].float(), image, tile, batch_size=min(batch_size, 4)
            )
            yield {"index": index, "size": np.array(image.shape[:2]), "mask": mask}


def image_loader(images: Images, spec: dict[str, Any], batch_size: int, workers: int) -> DataLoader:
    """Loads images as the model was evaluated: resized as its `spec` says, in order."""
    dataset = BatchDataset(
        images, OnlyResize(spec["image_size"], spec["resize"], spec.get("crop_share", 1.0)), batch_size
    )
    return DataLoader(
        dataset=dataset, sampler=BatchSampler(len(images), batch_size), batch_size=None, num_workers=workers
    )


def unbatch(batch: Batch, spec: dict[str, Any]) -> Iterator[Sample]:
    """Divides a batch of predictions into one dict an image, in plain numbers, numpy arrays and the image's pixels."""
    masks = batch.pop("mask", None)
    arrays = {
        key: value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()
        for key, value in batch.items()
    }
    for i in range(len(batch["index"])):
        sample = {key: value[i].item() if value.ndim == 1 else value[i] for key, value in arrays.items()}
        if "bbox" in sample and "label" not in sample and len(spec["class_names"]) == 1:
            sample["label"] = 0
        if "label" in sample:
            sample["class_name"] = spec["class_names"][sample["label"]]
        if "bbox" in sample:
            height, width = sample["size"].tolist()
            box = sample["bbox"] * (height_width(spec["image_size"])[::-1] * 2)
            sample["bbox"] = original_boxes(box, height, width, spec["image_size"], spec["resize"])
        if masks is not None:
            sample["mask"] = masks[i].cpu().numpy()
        yield sample


def build_task(description: dict[str, Any]) -> VisionTask:
    """Builds a model from its `class_path` and `init_args`, with random weights.

    Raises:
        InputError: A class is neither ours nor torch's, or cannot be built so.
    """
    for path in _class_paths({"model": description}):
        if not path.startswith(TRUSTED) and path.rpartition(".")[0] not in sys.modules:
            raise InputError(f"the checkpoint wants the class {path}. If you trust it, import its module first.")
    for_training = {"compile": False, "weights": None}
    init_args = {name: for_training.get(name, value) for name, value in description.get("init_args", {}).items()}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(VisionTask, "model")
    try:
        with without_weights():
            return parser.instantiate(parser.parse_object({"model": {**description, "init_args": init_args}})).model
    except Exception as error:  # whatever arguments of another version, or of a hostile file, lead to
        raise InputError(f"the model that the checkpoint describes cannot be built: {error}") from error


def _class_paths(value: Any) -> Iterator[str]:
    """All that jsonargparse would import: a class may also be given by its bare name."""
    if isinstance(value, list):
        value = {str(number): item for number, item in enumerate(value)}
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, str) and (key == "class_path" or (key not in FREE_TEXT and re.fullmatch(DOTTED, item))):
            yield item
        elif key != "spec":
            yield from _class_paths(item)


def main(command: str, args: Sequence[str]) -> None:
    """The command `visiontasks predict`."""
    parser = argparse.ArgumentParser(prog=f"visiontasks {command}", description="Predict images with a trained model.")
    parser.add_argument("model", help="best.ckpt or last.ckpt of a run, or timm's name of a pretrained network")
    parser.add_argument("source", nargs="+", help="image files, or folders with images at any depth")
    parser.add_argument("--output", required=True, type=Path, help="folder for predictions.csv ...; made if need be")
    parser.add_argument(
        "--pretrained", help="weights of a network that is given by name: true (default, timm's hub), bundled or a path"
    )
    parser.add_argument("--probabilities", action="store_true", help="write the probability of every class too")
    parser.add_argument("--overlays", action="store_true", help="draw each prediction on its image, in overlays/")
    parser.add_argument("--batch_size", type=int, default=32, help="images at a time (default: 32)")
    parser.add_argument("--num_workers", type=int, default=0, help="loader processes (default: 0)")
    parser.add_argument("--tile", type=int, help="predict masks at each image's own resolution, in tiles of N pixels")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    options = parser.parse_args(args)
    if options.batch_size < 1 or options.num_workers < 0:
        parser.error("--batch_size must be positive and --num_workers not negative.")
    predictor = _predictor(options.model, options.pretrained)
    if options.tile is not None:
        predictor.check_tile(options.tile)
    images = Images(find_images(options.source))
    make_folder(options.output)
    predictor.task.to(find_device(options.device))
    predictions = predictor.stream(images, options.batch_size, options.num_workers, options.tile)
    writer = PredictionWriter(options.output, images, predictor.spec, options.probabilities, options.overlays)
    count = writer.write(track(predictions, "Predicting", len(images), transient=True))
    print(f"{count} predictions in {options.output / 'predictions.csv'}")


def _predictor(model: str, pretrained: str | None) -> Predictor:
    """A path is a checkpoint's, another word a network's name."""
    if not (Path(model).suffix == ".ckpt" or "/" in model or Path(model).is_file()):
        return Predictor.from_pretrained(model, True if pretrained in (None, "true") else pretrained)
    if pretrained is not None:
        raise InputError(f"--pretrained {pretrained}: {model} is a checkpoint, which has its weights. Leave it out.")
    return Predictor.from_checkpoint(model)


def find_device(name: str) -> torch.device:
    """The device that `--device` names; `auto` is a GPU if there is one."""
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.zeros((), device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from None
