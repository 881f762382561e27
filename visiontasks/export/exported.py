"""Exports a checkpoint and keeps the file only if it passes the checks."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from glob import escape
from pathlib import Path
from timeit import timeit
from typing import Any, Literal, NamedTuple

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.core.files import write_json
from visiontasks.core.geometry import height_width
from visiontasks.core.outputs import OutputFolder
from visiontasks.core.progress import track
from visiontasks.core.resize import to_picture
from visiontasks.core.serialize import Trusted
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.evaluate import count
from visiontasks.export.gate import compare
from visiontasks.export.graph import OutputGraph, describe_graph, write_onnx, write_pt2
from visiontasks.export.int8 import quantize
from visiontasks.predict.networks import Network, open_network
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import Source
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.targets import find_target
from visiontasks.tasks.checkpoint import VERSION_KEY, read_checkpoint
from visiontasks.tasks.restore import restore_task

SMALLEST = 32  # pixels; torch.export assumes that a map of one cell always has one cell
CALIBRATION = 128  # training images for the ranges of the activations
Format = Literal["onnx", "pt2"]


class Exported(NamedTuple):
    """The file that `export` wrote, its report, and the content of the report."""

    path: Path
    report: Path
    content: dict[str, Any]


class ValidationImages(NamedTuple):
    """Images for the checks of an exported file.

    Attributes:
        sources: Real images, for which its predictions must equal those of the checkpoint.
        validation: Images with targets, for the figures of `resizes` and `int8`.
        training: Images for the ranges of the activations of `int8`.
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
    """Exports a checkpoint as one file that takes uint8 pixels and includes the normalization.

    The file is kept if its predictions (labels, boxes, masks) from decoded pixels equal those of the checkpoint; see
    `Parity`. With `resizes` or `int8`, its figures on the validation images may be worse by `max_drop` at most. The
    checksum is written to `PATH.sha256`, and the report to `PATH.json`, also after a failure.

    Args:
        checkpoint: The checkpoint to export.
        path: The new file.
        images: Images for the checks.
        kind: `onnx`, or `pt2` for torch.export.
        resizes: The graph resizes images of any size itself; for `resize: stretch` only.
        int8: Weights and activations have 8 bits; for ONNX only.
        max_drop: Allowed drop of accuracy, mean IoU ..., in percentage points; by default 0.2 with `resizes` and 2 with
            `int8`.
        trust: Your own modules or classes that the checkpoint may name.

    Raises:
        InputError: A check fails, or the network cannot be exported with these options; no file is left. Or the path
            has a file that no export wrote.
    """
    task = restore_task(checkpoint, trust)
    reference = Predictor(TorchNetwork(task, "cpu"))
    check_options(path, task.spec, kind, resizes, int8)
    judged = resizes or int8
    if judged and (images.validation is None or (int8 and images.training is None)):
        raise InputError("--resize and --int8 need the validation set for a check: give the config with `-c CONFIG`.")
    limit = (2.0 if int8 else 0.2) if max_drop is None else max_drop
    any_size = reference.network.any_size and (reference.is_dense or reference.is_list) and not resizes
    any_size = any_size and min(height_width(task.spec["image_size"])) > SMALLEST
    described = describe_graph(task, any_size, resizes, read_checkpoint(checkpoint)[VERSION_KEY])
    report: dict[str, Any] = {"checkpoint": str(checkpoint), "format": kind, "resizes": resizes, "int8": int8}
    failures: list[str] = []
    file, checksum, note = path.name, f"{path.name}.sha256", f"{path.name}.json"
    folder = OutputFolder(path.parent, *map(escape, (file, checksum, note)))
    with folder.write(file) as part:
        (write_onnx if kind == "onnx" else write_pt2)(OutputGraph(task, resizes), described, part)
        exported = Predictor(open_network(str(part), trust=True, device="cpu"))
        if not resizes:
            parity = compare(reference, exported, images.sources)
            report["parity_before_int8" if int8 else "parity"] = {**asdict(parity), "holds": parity.holds}
            failures = parity.disagreements
        if judged and not failures:
            assert images.validation is not None
            if int8:
                assert images.training is not None
                plain = exported.network
                boxes = any(head.target.columns for head in task.heads.values())
                quantize(part, calibration_pictures(images.training, task.spec, resizes), part, exact_ends=boxes)
                exported = Predictor(open_network(str(part)))
                report["speed"] = speed(plain, exported.network, images.training, task.spec, resizes)
            report["figures"], failures = _compare_figures(reference, exported, images.validation, limit)
        if failures:
            folder.clear()  # an earlier export may be of another checkpoint
            with folder.write(note) as log:
                write_json(log, report)
            more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
            raise InputError(f"{path}: not exported, it differs from {checkpoint}: {failures[0]}{more}.")
        with part.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        report |= {"sha256": digest, "bytes": part.stat().st_size}
        with folder.write(note) as log:
            write_json(log, report)
    with folder.write(checksum) as part:
        part.write_text(f"{report['sha256']}  {file}\n", "utf-8")
    return Exported(path, Path(f"{path}.json"), report)


