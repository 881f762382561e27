"""Small sets of images, written where a test wants them; no network, one thread."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["WANDB_MODE"] = "offline"

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)

COLOURS = {"blue": (30, 60, 220), "green": (40, 200, 60), "red": (220, 50, 40)}


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Writes a noisy image of one colour and returns its path."""

    def write(path: Path, colour: tuple[int, int, int] = (128, 128, 128), size: tuple[int, int] = (40, 32)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = sum(map(ord, path.name))
        noise = np.random.default_rng(seed).normal(0, 25, (size[1], size[0], 3))
        Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def class_folders(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """train, val and test with a folder for each of three colours: 8, 3 and 3 images a class."""
    root = tmp_path / "colours"
    for split, count in (("train", 8), ("val", 3), ("test", 3)):
        for name, colour in COLOURS.items():
            for i in range(count):
                write_image(root / split / name / f"{split}-{name}-{i}.jpg", colour)
    return root


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real sets; the test is skipped where it is absent."""
    for folder in (Path("data"), Path(__file__).parents[2] / "shared" / "data"):
        if folder.is_dir():
            return folder
    pytest.skip("no folder of real image sets")


@pytest.fixture(scope="session")
def readme_code() -> Callable[[str], str]:
    """The first block of a language in README.md."""

    def block(language: str) -> str:
        text = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")
        return text.split(f"```{language}\n", 1)[1].split("```", 1)[0]

    return block
