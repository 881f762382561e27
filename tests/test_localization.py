"""The box head, its losses and counts, and the task of class and box: from a fit to files with boxes (T2)."""

from __future__ import annotations

import csv
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor, nn
from torchvision import ops

import visiontasks
from visiontasks.callbacks import ClosedFormStart, Panels
from visiontasks.callbacks.panels import Panel, _layers
from visiontasks.callbacks.wandb import _picture
from visiontasks.cli import main
from visiontasks.core import geometry
from visiontasks.core.draw import PREDICTED, Canvas, grid, titled
from visiontasks.core.errors import InputError
from visiontasks.data import CocoBoxes, CsvTable, ImageFolder, Shapes, Splits, VisionDataModule
from visiontasks.data.datasets.shapes import KINDS
from visiontasks.losses import (
    BoxCIoU,
    BoxDIoU,
    BoxGIoU,
    BoxIoU,
    BoxLoss,
    BoxMSE,
    BoxSmoothL1,
    CrossEntropy,
    Focal,
    WeightedSum,
    box_iou,
)
from visiontasks.models import Backbone, BoxHead, LabelHead
from visiontasks.models.heads.box import decode, encode
from visiontasks.models.ridge import fit_ridge
from visiontasks.predict import Predictor
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.targets import find_target
from visiontasks.targets.sample import draw_on, draw_sample
from visiontasks.tasks import ClassificationTask, LocalizationTask

