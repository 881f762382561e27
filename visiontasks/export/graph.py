"""The graph of a task from uint8 pixels to outputs, as an ONNX file or a torch.export program."""

import json
import logging
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.core.compat import exact_padding
from visiontasks.core.draw import palette
from visiontasks.core.errors import InputError
from visiontasks.core.geometry import height_width
from visiontasks.predict.networks import SPEC
from visiontasks.tasks import VisionTask

PROVENANCE = ("version", "torch", "commit", "data")  # a checkpoint within an epoch has its figures too
OPSET = 18  # the first whose Resize has antialiasing
LARGEST = 2**31  # bytes of a protobuf message


class OutputGraph(nn.Module):
    """The exported module: normalization, backbone, heads and their postprocessing.

    With `resizes` it resizes images of any size to the size of the model (bilinear with antialiasing).
    """

    def __init__(self, task: VisionTask, resizes: bool = False) -> None:
        super().__init__()
        self.task, self.resizes = task.eval(), resizes
        self.size = height_width(task.spec["image_size"])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Computes the values of `Outputs` from uint8 (B, 3, H, W), in the order of the heads."""
        if self.resizes:
            image = F.interpolate(image.float(), self.size, mode="bilinear", align_corners=False, antialias=True)
            image = self.task.backbone.normalizer(image.clamp(0, 255) / 255)
        return tuple(self.task.postprocess(image).values())


def describe_graph(task: VisionTask, any_size: bool, resizes: bool, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Returns the description in an exported file: names, colors, sizes and versions; see `Network`."""
    names = task.spec.get("mask_names", [])
    thresholds = {key: getattr(head, "thresholds", None) for key, head in task.heads.items()}
    return {
        "spec": task.spec,
        "keys": list(task.heads),
        "any_size": any_size,
        "resizes": resizes,
        "input": "image: uint8 (batch, 3, height, width), RGB",
        "thresholds": {key: values.tolist() for key, values in thresholds.items() if isinstance(values, Tensor)},
        "mask_colors": dict(zip(names, palette()[: len(names)].tolist(), strict=True)),
        "made_from": {key: checkpoint[key] for key in PROVENANCE if key in checkpoint},
    }


def write_onnx(graph: OutputGraph, described: dict[str, Any], path: Path) -> None:
    """Writes an ONNX file that contains all weights.

    Raises:
        InputError: ONNX cannot express a part of the network, or it is too large for one file.
    """
    size = sum(value.numel() * value.element_size() for value in graph.state_dict().values())
    if size >= LARGEST:
        raise InputError(f"{size / 2**30:.1f} GB of weights do not fit in an ONNX file. Use `--format pt2`.")
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise InputError(f"--format onnx needs {error.name}: pip install 'visiontasks[export]'.") from None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"), redirect_stdout(StringIO()):
        try:
            program = torch.onnx.export(
                _program(graph, described),
                input_names=["image"],
                output_names=described["keys"],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise InputError(f"ONNX cannot express the network: {error}") from error
    assert program is not None
    program.model.metadata_props[SPEC] = json.dumps({**described, "onnx": onnx.__version__})
    program.save(str(path), external_data=False)


def write_pt2(graph: OutputGraph, described: dict[str, Any], path: Path) -> None:
    """Writes a torch.export program.

    Raises:
        InputError: torch.export cannot follow the network, or cannot save it.
    """
    with warnings.catch_warnings(action="ignore"):
        program = _program(graph, described)
        try:
            torch.export.save(program, path, extra_files={SPEC: json.dumps(described)})
        except Exception as error:  # torch has no public class for this error
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"the program cannot be saved ({reason}). Use `--format onnx`.") from error


def _program(graph: OutputGraph, described: dict[str, Any]) -> torch.export.ExportedProgram:
    """Traces the graph with two pictures, whose number and perhaps size are dynamic dimensions."""
    height, width = graph.size
    if graph.resizes:
        height, width = 2 * height + 1, 2 * width + 3
    image = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    free = [0] + ([2, 3] if described["any_size"] or graph.resizes else [])
    shapes = (dict.fromkeys(free, torch.export.Dim.DYNAMIC),)
    try:
        with torch.no_grad(), exact_padding():
            return torch.export.export(graph, (image,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch.export has no common class for its errors
        raise InputError(f"the network cannot be exported: {str(error).splitlines()[0]}") from error
