"""Quantization of ONNX files to 8 bits."""

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def quantize(path: Path, pictures: Iterable[np.ndarray], output: Path, exact_ends: bool = False) -> None:
    """Quantizes an ONNX file statically: int8 weights with one scale per channel, uint8 activations.

    The ranges of the activations are those of `pictures`: training images as the network sees them, uint8 (1, 3, H, W).
    With `exact_ends`, the last layers with weights and what follows them are not quantized: 256 steps are too few for
    the corner of a box.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    feeds = ({"image": picture} for picture in pictures)

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:  # ty: ignore[incompatible-method-override]
            return next(feeds, None)

    with _quiet(), TemporaryDirectory() as folder:
        ready = Path(folder, "ready.onnx")
        quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
        types: dict[str, Any] = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        kept = names_of_ends(onnx.load(str(ready)).graph) if exact_ends else []
        quantize_static(str(ready), str(output), Reader(), per_channel=True, nodes_to_exclude=kept, **types)


def names_of_ends(graph: Any) -> list[str]:
    """Returns the names of the last layers with weights, and of all nodes between them and the outputs of a graph."""
    maker = {name: node for node in graph.node for name in node.output}
    weights = {weight.name for weight in graph.initializer}
    waiting, found = [output.name for output in graph.output], {}
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.name not in found:
            found[node.name] = node
            is_last = node.op_type in WEIGHTED and not weights.isdisjoint(
                node.input
            )  # a product of maps has no weights
            waiting.extend(() if is_last else node.input)
    return list(found)


@contextmanager
def _quiet() -> Generator[None]:
    root = logging.getLogger()  # which onnxruntime uses for its progress
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
