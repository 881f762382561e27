"""Exported ONNX files, run by onnxruntime without torch."""

from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.core.errors import InputError
from visiontasks.predict.description import SPEC, read_description
from visiontasks.predict.protobuf import names_other_files
from visiontasks.targets.sample import Outputs


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
        except Exception as error:  # onnxruntime has one exception per status code
            raise InputError(f"{path}: not an ONNX file that can be run: {error}") from None
        described = read_description(self.session.get_modelmeta().custom_metadata_map.get(SPEC), path)
        self.spec, self.described = described["spec"], described
        self.keys = tuple(described["keys"])
        if (found := tuple(output.name for output in self.session.get_outputs())) != self.keys:
            raise InputError(f"{path}: describes the outputs {self.keys}, but has {found}. Export it again.")
        self.any_size, self.resizes = described["any_size"], described["resizes"]

    def __call__(self, images: np.ndarray) -> Outputs:
        """Computes the post-processed outputs of pictures, uint8 (B, 3, H, W), RGB."""
        found: Any = self.session.run(None, {"image": np.ascontiguousarray(images)})
        return dict(zip(self.keys, found, strict=True))