LOSSES = [BoxMSE(), BoxSmoothL1(), BoxSmoothL1(0.5), BoxIoU(), BoxGIoU(), BoxDIoU(), BoxCIoU()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


def random_boxes(count: int = 500, seed: int = 0) -> Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(1).values
    return corners.flatten(1)


def by_hand(name: str, a: list[float], b: list[float]) -> float:
    """1 - IoU, GIoU, DIoU or CIoU of the papers, in Python's own float64."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a, b
    inside = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inside
    iou = inside / union
    width, height = max(ax2, bx2) - min(ax1, bx1), max(ay2, by2) - min(ay1, by1)
    if name == "BoxIoU":
        return 1 - iou
    if name == "BoxGIoU":
        return 1 - iou + (width * height - union) / (width * height)
    distance = ((ax1 + ax2 - bx1 - bx2) ** 2 + (ay1 + ay2 - by1 - by2) ** 2) / 4 / (width**2 + height**2)
    if name == "BoxDIoU":
        return 1 - iou + distance
    angle = math.atan((bx2 - bx1) / (by2 - by1)) - math.atan((ax2 - ax1) / (ay2 - ay1))
    v = 4 / math.pi**2 * angle**2
    return 1 - iou + distance + v * v / (1 - iou + v)


# losses


@pytest.mark.parametrize("loss", [BoxIoU(), BoxGIoU(), BoxDIoU(), BoxCIoU()], ids=lambda loss: type(loss).__name__)
def test_the_iou_family_agrees_with_float64_by_hand(loss: BoxLoss) -> None:
    boxes, others = random_boxes(200), random_boxes(200, 1)
    expected = [by_hand(type(loss).__name__, a, b) for a, b in zip(boxes.tolist(), others.tolist(), strict=True)]
    np.testing.assert_allclose(loss.values(boxes, others), expected, atol=2e-5)
    assert float(loss(boxes, others)) == pytest.approx(np.mean(expected), abs=1e-5)


def test_box_iou_agrees_with_torchvision() -> None:
    boxes, others = random_boxes(), random_boxes(seed=1)
    torch.testing.assert_close(box_iou(boxes, others), ops.box_iou(boxes, others).diagonal())
    torch.testing.assert_close(1 - BoxIoU().values(boxes, others), ops.box_iou(boxes, others).diagonal())
    np.testing.assert_allclose(geometry.box_iou(boxes.numpy(), others.numpy()), box_iou(boxes, others), atol=1e-6)
    assert box_iou(torch.zeros(1, 4), torch.zeros(1, 4)).tolist() == [0]
    assert box_iou(torch.zeros(1, 4), torch.full((1, 4), torch.nan)).isnan().all()


def test_squared_and_smooth_errors_are_their_formulas() -> None:
    boxes, others = torch.tensor([[0.1, 0.2, 0.5, 0.9]]), torch.tensor([[0.1, 0.25, 0.7, 0.5]])
    assert float(BoxMSE()(boxes, others)) == pytest.approx((0.05**2 + 0.2**2 + 0.4**2) / 4)
    expected = (0.05**2 / 0.2 + 0.2 - 0.05 + 0.4 - 0.05) / 4
    assert float(BoxSmoothL1(0.1)(boxes, others)) == pytest.approx(expected)


@every_loss
def test_a_box_loss_is_zero_only_where_boxes_agree_and_pulls_them_together(loss: BoxLoss) -> None:
    low = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * 0.5
    target = torch.cat([low, low + 0.3], 1)
    assert float(loss(target, target)) == pytest.approx(0, abs=1e-4)
    near, far = (target + shift for shift in (0.02, 0.1))
    assert 0 < float(loss(near, target)) < float(loss(far, target))


@every_loss
def test_unknown_boxes_have_no_part_in_the_loss_or_its_gradient(loss: BoxLoss) -> None:
    boxes, target = random_boxes(6).requires_grad_(), random_boxes(6, 1)
    target[[1, 4]] = torch.nan
    known = [0, 2, 3, 5]
    value = loss(boxes, target)
    torch.testing.assert_close(value, loss(boxes[known], target[known]))
    value.backward()
    assert boxes.grad is not None
    assert boxes.grad[[1, 4]].abs().sum() == 0
    assert boxes.grad.isfinite().all()
    boxes.grad = None
    nothing = loss(boxes, torch.full((6, 4), torch.nan))
    nothing.backward()
    assert nothing == 0
    assert boxes.grad.abs().sum() == 0


@every_loss
def test_box_losses_are_finite_in_bfloat16(loss: BoxLoss) -> None:
    boxes = random_boxes(20).bfloat16().requires_grad_()
    loss(boxes, random_boxes(20, 1)).backward()
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()


def test_a_weighted_sum_is_the_sum_of_its_parts() -> None:
    boxes, target = random_boxes(20), random_boxes(20, 1)
    both = WeightedSum([BoxGIoU(), BoxMSE()], [1.0, 3.0])
    assert float(both(boxes, target)) == pytest.approx(float(BoxGIoU()(boxes, target) + 3 * BoxMSE()(boxes, target)))
    classes = WeightedSum([CrossEntropy(class_weights="inverse"), Focal()], [0.5, 1.0])
    classes.set_label_counts(torch.tensor([30, 10]))
    assert classes.losses[0].weights.tolist() == pytest.approx([40 / 60, 2])


def test_a_loss_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"BoxHead\.loss: CrossEntropy compares classes; use a loss of boxes"):
        BoxHead([8], 2, loss=CrossEntropy())
    with pytest.raises(InputError, match=r"LabelHead\.loss: BoxMSE compares boxes; use a loss of classes"):
        LabelHead([8], 2, loss=BoxMSE())
    with pytest.raises(InputError, match="the losses are of boxes and of classes"):
        WeightedSum([CrossEntropy(), BoxMSE()], [1.0, 1.0])
    with pytest.raises(InputError, match="1 weights for 2 losses"):
        WeightedSum([BoxGIoU(), BoxMSE()], [1.0])


# figures


def test_counts_of_a_training_batch_by_hand() -> None:
    """IoUs of 1, 0.5 and 0.8; the fourth box is not known. 0.5 is not above 0.5."""
    target = torch.tensor([[0, 0, 0.8, 0.8], [0, 0, 0.8, 0.8], [0, 0, 0.8, 0.8], [torch.nan] * 4])
    boxes = torch.tensor([[0, 0, 0.8, 0.8], [0, 0, 0.39, 0.8], [0, 0, 0.64, 0.8], [0, 0, 0.8, 0.8]])
    counts = BoxHead([5], 4).counts(encode(boxes), target)
    assert counts[:4, 0].tolist() == pytest.approx([3, 1 + 0.39 / 0.8 + 0.8, 2, 2], abs=1e-3)
    assert not counts[4:].any()  # the shares above ten thresholds, and the class, are for val and test
    iou = find_target("bbox").figures(counts.double().numpy()[None])["iou"]
    assert float(iou) == pytest.approx((1.8 + 0.39 / 0.8) / 3, abs=1e-3)


# the head


def test_any_logits_are_a_box() -> None:
    boxes = decode(torch.randn(1000, 4, generator=torch.Generator().manual_seed(0)) * 20)
    assert (boxes[:, :2] <= boxes[:, 2:]).all()
    known = random_boxes() * 0.9 + 0.05
    sizes = (known[:, 2:] - known[:, :2]).min(1).values
    torch.testing.assert_close(decode(encode(known))[sizes > 0.01], known[sizes > 0.01])


@pytest.mark.parametrize("grid_size", [1, 2, 3])
def test_the_head_keeps_the_place(grid_size: int) -> None:
    head = BoxHead([5], 1, grid=grid_size, hidden=0)
    features = [torch.randn(4, 5, 6, 6, generator=torch.Generator().manual_seed(0))]
    cells = features[0].unflatten(3, (grid_size, -1)).unflatten(2, (grid_size, -1)).mean((3, 5))
    expected = cells.flatten(1) / grid_size**2
    torch.testing.assert_close(head.design(features), expected)
    torch.testing.assert_close(
        head(features), nn.functional.linear(expected, head.regressor.weight, head.regressor.bias)
    )
    flipped = [features[0].flip(3)]
    assert torch.allclose(head(features), head(flipped), atol=1e-6) == (grid_size == 1)


def test_a_hidden_convolution_has_no_closed_form() -> None:
    head = BoxHead([5], 1, hidden=3)
    assert head([torch.zeros(2, 5, 7, 7)]).shape == (2, 4)
    with pytest.raises(InputError, match="BoxHead as it is configured has no closed form"):
        head.design([torch.zeros(2, 5, 7, 7)])


def test_the_closed_form_finds_boxes_that_are_linear_in_the_features() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(80, 2, generator=generator) * 0.4 + 0.1
    boxes = torch.cat([boxes, boxes + 0.3], 1)
    design = torch.cat(
        [encode(boxes) @ torch.randn(4, 40, generator=generator), torch.randn(80, 9, generator=generator)], 1
    )
    head, target = BoxHead([49], 1, grid=1, hidden=0), boxes.clone()
    target[5] = torch.nan
    found = head.solve(design, target, torch.arange(80))
    assert found["left_out_iou"] > 0.95
    torch.testing.assert_close(head.postprocess(head.regressor(design)), boxes, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("boxes", "trivial"),
    [  # one far away, which the median does not see; and three whose medians are of different boxes
        ([[0.1, 0.1, 0.5, 0.6], [0.2, 0.1, 0.6, 0.7], [0.7, 0.7, 0.9, 0.8]], [0.2, 0.1, 0.6, 0.7]),
        ([[0.0, 0.3, 0.3, 0.5], [0.3, 0.4, 0.7, 0.7], [0.3, 0.0, 0.5, 0.3]], [0.2, 0.7 / 3, 0.5, 0.5]),
    ],
)
def test_the_baseline_is_the_mean_or_the_median_box(boxes: list[list[float]], trivial: list[float]) -> None:
    head = BoxHead([5], 1)
    head.setup({"boxes": np.array(boxes, np.float32)})
    torch.testing.assert_close(head.baseline(), torch.tensor(trivial))
    assert "trivial" in head.state_dict()


# leave-one-out by groups


@pytest.mark.parametrize("features", [3, 40])
def test_groups_are_left_out_together(features: int) -> None:
    """Against fits without each group, in float64."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(6).repeat(3)
    x = torch.randn(18, features, generator=generator, dtype=torch.float64)
    y = x[:, :2] + torch.randn(18, 2, generator=generator, dtype=torch.float64)
    ridge = fit_ridge(x, y, group)
    for number in range(6):
        rest, left = group != number, group == number
        mean_x, mean_y = x[rest].mean(0), y[rest].mean(0)
        centered = x[rest] - mean_x
        gram = centered.T @ centered + ridge.strength * torch.eye(features, dtype=torch.float64)
        weight = torch.linalg.solve(gram, centered.T @ (y[rest] - mean_y))
        expected = (x[left] - mean_x) @ weight + mean_y
        torch.testing.assert_close(ridge.left_out[left], expected, atol=1e-6, rtol=1e-6)


# the task


def make_task(classes: int = 4, **options: Any) -> LocalizationTask:
    spec = {"class_names": list(KINDS[:classes]), "image_size": 32, "resize": "stretch"}
    heads = {"box_head": partial(BoxHead, grid=2, hidden=0), **options}
    return LocalizationTask(spec, Backbone("test_resnet", False), **heads)


def make_data(count: int = 32, batch_size: int = 8, augment: Any = "none") -> VisionDataModule:
    return VisionDataModule(partial(Shapes, count=count, size=32), 32, augment=augment, batch_size=batch_size)


def make_trainer(tmp_path: Path, epochs: int = 1, **options: Any) -> Trainer:
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
    }
    return Trainer(accelerator="cpu", max_epochs=epochs, default_root_dir=tmp_path, **{**quiet, **options})


