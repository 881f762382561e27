"""What is done with a checkpoint: predictions in Python and as files."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from PIL import Image
from torch.utils.data import DataLoader

from visiontasks.checkpoint import read_checkpoint
from visiontasks.data.batches import BatchDataset, BatchSampler
from visiontasks.data.datasets.files import Images, find_images
from visiontasks.data.resize import OnlyResize, original_boxes
from visiontasks.models.backbone import without_weights
from visiontasks.samples import Batch, InputError, Sample
from visiontasks.tasks import VisionTask
from visiontasks.write import write_coco, write_csv, write_overlays

DOTTED = r"\w+(\.\w+)+"
FREE_TEXT = ("name", "pretrained", "weights")  # names of networks and files, never imported
TRUSTED = ("visiontasks.", "torch.optim.", "torch.nn.")


class Predictor:
    """A trained model with its reader and preprocessing: images in, predictions out.

    Attributes:
        task: The model, in eval mode.
        spec: `class_names`, `image_size` and `resize`.
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

    def predict(self, images: Iterable[str | Path | Image.Image | np.ndarray], batch_size: int = 32) -> list[Sample]:
        """Predicts images.

        Args:
            images: Paths, Pillow images, or uint8 arrays (H, W, 3) in RGB.
            batch_size: Images at a time.

        Returns:
            A dict for each image, in order: where there is a class `label` (int), `class_name`, `score`
            (0..1) and `probabilities` (float32 (classes,)); where there is a box `bbox` (float32 (4,), xyxy in
            pixels of the image).
        """
        device = next(self.task.parameters()).device
        predictions: list[Sample] = []
        with torch.inference_mode():
            for batch in image_loader(Images(images), self.spec, batch_size, workers=0):
                output = self.task.predict_step({**batch, "image": batch["image"].to(device)}, 0)
                predictions += unbatch(output, self.spec)
        return predictions


def image_loader(images: Images, spec: dict[str, Any], batch_size: int, workers: int) -> DataLoader:
    """Loads images as the model was evaluated: resized as its `spec` says, in order."""
    dataset = BatchDataset(images, OnlyResize(spec["image_size"], spec["resize"]), batch_size)
    return DataLoader(
        dataset=dataset, sampler=BatchSampler(len(images), batch_size), batch_size=None, num_workers=workers
    )


def unbatch(batch: Batch, spec: dict[str, Any]) -> Iterator[Sample]:
    """Divides a batch of predictions into one dict an image, in plain numbers, numpy arrays and the image's pixels."""
    arrays = {
        key: value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()
        for key, value in batch.items()
    }
    for i in range(len(batch["index"])):
        sample = {key: value[i].item() if value.ndim == 1 else value[i] for key, value in arrays.items()}
        if "label" not in sample and len(spec["class_names"]) == 1:
            sample["label"] = 0
        if "label" in sample:
            sample["class_name"] = spec["class_names"][sample["label"]]
        if "bbox" in sample:
            height, width = sample["size"].tolist()
            box, size = sample["bbox"] * spec["image_size"], spec["image_size"]
            sample["bbox"] = original_boxes(box, height, width, size, spec["resize"])
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
    parser.add_argument("checkpoint", help="best.ckpt or last.ckpt of a run")
    parser.add_argument("source", nargs="+", help="image files, or folders with images at any depth")
    parser.add_argument("--output", required=True, type=Path, help="folder for predictions.csv ...; made if need be")
    parser.add_argument("--probabilities", action="store_true", help="write the probability of every class too")
    parser.add_argument("--overlays", action="store_true", help="draw each prediction on its image, in overlays/")
    parser.add_argument("--batch_size", type=int, default=32, help="images at a time (default: 32)")
    parser.add_argument("--num_workers", type=int, default=0, help="loader processes (default: 0)")
    parser.add_argument("--accelerator", default="auto", help="cpu, gpu ... as Lightning has it (default: auto)")
    options = parser.parse_args(args)
    if options.batch_size < 1 or options.num_workers < 0:
        parser.error("--batch_size must be positive and --num_workers not negative.")
    predictor = Predictor.from_checkpoint(options.checkpoint)
    images = Images(find_images(options.source))
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {options.output}: the folder cannot be made ({error.strerror}).") from None
    trainer = Trainer(
        accelerator=options.accelerator, devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    loader = image_loader(images, predictor.spec, options.batch_size, options.num_workers)
    batches = trainer.predict(predictor.task, loader) or []
    predictions = [sample for batch in cast(list[Batch], batches) for sample in unbatch(batch, predictor.spec)]
    write_csv(options.output / "predictions.csv", images, predictions, predictor.class_names, options.probabilities)
    if "bbox" in predictions[0]:
        write_coco(options.output / "predictions.json", images, predictions, predictor.class_names)
    if options.overlays:
        write_overlays(options.output / "overlays", images, predictions, predictor.class_names)
    print(f"{len(predictions)} predictions in {options.output / 'predictions.csv'}")
