"""Exported ONNX files, inspected before onnxruntime reads and runs them, without torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.predict.networks import SPEC, read_description
from visiontasks.targets.sample import Outputs

# fields of the messages in onnx.proto3 that hold other messages
_PARTS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor


class OnnxNetwork:
    """An ONNX file that `visiontasks export` wrote, opened from its path; see `Network`.

    Raises:
        InputError: The file is missing, broken, not from visiontasks, or has weights in other files.
    """

    def __init__(self, path: str) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise InputError(f"{path}: needs onnxruntime. Install it: pip install 'visiontasks[export]'.") from None
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file.")
        self.path = path
        onnxruntime.set_default_logger_severity(3)
        content = Path(path).read_bytes()
        try:
            outside = names_other_files(content)
        except ValueError as error:
            raise InputError(f"{path}: not an ONNX file that can be read: {error}.") from None
        if outside:
            raise InputError(f"{path}: refused, it has weights in other files. Export it as one file.")
        try:
            self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            described = self.session.get_modelmeta().custom_metadata_map.get(SPEC)
            found = tuple(output.name for output in self.session.get_outputs())
        except Exception as error:  # onnxruntime has one exception per status code; or texts that are not UTF-8
            raise InputError(f"{path}: not an ONNX file that can be run: {error}") from None
        self.spec, self.keys, self.any_size, self.resizes = read_description(described, path)
        if found != self.keys:
            raise InputError(f"{path}: describes the outputs {self.keys}, but has {found}. Export it again.")

    def __call__(self, images: np.ndarray) -> Outputs:
        """Computes the post-processed outputs of pictures, uint8 (B, 3, H, W), RGB."""
        try:
            found: Any = self.session.run(None, {"image": np.ascontiguousarray(images)})
        except Exception as error:
            raise InputError(f"{self.path}: cannot be run on pictures {images.shape[1:]}: {error}") from None
        return dict(zip(self.keys, found, strict=True))


def names_other_files(content: bytes) -> bool:
    """Returns whether a tensor of an ONNX file is stored in another file, which a runtime would read.

    Raises:
        ValueError: The content is not a protobuf message, or truncated.
    """
    waiting = [("model", memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        for field, value in _fields(message):
            if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
                return True
            if field in _PARTS[kind] and isinstance(value, memoryview):
                waiting.append((_PARTS[kind][field], value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and value of each field."""
    place = 0
    while place < len(message):
        tag, place = _number(message, place)
        if tag >> 32:  # other readers truncate it
            raise ValueError("a tag of more than 32 bits")
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _number(message, place)
            yield field, value
        elif wire == 2:
            length, place = _number(message, place)
            if place + length > len(message):
                raise ValueError("truncated")
            yield field, message[place : place + length]
            place += length
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")


def _number(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift <= 63:
        if place >= len(message):
            raise ValueError("truncated")
        byte = message[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place
    raise ValueError("a number of more than 64 bits")