def test_one_class_is_the_box_alone() -> None:
    assert list(make_task(1).heads) == ["bbox"]
    assert list(make_task(2).heads) == ["bbox", "label"]
    assert make_task(2).monitor == "val/iou"
    with pytest.raises(InputError, match="1 class; classification needs at least two"):
        ClassificationTask(
            {"class_names": ["a"], "image_size": 32, "resize": "stretch"}, Backbone("test_resnet", False)
        )


def test_the_loss_is_the_weighted_sum_of_the_heads() -> None:
    task = make_task(label_weight=0.8).eval()
    (batch, *_) = make_data().loader("val")
    outputs = task(batch["image"])
    expected = 0.8 * task.heads["label"].loss(outputs["label"], batch["label"])
    expected += 0.2 * task.heads["bbox"].loss(outputs["bbox"], batch["bbox"])
    task.log = lambda *args, **kwargs: None
    with torch.no_grad():
        assert set(task.validation_step(batch, 0)) == {"bbox", "label"}
    torch.testing.assert_close(task._step(batch, "val")[1], expected)


def test_a_set_without_boxes_is_an_error_that_says_so(tmp_path: Path, class_folders: Path) -> None:
    data = VisionDataModule(partial(ImageFolder, root=str(class_folders)), 32)
    task = LocalizationTask(data.spec, Backbone("test_resnet", False))
    message = r"BoxHead predicts 'bbox', and the training set has none; it has label\. Use a dataset with 'bbox'"
    with pytest.raises(InputError, match=message):
        make_trainer(tmp_path).fit(task, data)


