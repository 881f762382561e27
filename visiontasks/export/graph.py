"""The graph of a task from uint8 pixels to answers, as an ONNX file or a program of torch.export."""

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
from visiontasks.predict.description import SPEC
from visiontasks.tasks import VisionTask

OPSET = 18  # the first whose Resize can average where an image shrinks
LARGEST = 2**31  # bytes of an ONNX file, a protobuf message


class OutputGraph(nn.Module):
    """What is exported: normalization, backbone, heads, and what makes their outputs answers.

    Args:
        task: The model.
        resizes: Take images of any size, and bring them to the model's; bilinear, and averaging where they shrink.
    """

    def __init__(self, task: VisionTask, resizes: bool = False) -> None:
        super().__init__()
        self.task, self.resizes = task.eval(), resizes
        self.size = height_width(task.spec["image_size"])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """From uint8 (B, 3, H, W) to the values of `Outputs`, in the order of the task's heads."""
        if self.resizes:
            image = F.interpolate(image.float(), self.size, mode="bilinear", align_corners=False, antialias=True)
            image = self.task.backbone.normalizer(image.clamp(0, 255) / 255)
        return tuple(self.task.postprocess(image).values())


def describe_graph(task: VisionTask, any_size: bool, resizes: bool, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What an exported file says of itself: names, colors, sizes, versions.

    Args:
        task: The model.
        any_size: Whether pictures may be of another size than `image_size`.
        resizes: Whether the graph resizes.
        checkpoint: What the checkpoint says of its origin.
    """
    names = task.spec.get("mask_names", [])
    return {
        "spec": task.spec,
        "keys": list(task.heads),
        "any_size": any_size,
        "resizes": resizes,
        "input": "image: uint8 (batch, 3, height, width), RGB",
        "mask_colors": dict(zip(names, palette()[: len(names)].tolist(), strict=True)),
        "made_from": {key: value for key, value in checkpoint.items() if key != "spec"},
    }


def write_onnx(graph: OutputGraph, described: dict[str, Any], path: Path) -> None:
    """Writes an ONNX file with all weights inside.

    Raises:
        InputError: A part of the network cannot be said in ONNX, or it is too large for one file.
    """
    size = sum(value.numel() * value.element_size() for value in graph.state_dict().values())
    if size >= LARGEST:
        raise InputError(f"{size / 2**30:.1f} GB of weights are more than an ONNX file can hold. Export with pt2.")
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter wants it
    except ImportError as error:
        raise InputError(f"--format onnx needs {error.name}: pip install 'visiontasks[export]'.") from None
    image, shapes = _example(graph, described)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                _program(graph, image, shapes),
                input_names=["image"],
                output_names=described["keys"],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise InputError(f"the network cannot be said in ONNX: {error}") from error
    assert program is not None
    program.model.metadata_props[SPEC] = json.dumps({**described, "onnx": onnx.__version__})
    program.save(str(path), external_data=False)


def write_pt2(graph: OutputGraph, described: dict[str, Any], path: Path) -> None:
    """Writes a program of torch.export.

    Raises:
        InputError: The network cannot be exported or saved so.
    """
    image, shapes = _example(graph, described)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = _program(graph, image, shapes)
        try:
            torch.export.save(program, path, extra_files={SPEC: json.dumps(described)})
        except Exception as error:  # torch has no public class for what it cannot serialize
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"the program cannot be saved ({reason}). Take `--format onnx`.") from error


def _program(graph: OutputGraph, image: Tensor, shapes: dict[int, Any]) -> torch.export.ExportedProgram:
    try:
        with torch.no_grad(), exact_padding():
            return torch.export.export(graph, (image,), dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # torch.export has no common class for what it cannot follow
        raise InputError(f"the network cannot be exported: {str(error).splitlines()[0]}") from error


def _example(graph: OutputGraph, described: dict[str, Any]) -> tuple[Tensor, dict[int, Any]]:
    """Two pictures, and which of their dimensions may be others."""
    height, width = graph.size
    if graph.resizes:
        height, width = 2 * height + 1, 2 * width + 3
    free = [0] + ([2, 3] if described["any_size"] or graph.resizes else [])
    return torch.zeros(2, 3, height, width, dtype=torch.uint8), dict.fromkeys(free, torch.export.Dim.DYNAMIC)
