"""Pictures of what training will see (A1)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.cli import main
from visiontasks.cli.preview import DRAWS, preview
from visiontasks.core.draw import TRUE, palette
from visiontasks.data import Shapes, VisionDataModule

SIDE = 96


def make_data(**options: Any) -> VisionDataModule:
    return VisionDataModule(partial(Shapes, count=8, size=SIDE), image_size=SIDE, batch_size=8, **options)


def tiles(sheet: np.ndarray, columns: int, side: int = SIDE) -> np.ndarray:
    """The pictures of a grid, (rows, columns, side, side, 3)."""
    rows = (len(sheet) + 4) // (side + 4)
    at = [np.arange(count)[:, None] * (side + 4) + np.arange(side) for count in (rows, columns)]
    return sheet[at[0]][:, :, at[1]].swapaxes(1, 2)


@pytest.mark.parametrize(("augment", "rows"), [("none", 1), ("light", 3), ("strong", 8)])
def test_each_transform_has_a_row_and_all_together_the_last(augment: Any, rows: int) -> None:
    shown = tiles(preview(make_data(augment=augment), index=2)["augmentation"], DRAWS + 1)
    assert shown.shape == (rows, DRAWS + 1, SIDE, SIDE, 3)
    assert (shown[:, 0, 40:] == shown[0, 0, 40:]).all()  # below its title the image is the unchanged one


def test_a_transform_is_always_applied_in_its_row() -> None:
    data = make_data(augment=[{"class_path": "HorizontalFlip", "init_args": {"p": 0.0}}])
    sample = data.dataset("train")[0]
    plain, below = sample["image"], int(sample["bbox"][3]) + 4
    flipped, together = tiles(preview(data)["augmentation"], DRAWS + 1)[:, 1:]
    assert below < SIDE  # below the box, where nothing is drawn
    np.testing.assert_array_equal(flipped[:, below:], np.stack([plain[below:, ::-1]] * DRAWS))
    np.testing.assert_array_equal(together[:, below:], np.stack([plain[below:]] * DRAWS))
    assert (flipped == plain[:, ::-1]).mean() > 0.5  # all but box, mask and caption
    assert (flipped == plain).mean() < 0.2
    assert (together == plain).mean() > 0.5
    assert data.augment.steps()[0].p == 0.0  # the real one is as it was


def test_boxes_and_masks_are_drawn_in_their_places() -> None:
    data = make_data(augment="none")
    shown = tiles(preview(data)["batch"], 4).reshape(-1, SIDE, SIDE, 3)
    batch = next(iter(data.loader("train", training=True)))
    for number, picture in enumerate(shown):
        x1, y1, x2, y2 = (batch["bbox"][number] * SIDE).round().int().tolist()
        assert (picture[min(y2, SIDE - 1), (x1 + x2) // 2] == TRUE).all()
        mask = batch["mask"][number].numpy()
        y, x = (y1 + y2) // 2, (x1 + x2) // 2  # inside of every kind of shape
        image = batch["image"][number, :, y, x].numpy().astype(int)
        np.testing.assert_array_equal(picture[y, x], (image + palette()[mask[y, x]]) // 2)


def test_preview_from_the_command_line_reads_no_weights(tmp_path: Path, capsys: Any) -> None:
    config = Path(__file__).parents[1] / "configs/quickstart.yaml"
    root = ["--trainer.default_root_dir", str(tmp_path), "--data.dataset.count", "8", "--data.batch_size", "4"]
    main(["preview", "-c", str(config), *root, "--trainer.logger", "false", "--model.backbone.pretrained", "no.pth"])
    (run,) = (tmp_path / "quickstart").iterdir()
    assert Image.open(run / "batch.png").size == (4 * 100 - 4, 96)
    assert Image.open(run / "augmentation.png").size == (6 * 100 - 4, 3 * 100 - 4)
    assert not list(run.glob("*.ckpt"))
