"""ONNX files with weights and activations of 8 bits."""

import logging
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np


def quantize(path: Path, pictures: Iterable[np.ndarray], output: Path) -> None:
    """Quantizes an ONNX file statically: int8 weights with a scale for each channel, uint8 activations.

    The ranges of the activations are those of the pictures, uint8 (1, 3, H, W).

    Args:
        path: The file.
        pictures: Training images as the network sees them.
        output: The new file, all weights inside.
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
        quantize_static(
            str(ready),
            str(output),
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


@contextmanager
def _quiet() -> Generator[None]:
    """onnxruntime says through the root logger what is of no use here."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