def test_localization_learns_shapes_and_counts_what_is_right(tmp_path: Path) -> None:
    data, panels = make_data(64), Panels(str(tmp_path), count=5)
    task = make_task()
    task.make_optimizer = partial(torch.optim.AdamW, lr=3e-3)
    trainer = make_trainer(tmp_path, 12, callbacks=[panels])
    trainer.fit(task, data)
    before = trainer.callback_metrics
    assert before["train/iou"] > before["val/iou_baseline"] + 0.1
    trainer.test(task, data, verbose=False)
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    predictions = Predictor(TorchNetwork(task)).predict([data.dataset("test").image(i) for i in range(16)])
    targets = [data.dataset("test").target(i) for i in range(16)]
    iou = box_iou(
        torch.stack([torch.from_numpy(p["bbox"]) for p in predictions]),
        torch.stack([torch.from_numpy(t["bbox"]) for t in targets]),
    )
    right = torch.tensor([p["label"] == t["label"] for p, t in zip(predictions, targets, strict=True)])
    assert found["test/iou"] == pytest.approx(float(iou.mean()), abs=1e-5)
    assert found["test/iou50"] == pytest.approx(float((iou > 0.5).float().mean()))
    assert found["test/localization"] == pytest.approx(float((right & (iou > 0.5)).float().mean()))
    each = [float(iou[[t["label"] == label for t in targets]].mean()) for label in range(4)]
    assert task.tables()["bbox"]["iou"].tolist() == pytest.approx(each, abs=1e-5)
    assert set(task.tables()) == {"bbox", "label"}
    with torch.no_grad():  # the worst are those of the highest loss of a box
        head, (batch,) = task.heads["bbox"], VisionDataModule(data.make_dataset, 32, batch_size=16).loader("test")
        boxes = head.eval()(task.eval().backbone(batch["image"]))
        losses = [float(head.loss(box[None], true[None])) for box, true in zip(boxes, batch["bbox"], strict=True)]
    np.testing.assert_allclose([panel.loss for panel in panels.worst], sorted(losses)[:-6:-1], atol=1e-4)
    worst = batch["image"][int(np.argmax(losses))].permute(1, 2, 0)
    np.testing.assert_array_equal(panels.worst[0].image, worst)
    for stage in ("val", "test"):
        assert np.asarray(Image.open(tmp_path / f"{stage}_panels.png")).shape == (2 * (240 + 49) + 4, 4 * 240 + 12, 3)
    assert panels.worst[0].name == data.dataset("test").name(int(np.argmax(losses)))


