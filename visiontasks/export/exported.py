"""Writes an exported file, and keeps it only if it passes."""

import hashlib
import statistics
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.progress import track

from visiontasks.core.errors import InputError
from visiontasks.core.files import atomic_write, write_json
from visiontasks.core.geometry import height_width
from visiontasks.core.resize import to_picture
from visiontasks.core.serialize import Trusted
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.evaluate import count
from visiontasks.export.gate import compare
from visiontasks.export.graph import OutputGraph, describe_graph, write_onnx, write_pt2
from visiontasks.export.int8 import quantize
from visiontasks.predict.description import Network
from visiontasks.predict.networks import open_network
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.targets import find_target
from visiontasks.tasks.checkpoint import VERSION_KEY, read_checkpoint
from visiontasks.tasks.restore import restore_task

SMALLEST = 32  # pixels: torch.export holds that a map of one cell stays one
CALIBRATION = 128  # training images that tell the ranges of activations
Format = Literal["onnx", "pt2"]


class Exported(NamedTuple):
    """What `export` wrote: the file, its report, and their content."""

    path: Path
    report: Path
    content: dict[str, Any]


class ValidationImages(NamedTuple):
    """What an exported file is judged by.

    Attributes:
        sources: Real images that it must answer as the checkpoint does.
        validation: Images with targets, where a figure decides: of `resizes` and `int8`.
        training: Images that tell the ranges of activations: of `int8`.
    """

    sources: Iterable[Source]
    validation: VisionDataset | None = None
    training: VisionDataset | None = None


def export(
    checkpoint: str,
    path: Path,
    images: ValidationImages,
    kind: Format = "onnx",
    resizes: bool = False,
    int8: bool = False,
    max_drop: float | None = None,
    trust: Trusted = (),
) -> Exported:
    """Exports a checkpoint as one file that takes uint8 pixels, normalization inside.

    It is kept if it passes: run from the reader's pixels to the last label, box or mask, it must agree with the
    checkpoint (`Parity`); where it resizes by itself, or computes with 8 bits, its figures on the validation images
    must be as good but for `max_drop`. Beside it `PATH.sha256` and the report, `PATH.json`, which is written in
    any case.

    Args:
        checkpoint: What is exported.
        path: The new file.
        images: Images to judge it by.
        kind: `onnx`, or `pt2` for torch.export.
        resizes: The graph takes images of any size and resizes them itself; for `resize: stretch`.
        int8: Weights and activations of 8 bits, in ONNX.
        max_drop: What may be lost of accuracy, mean IoU ..., in hundredths; if not given 0.2 with `resizes`, 2 with
            `int8`.
        trust: Modules of the user's own, or classes, that the checkpoint may name.

    Raises:
        InputError: It does not pass, or the network cannot be exported so; no file is left.
    """
    task = restore_task(checkpoint, trust)
    reference = Predictor(TorchNetwork(task, "cpu"))
    check_options(path, task.spec, kind, resizes, int8)
    judged = resizes or int8
    if judged and (images.validation is None or (int8 and images.training is None)):
        raise InputError("--resize and --int8 are judged by the validation set: give the config with `-c CONFIG`.")
    limit = (2.0 if int8 else 0.2) if max_drop is None else max_drop
    any_size = reference.network.any_size and reference.is_dense and not resizes
    any_size = any_size and min(height_width(task.spec["image_size"])) > SMALLEST
    described = describe_graph(task, any_size, resizes, read_checkpoint(checkpoint)[VERSION_KEY])
    report: dict[str, Any] = {"checkpoint": str(checkpoint), "format": kind, "resizes": resizes, "int8": int8}
    failures: list[str] = []
    with atomic_write(path) as part:
        (write_onnx if kind == "onnx" else write_pt2)(OutputGraph(task, resizes), described, part)
        exported = Predictor(open_network(str(part), trust=True, device="cpu"))
        if not resizes:
            parity = compare(reference, exported, images.sources).as_dict()
            report["parity_before_int8" if int8 else "parity"] = parity
            failures = parity["disagreements"]
        if judged and not failures:
            assert images.validation is not None
            if int8:
                assert images.training is not None
                plain = exported.network
                quantize(part, calibration_pictures(images.training, task.spec, resizes), part)
                exported = Predictor(open_network(str(part)))
                report["speed"] = speed(plain, exported.network, images.training, task.spec, resizes)
            report["figures"], failures = _compare_figures(reference, exported, images.validation, limit)
        if failures:
            for stale in (path, Path(f"{path}.sha256")):  # of an earlier export, which is not this checkpoint's
                stale.unlink(missing_ok=True)
        else:
            report |= {"sha256": _sha256(part), "bytes": part.stat().st_size}
        _write_report(path, report)
        if failures:
            more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
            raise InputError(f"{path}: not exported, it does not answer as {checkpoint}: {failures[0]}{more}.")
    with atomic_write(Path(f"{path}.sha256")) as part:
        part.write_text(f"{report['sha256']}  {path.name}\n", "utf-8")
    return Exported(path, Path(f"{path}.json"), report)