def check_options(path: Path, spec: dict[str, Any], kind: Format, resizes: bool, int8: bool) -> None:
    """Checks that the options fit together.

    Raises:
        InputError: They do not; the message names those that do.
    """
    if path.suffix != f".{kind}":
        raise InputError(f"--output {path}: expected a name that ends with .{kind}, which selects the reader.")
    if int8 and kind != "onnx":
        raise InputError("--int8: only ONNX files can be quantized here. Use `--format onnx`.")
    if resizes and (spec["resize"] != "stretch" or spec.get("crop_share", 1.0) != 1):
        raise InputError(f"--resize: the model was trained with `resize: {spec['resize']}`; a graph can only stretch.")


def calibration_pictures(dataset: VisionDataset, spec: dict[str, Any], whole: bool = False) -> Iterable[np.ndarray]:
    """Yields evenly spaced images as the network sees them, uint8 (1, 3, H, W); `whole` keeps their size."""
    for index in track(spaced(len(dataset), CALIBRATION), "Calibrating"):
        image = dataset.image(index)
        picture = image if whole else to_picture(image, spec)
        yield np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def spaced(length: int, count: int) -> list[int]:
    """Returns at most `count` evenly spaced indices of a dataset; all for 0."""
    return np.linspace(0, length - 1, min(length, count or length)).round().astype(int).tolist()


def dataset_sources(dataset: VisionDataset, count: int = 0) -> list[Source]:
    """Returns at most `count` evenly spaced images of a dataset; all for 0."""
    return [Source.of(dataset.name(i), partial(dataset.image, i)) for i in spaced(len(dataset), count)]


def speed(
    plain: Network, other: Network, dataset: VisionDataset, spec: dict[str, Any], whole: bool = False, rounds: int = 20
) -> dict[str, float]:
    """Measures the most images per second of two networks, in turn, and how many times faster the other one is."""
    picture = next(iter(calibration_pictures(dataset, spec, whole)))
    times = [[timeit(partial(network, picture), number=1) for network in (plain, other)] for _ in range(rounds)]
    first, second = map(min, zip(*times, strict=True))  # other work on the machine only makes a round slower
    return {"images_per_second": 1 / first, "int8_images_per_second": 1 / second, "times_faster": first / second}


def _compare_figures(
    reference: Predictor, exported: Predictor, dataset: VisionDataset, limit: float
) -> tuple[dict[str, Any], list[str]]:
    """Returns the first figure of each head for both models, and messages about drops beyond the limit."""
    found, failures = {}, []
    counts = [count(predictor, dataset) for predictor in (reference, exported)]
    for key in counts[0]:
        name = find_target(key).monitor
        before, after = (float(find_target(key).figures(one[key])[name]) for one in counts)
        found[name] = {"checkpoint": before, "exported": after}
        if not 100 * (max(0, before) - max(0, after)) <= limit:  # R2 may be far below 0
            failures.append(f"{name} falls from {before:.4f} to {after:.4f}, by more than {limit} points")
    return found, failures