def test_half_of_the_boxes_may_be_missing(tmp_path: Path) -> None:
    rows = ["path,label,xmin,ymin,xmax,ymax"]
    for i in range(16):
        Image.new("RGB", (40, 30), (i * 10, 0, 0)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]}," + ("1,2,30,20" if i % 4 < 2 else ",,,"))
    (tmp_path / "t.csv").write_text("\n".join(rows))
    data = VisionDataModule(partial(CsvTable, path=str(tmp_path / "t.csv"), splits=Splits(val=0.5)), 32, batch_size=4)
    task = LocalizationTask(data.spec, Backbone("test_resnet", False), box_head=partial(BoxHead, grid=1, hidden=0))
    trainer = make_trainer(tmp_path, callbacks=[ClosedFormStart(passes=2), Panels(str(tmp_path))])
    trainer.fit(task, data)
    assert all(math.isfinite(value) for value in trainer.callback_metrics.values())
    assert all(parameter.isfinite().all() for parameter in task.parameters())


def test_a_batch_without_any_box_is_left_out(tmp_path: Path) -> None:
    task, (batch, *_) = make_task().eval(), make_data().loader("val")
    task.log = lambda *args, **kwargs: None
    batch["bbox"].fill_(torch.nan)
    for truth in batch["truth"]:
        del truth["bbox"]
    _, loss = task._step(batch, "val")
    torch.testing.assert_close(loss, 0.2 * task.heads["label"].loss(task(batch["image"])["label"], batch["label"]))
    with torch.no_grad():
        task.validation_step(batch, 0)
    figures = task.figures["val_"].values()
    assert math.isnan(figures["iou"])
    assert 0 <= figures["accuracy"] <= 1
    del batch["bbox"]
    with pytest.raises(InputError, match="BoxHead predicts 'bbox', which the batch lacks; it has"):
        task._step(batch, "val")