def check_options(path: Path, spec: dict[str, Any], kind: Format, resizes: bool, int8: bool) -> None:
    """Refuses what cannot be exported so.

    Raises:
        InputError: The message says what can.
    """
    if path.suffix != f".{kind}":
        raise InputError(f"--output {path}: expected a name that ends with .{kind}, by which it is opened.")
    if int8 and kind != "onnx":
        raise InputError("--int8: only ONNX files can be quantized here. Take `--format onnx`.")
    if resizes and (spec["resize"] != "stretch" or spec.get("crop_share", 1.0) != 1):
        raise InputError(f"--resize: the model was trained with `resize: {spec['resize']}`; a graph can only stretch.")


def calibration_pictures(dataset: VisionDataset, spec: dict[str, Any], whole: bool = False) -> Iterable[np.ndarray]:
    """Evenly spaced images of a set as the network sees them, uint8 (1, 3, H, W); `whole` leaves their size."""
    for index in track(spaced(len(dataset), CALIBRATION), "Calibrating", transient=True):
        image = dataset.image(index)
        picture = image if whole else to_picture(image, spec)
        yield np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def spaced(length: int, count: int) -> list[int]:
    """At most `count` places in a set, evenly spaced; all for 0."""
    return np.linspace(0, length - 1, min(length, count or length)).round().astype(int).tolist()


def dataset_sources(dataset: VisionDataset, count: int = 0) -> list[Source]:
    """Images of a set, evenly spaced, at most so many; all for 0."""
    return [Source(dataset.name(i), partial(dataset.image, i)) for i in spaced(len(dataset), count)]


def speed(
    plain: Network, other: Network, dataset: VisionDataset, spec: dict[str, Any], whole: bool = False, rounds: int = 20
) -> dict[str, float]:
    """Times two networks in turn, image by image.

    Returns:
        Images a second of both (medians), and how many times faster the other is.
    """
    pictures = [next(iter(calibration_pictures(dataset, spec, whole)))] * rounds
    times: tuple[list[float], list[float]] = ([], [])
    for picture in pictures:
        for network, taken in zip((plain, other), times, strict=True):
            start = time.perf_counter()
            network(picture)
            taken.append(time.perf_counter() - start)
    first, second = (statistics.median(taken[2:]) for taken in times)
    return {"images_per_second": 1 / first, "int8_images_per_second": 1 / second, "times_faster": first / second}


def _compare_figures(
    reference: Predictor, exported: Predictor, dataset: VisionDataset, limit: float
) -> tuple[dict[str, Any], list[str]]:
    """The first figure of each head of both, and what falls by more than the limit."""
    found, failures = {}, []
    counts = [count(predictor, dataset) for predictor in (reference, exported)]
    for key in counts[0]:
        kind = find_target(key)
        before, after, name = kind.figures(counts[0][key]), kind.figures(counts[1][key]), kind.monitor
        found[name] = {"checkpoint": float(before[name]), "exported": float(after[name])}
        if not 100 * (max(0, before[name]) - max(0, after[name])) <= limit:  # R2 may be far below 0
            failures.append(f"{name} falls from {before[name]:.4f} to {after[name]:.4f}, by more than {limit} points")
    return found, failures


def _write_report(path: Path, report: dict[str, Any]) -> None:
    write_json(Path(f"{path}.json"), report)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
