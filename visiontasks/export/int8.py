"""Quantization of ONNX files to 8 bits."""

import logging
from collections.abc import Generator, Iterable
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

    feeds = ({"image": picture} for picture in pictures)

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:  # ty: ignore[incompatible-method-override]
            return next(feeds, None)

    with _quiet(), TemporaryDirectory() as folder:
        ready = Path(folder, "ready.onnx")
        quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
        types: dict[str, Any] = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(str(ready), str(output), Reader(), per_channel=True, **types)


@contextmanager
def _quiet() -> Generator[None]:
    root = logging.getLogger()  # which onnxruntime uses for its progress
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
