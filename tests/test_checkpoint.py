"""Checkpoints are read as data, and what is none is named."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visiontasks.core.errors import InputError
from visiontasks.tasks.checkpoint import TRAINING, VERSION_KEY, read_checkpoint

CONTENT = {
    VERSION_KEY: {"version": "0.1.0", "spec": {"class_names": ["a", "b"], "image_size": 32, "resize": "crop"}},
    "state_dict": {"weight": torch.arange(1000.0)},
    "hyper_parameters": {"class_path": "x.Y", "init_args": {"rate": 0.5, "sizes": [1, 2], "none": None}},
}


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.mkdir, (self.canary,)


def saved(value: Any, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_checkpoint_is_returned_as_it_was_written(tmp_path: Path, legacy: bool, kind: type) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(saved(CONTENT, legacy))
    found = read_checkpoint(kind(path))
    assert torch.equal(found.pop("state_dict")["weight"], CONTENT["state_dict"]["weight"])
    assert found == {key: value for key, value in CONTENT.items() if key != "state_dict"}


@pytest.mark.parametrize("path", ["nowhere/last.ckpt", "", ".", "https://example.org/best.ckpt"])
def test_what_is_no_local_file_is_named_and_not_fetched(path: str) -> None:
    with pytest.raises(InputError, match=f"^{path}: no such checkpoint .*addresses are not fetched"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"<!doctype html><title>Not found</title>",
        b"hello world\n" * 20,
        b"a: 1\nb: [2, 3]\n",
        b"PK\x03\x04",
        b"\x80",
        b"\x80\x02}q\x00",
        pickle.dumps({VERSION_KEY: 1}, protocol=0),
        *(saved(CONTENT)[:length] for length in (1, 100, 2000, 5000, -1)),
        *(saved(CONTENT, legacy=True)[:length] for length in (1, 30, 200, 3000, -1)),
    ],
    ids=lambda content: f"{content[:4]}-{len(content)}",
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.ckpt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: (broken or truncated|refused|not a checkpoint)"):
        read_checkpoint(path)


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_read_or_named(tmp_path: Path, seed: int) -> None:
    rng, path = np.random.default_rng(seed), tmp_path / "best.ckpt"
    content = np.frombuffer(saved(CONTENT, legacy=seed % 2 == 0), np.uint8).copy()
    places = rng.integers(0, min(len(content), 1200), 5)  # beyond are only weights
    content[places] = rng.integers(0, 256, 5)
    path.write_bytes(content.tobytes())
    try:
        read_checkpoint(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - damage to a text does not make a file unreadable


@pytest.mark.parametrize(
    "write",
    [
        lambda value: pickle.dumps(value),
        lambda value: pickle.dumps(value, protocol=2),
        saved,
        lambda value: saved(value, legacy=True),
    ],
    ids=["pickle", "old pickle", "torch", "old torch"],
)
def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path, write: Callable[[Any], bytes]) -> None:
    canary, path = tmp_path / "canary", tmp_path / "best.ckpt"
    path.write_bytes(write({**CONTENT, "state_dict": {}, "hyper_parameters": Payload(canary)}))
    with pytest.raises(InputError, match=f"^{path}: refused, the file holds more than weights") as error:
        read_checkpoint(path)
    assert "weights_only" not in str(error.value)  # no advice to trust it
    assert not canary.exists()


@pytest.mark.parametrize("value", [Path("a"), np.float64(0.5)], ids=["Path", "np.float64"])
def test_objects_other_than_plain_values_are_refused_and_named(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "best.ckpt"
    path.write_bytes(saved({VERSION_KEY: {}, "hyper_parameters": {"value": value}}))
    with pytest.raises(InputError, match=r"refused, .*: (pathlib|numpy)"):
        read_checkpoint(path)


def changed(**changes: Any) -> dict[str, Any]:
    return {**CONTENT, VERSION_KEY: {**CONTENT[VERSION_KEY], "spec": {**CONTENT[VERSION_KEY]["spec"], **changes}}}


SIZES = [10**9, -1, 0, "a", None, True, 3.5, [32], [1, 2, 3], [10**5, 10**5], [32, "a"], {}, float("nan")]
WRONG = [
    *(changed(image_size=size) for size in SIZES),
    *(changed(resize=mode) for mode in ("x", None, ["stretch"])),
    *(changed(crop_share=share) for share in (0, -1, "a", 1e-9, 2, True, float("nan"))),
    *(changed(class_names=names) for names in ("ab", [1, 2], {"a": 1}, [["a"]])),
    *({**CONTENT, "state_dict": {"weight": value}} for value in ([1], "a", None, torch.zeros(2).to_sparse())),
    *({**CONTENT, name: "text"} for name in TRAINING if name != "pytorch-lightning_version"),
    {**CONTENT, "pytorch-lightning_version": [1]},
]


@pytest.mark.parametrize("content", WRONG, ids=range(len(WRONG)))
def test_values_that_no_model_has_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "best.ckpt"
    path.write_bytes(saved(content))
    with pytest.raises(InputError, match=f"^{path}: not a checkpoint of visiontasks"):
        read_checkpoint(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1j])
def test_weights_that_are_no_finite_real_numbers_are_refused(tmp_path: Path, value: complex) -> None:
    path = tmp_path / "best.ckpt"
    path.write_bytes(saved({**CONTENT, "state_dict": {"weight": torch.tensor([1, value])}}))
    with pytest.raises(InputError, match=f"^{path}: the weight 'weight' must hold finite real numbers"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [{"state_dict": {}, "epoch": 3}, torch.zeros(3), [1, 2], "text"], ids=type)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match=f"^{path}: not a checkpoint of visiontasks"):
        read_checkpoint(path)
