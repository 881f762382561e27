"""Damaged files of every kind that is read end with our error, soon, and without a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import save_file

from visiontasks.cli.opening import open_data
from visiontasks.core.errors import InputError
from visiontasks.models import Backbone
from visiontasks.predict.onnx_network import OnnxNetwork
from visiontasks.tasks.restore import restore_task

SECONDS = 5
EDGE = 4096  # bytes at both ends of a file, which hold most of its structure
CONFIG = {
    "data": {
        "dataset": {"class_path": "Shapes", "init_args": {"count": 16, "size": 32}},
        "image_size": [32, 48],
        "augment": [{"class_path": "HorizontalFlip", "init_args": {"p": 0.5}}],
        "batch_size": 8,
    }
}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Changes some bits, or cuts, doubles, clears or overwrites a part, mostly in the structure of a file."""
    data, edge = bytearray(content), min(EDGE, len(content))
    for _ in range(rng.integers(1, 4)):
        start = int(rng.integers(edge) if rng.random() < 0.5 else len(data) - 1 - rng.integers(edge))
        start, length = max(0, start), int(rng.integers(1, 64))
        part = slice(start, start + length)
        kind = rng.integers(6)
        if kind == 0 and start < len(data):
            data[start] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[part] = b""
        elif kind == 2:
            data[part] = bytes(data[part]) * 2
        elif kind == 3:
            data[part] = bytes(len(data[part]))
        elif kind == 4:
            data[part] = rng.bytes(length)
        else:
            data = data[: max(1, start)]
    return bytes(data)


def run_onnx(path: Path) -> None:
    network = OnnxNetwork(str(path))
    network(np.zeros((1, 3, 48, 48), np.uint8))


READ: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "config": ("config.yaml", lambda path: open_data(path, beside=True)),
    "checkpoint": ("model.ckpt", lambda path: restore_task(str(path))),
    "onnx": ("model.onnx", run_onnx),
    "safetensors": ("model.safetensors", lambda path: Backbone("test_resnet", str(path))),
}


def good(kind: str, folder: Path, request: pytest.FixtureRequest) -> bytes:
    if kind == "config":
        return yaml.safe_dump(CONFIG).encode()
    if kind == "checkpoint":
        return request.getfixturevalue("shapes_checkpoints")["label"].read_bytes()
    if kind == "onnx":
        return request.getfixturevalue("exported")["all.onnx"].read_bytes()
    save_file(Backbone("test_resnet", False).net.state_dict(), folder / "good")
    return (folder / "good").read_bytes()


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", READ)
def test_damaged_files_are_refused(
    kind: str, count: int, tmp_path: Path, time_limit: Any, request: pytest.FixtureRequest
) -> None:
    content, (name, read), rng = good(kind, tmp_path, request), READ[kind], np.random.default_rng(count)
    path, failures, refused = tmp_path / name, [], 0
    for number in range(count):
        path.write_bytes(damaged(content, rng))
        try:
            with time_limit(SECONDS):
                read(path)
        except InputError:
            refused += 1
        except BaseException as error:
            failures.append(f"{number}: {error!r}"[:300])
    assert failures == []
    assert refused > count / 5
