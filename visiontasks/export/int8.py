"""Quantization of ONNX files to 8 bits."""

import logging
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np


def quantize(path: Path, pictures: Iterable[np.ndarray], output: Path) -> None:
    """Quantizes an ONNX file statically: int8 weights with one scale per channel, uint8 activations.

    The ranges of the activations are those of `pictures`: training images as the network sees them, uint8 (1, 3, H, W).
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds: Iterator[dict[str, np.ndarray]] = ({"image": picture} for picture in pictures)

        def get_next(self) -> dict[str, np.ndarray] | None:  # ty: ignore[incompatible-method-override]
            return next(self.feeds, None)

    with _quiet(), TemporaryDirectory() as folder:
        ready = Path(folder, "ready.onnx")
        quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
        activations, weights = QuantType.QUInt8, QuantType.QInt8
        options: dict[str, Any] = {"per_channel": True, "activation_type": activations, "weight_type": weights}
        quantize_static(str(ready), str(output), Reader(), **options)


@contextmanager
def _quiet() -> Generator[None]:
    root = logging.getLogger()  # which onnxruntime uses for its progress
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