def test_a_weight_that_is_no_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.label_weight: 2 must be a share"):
        make_task(label_weight=2)


def test_a_closed_form_that_would_not_end_is_refused(tmp_path: Path) -> None:
    data = make_data(32)
    task = make_task(box_head=partial(BoxHead, grid=7, hidden=0))
    task.heads["bbox"].design = lambda features: torch.zeros(1).expand(len(features[0]), 10**9)
    with pytest.raises(InputError, match=r"32 samples of 1,000,000,000 features for bbox \(128 GB\) are too many"):
        make_trainer(tmp_path, callbacks=[ClosedFormStart()]).fit(task, data)


def test_augmented_passes_of_the_closed_form_keep_pictures_together(tmp_path: Path, caplog: Any) -> None:
    data, task = make_data(40, augment="light"), make_task()
    with caplog.at_level("INFO"):
        make_trainer(tmp_path, callbacks=[ClosedFormStart(passes=3)]).fit(task, data)
    assert "Closed-form start of bbox on 120 samples" in caplog.text
    with pytest.raises(InputError, match="passes=0 must be at least 1"):
        ClosedFormStart(passes=0)


# from the command line to files with boxes in the pixels of the original


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on large images, letterboxed, with one box in each."""
    root = tmp_path_factory.mktemp("localization")
    rows = ["path,label,xmin,ymin,xmax,ymax"]
    for i in range(16):
        picture = np.full((60, 120, 3), 40, np.uint8)
        x = 10 + 3 * i
        picture[20:50, x : x + 50] = (200, 60 * (i % 2), 0)
        Image.fromarray(picture).save(root / f"{i}.png")
        rows.append(f"{i}.png,{('cat', 'dog')[i % 2]},{x},20,{x + 50},50")
    (root / "t.csv").write_text("\n".join(rows))
    arguments = f"""
        probe --trainer.accelerator cpu --trainer.enable_progress_bar false --trainer.logger false
        --trainer.default_root_dir {root}/runs --model LocalizationTask
        --model.backbone.name test_resnet --model.backbone.pretrained false
        --model.box_head.grid 2 --model.box_head.hidden 0 --data.dataset CsvTable --data.dataset.path {root}/t.csv
        --data.dataset.splits.val 0.25 --data.image_size 64 --data.resize letterbox --data.augment none
        --data.batch_size 4
    """
    main(arguments.split())
    return root


def test_predictions_come_back_in_the_pixels_of_the_original(trained: Path, tmp_path: Path) -> None:
    checkpoint = str(next(trained.glob("runs/*/*/last.ckpt")))
    photos = [str(path) for path in sorted(trained.glob("*.png"))]
    main(["predict", checkpoint, *photos, "--output", str(tmp_path), "--device", "cpu", "--overlays"])
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    with (trained / "t.csv").open(newline="") as file:
        truth = {row["path"]: row for row in csv.DictReader(file)}
    assert rows.keys() == truth.keys()
    corners = ("xmin", "ymin", "xmax", "ymax")
    found, true = (
        torch.tensor([[float(table[name][c]) for c in corners] for name in truth]) for table in (rows, truth)
    )
    assert float(box_iou(found, true).mean()) > 0.7
    assert list(rows["0.png"]) == ["path", "label", "score", *corners]
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == [row["path"] for row in rows.values()]
    assert list(lines[0]) == [*rows["0.png"], "height", "width"]
    assert (lines[0]["height"], lines[0]["width"]) == (60, 120)
    overlays = sorted((tmp_path / "overlays").iterdir())
    assert len(overlays) == 16
    assert Image.open(overlays[0]).size == (6 * 120, 6 * 60)  # enlarged, so that texts fit
    content = json.loads((tmp_path / "predictions.json").read_text())
    assert content["images"][0]["width"] == 120
    assert all(0 < row["score"] <= 1 for row in content["annotations"])
    again = CocoBoxes("train", str(tmp_path / "predictions.json"), str(trained), boxes="clip", splits=Splits(val=0.0))
    assert len(again) == 16
    by_name = {Path(again.name(i)).name: again.target(i)["bbox"] for i in range(16)}
    for name, row in rows.items():
        np.testing.assert_allclose(by_name[name], [float(row[c]) for c in corners], atol=0.02)


def test_a_loaded_model_predicts_boxes_in_python(trained: Path) -> None:
    predictor = visiontasks.load(str(next(trained.glob("runs/*/*/last.ckpt"))))
    (prediction,) = predictor.predict([trained / "3.png"])
    assert prediction["class_name"] in ("cat", "dog")
    assert prediction["bbox"].shape == (4,)
    assert prediction["bbox"].dtype == np.float32
    assert 0 <= prediction["bbox"].min() <= prediction["bbox"].max() <= 120


def test_a_run_has_its_panels(trained: Path) -> None:
    assert next(trained.glob("runs/*/*/val_panels.png")).stat().st_size > 1000


# pictures

SPEC: dict[str, Any] = {"class_names": ["cat", "dog"], "mask_names": []}


def test_a_box_is_drawn_where_it_is_and_the_image_is_left_alone() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    picture = draw_sample(image, {"bbox": np.array([10, 20, 50, 40], np.float32)}, SPEC)
    ys, xs = np.nonzero(picture.any(2))
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (10, 20, 50, 40)
    assert (picture[20, 10:51] == PREDICTED).all()
    assert not picture[25:35, 15:45].any()
    assert not image.any()


def test_a_caption_says_what_is_known() -> None:
    def captions(sample: dict[str, Any]) -> list[str]:
        canvas, texts = Canvas(np.zeros((20, 20, 3), np.uint8)), []
        canvas.caption = texts.append
        draw_on(canvas, sample, {**SPEC, "value_names": ["age", "height"]})
        return texts

    assert captions({"label": 1, "score": 0.987}) == ["dog 0.99"]
    assert captions({"label": -100}) == captions({}) == []
    numbers = np.array([3.14159, np.nan], np.float32)
    assert captions({"label": 0, "value": numbers, "bbox": np.full(4, np.nan)}) == ["cat", "age 3.142"]
    nothing = draw_sample(np.zeros((20, 20, 3), np.uint8), {"bbox": np.full(4, np.nan)}, SPEC)
    assert not nothing.any()
    black = np.zeros((20, 90, 3), np.uint8)
    named = draw_sample(black, {"label": 0}, {**SPEC, "class_names": ["größer"]})
    assert named.any()
    np.testing.assert_array_equal(titled(black, "größer"), named)
    assert not black.any()
    assert not Canvas(black).picture().any()


def test_a_grid_fills_its_rows() -> None:
    sheet = grid([np.full((10, 20, 3), value, np.uint8) for value in (1, 2, 3)], columns=2, gap=2)
    assert sheet.shape == (22, 42, 3)
    assert sheet[0, 22, 0] == 2
    assert sheet[12, 0, 0] == 3
    assert sheet[12, 30, 0] == 255


def test_boxes_go_to_weights_and_biases_in_its_own_form() -> None:
    sample = {"bbox": np.array([1, 2, 11, 12], np.float32), "label": 1}
    panel = Panel(0.5, np.zeros((20, 20, 3), np.uint8), sample, {**sample, "score": 0.25})
    image = _picture(*_layers(panel, SPEC), SPEC["class_names"], [])
    assert set(image._boxes) == {"target", "prediction"}
    assert image._caption == "dog / dog 0.25"
    unknown = _layers(panel._replace(target={}), SPEC)[2]["target"]
    assert unknown == {"boxes": []}
    (box,) = image._boxes["prediction"]._val
    assert box["position"] == {"minX": 1, "minY": 2, "maxX": 11, "maxY": 12}
    assert box["class_id"] == 1
    assert box["box_caption"] == "dog 0.25"
