"""Checkpoints, pretrained networks and exported programs, run by torch."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from visiontasks.core.errors import InputError
from visiontasks.predict.networks import SPEC, read_description
from visiontasks.targets.sample import Outputs
from visiontasks.tasks import VisionTask


class TorchNetwork:
    """A task in eval mode, on a device such as `cpu`, `cuda:1` or `auto`: a GPU if there is one; see `Network`."""

    resizes = False

    def __init__(self, task: VisionTask, device: str = "auto") -> None:
        self.device = find_device(device)
        self.task = task.eval().to(self.device)
        self.spec, self.keys = task.spec, tuple(task.heads)
        fixed = hasattr(task.backbone.net, "set_input_size") or task.backbone.normalization == "zca"
        self.any_size = not fixed and all(getattr(head, "pool", None) != "flatten" for head in task.heads.values())

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> Outputs:
        """Computes the post-processed outputs of pictures, uint8 (B, 3, H, W), RGB."""
        outputs = self.task.postprocess(torch.from_numpy(images).to(self.device))
        return {key: output.float().cpu().numpy() for key, output in outputs.items()}


class ExportedNetwork:
    """A program that `visiontasks export` wrote with torch.export; see `Network`. Loading it can run code in the file.

    Raises:
        InputError: The file is missing, broken or not from visiontasks.
    """

    def __init__(self, path: str, device: str = "auto") -> None:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file.")
        extra = {SPEC: ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except (RuntimeError, ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: not an exported program that can be read: {error}") from None
        self.spec, self.keys, self.any_size, self.resizes = read_description(extra[SPEC], path)
        self.device = find_device(device)
        # the guards hold for the sizes of the example only, such as whether a side is a multiple of 32
        self.module = move_to_device_pass(program, self.device).module(check_guards=False)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> Outputs:
        """Computes the post-processed outputs of pictures, uint8 (B, 3, H, W), RGB."""
        try:
            found = self.module(torch.from_numpy(images).to(self.device))
        except RuntimeError as error:
            if "Expected input" not in str(error):
                raise
            height, width = images.shape[-2:]
            raise InputError(f"pictures of {height} x {width} pixels do not fit this program: {error}") from None
        return {key: output.cpu().numpy() for key, output in zip(self.keys, found, strict=True)}


def find_device(name: str) -> torch.device:
    """Returns the device that `--device` names; `auto` is a GPU if there is one."""
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        value = torch.zeros((), device=name)
        value.tolist()  # the device `meta` has no values
        return value.device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from None
