"""Mask heads and the task of one class a pixel, from a fit to files in the pixels of the original (T4, N11, N12)."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import visiontasks
from visiontasks.callbacks import ClosedFormStart, Panels
from visiontasks.callbacks.panels import Panel, _layers
from visiontasks.callbacks.wandb import _picture
from visiontasks.cli import main
from visiontasks.core.draw import legend, palette
from visiontasks.core.errors import InputError
from visiontasks.core.files import read_csv
from visiontasks.core.geometry import Frame
from visiontasks.data import MaskFolder, OxfordIIITPet, Shapes, VisionDataModule
from visiontasks.data.datasets.base import VisionDataset
from visiontasks.losses import CrossEntropy, Dice, Focal, Jaccard, Lovasz, Tversky, WeightedSum
from visiontasks.models import Backbone, BoxHead, FCNHead, LabelHead, MaskHead, SMPHead, UNetHead
from visiontasks.models.heads.fcn import bilinear
from visiontasks.predict import Predictor
from visiontasks.predict.tiles import tiled_mask
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.targets import Known, find_target
from visiontasks.targets.mask import restore_mask
from visiontasks.targets.sample import draw_sample, predict_samples
from visiontasks.tasks import SegmentationTask, VisionTask
from visiontasks.tasks.figures import StageFigures
from visiontasks.tasks.restore import restore_task

SMALL: dict[str, Any] = {"decoder": "Unet", "width": 0.125}
HEADS = {
    "FCN-32s": partial(FCNHead, stride=32),
    "FCN-16s": partial(FCNHead, stride=16),
    "FCN-8s": FCNHead,
    "U-Net": partial(UNetHead, width=2),
    **{
        name: partial(SMPHead, decoder=name, width=0.125 if name != "FPN" else 0.25)
        for name in ("Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "Segformer")
    },
}
every_head = pytest.mark.parametrize("name", HEADS)


def small_backbone(name: str = "Unet") -> Backbone:
    return Backbone("test_resnet", False, output_stride=16 if name == "DeepLabV3Plus" else None).eval()


def make_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def make_data(count: int = 32, size: int = 32, **options: Any) -> VisionDataModule:
    options = {"augment": "none", "batch_size": 8, **options}
    return VisionDataModule(partial(Shapes, count=count, size=size), **{"image_size": 32, **options})


def make_task(data: VisionDataModule, head: Any = partial(SMPHead, **SMALL), **options: Any) -> SegmentationTask:
    seed_everything(0, verbose=False)
    options = {"optimizer": partial(torch.optim.AdamW, lr=3e-3), **options}
    return SegmentationTask(data.spec, Backbone("test_resnet", False), head, **options)


def make_trainer(tmp_path: Path, epochs: int = 1, **options: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    options = {"logger": False, **quiet, **options}
    return Trainer(accelerator="cpu", max_epochs=epochs, default_root_dir=tmp_path, **options)


class Photos(VisionDataset):
    """Photos of different sizes with a bright square; every third one has no mask."""

    def __init__(self, split: str, missing: bool = True) -> None:
        self.class_names, self.mask_names, self._missing = [], ["ground", "square"], missing
        self._sizes = [(24 + 5 * i, 40 - 3 * i) for i in range(6)]

    def __len__(self) -> int:
        return len(self._sizes)

    def image(self, index: int) -> np.ndarray:
        mask = self._square(index)
        return np.stack([40 + 180 * mask] * 3, 2).astype(np.uint8)

    def mask(self, index: int) -> np.ndarray | None:
        return None if self._missing and index % 3 == 2 else self._square(index)

    def target(self, index: int) -> dict[str, Any]:
        return {}

    def name(self, index: int) -> str:
        return str(index)

    def _square(self, index: int) -> np.ndarray:
        mask = np.zeros(self._sizes[index], np.uint8)
        mask[5 + index : 15 + index, 8:18] = 1
        return mask


# heads


@every_head
@pytest.mark.parametrize("size", [(64, 64), (65, 50), (40, 97)])
def test_a_head_answers_each_pixel_of_any_size(name: str, size: tuple[int, int]) -> None:
    backbone = small_backbone(name)
    head = HEADS[name](backbone.channels, 5).eval()
    logits = head(backbone(make_images(2, 3, *size), pyramid=True))
    assert logits.shape == (2, 5, *size)
    assert logits.isfinite().all()
    assert head.postprocess(logits.bfloat16()).dtype == torch.float32
    assert torch.equal(head.postprocess(logits), logits)  # they are resized before a class is chosen
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("step", [2, 4, 8])
def test_an_up_convolution_starts_as_bilinear_interpolation(step: int) -> None:
    maps = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps, scale_factor=step, mode="bilinear", align_corners=False)
    inside = (..., slice(step, -step), slice(step, -step))  # beyond the border there is nothing, not the border again
    torch.testing.assert_close(bilinear(3, step)(maps)[inside], expected[inside])


def test_fcn_8s_starts_as_fcn_32s() -> None:
    """The skips score zero at first (Long et al. 2015, section 4.2)."""
    backbone = small_backbone()
    features = backbone(make_images(1, 3, 160, 160), pyramid=True)
    coarse, fine = FCNHead(backbone.channels, 4, 32).eval(), FCNHead(backbone.channels, 4, 8).eval()
    fine.score = coarse.score
    inside = (..., slice(64, 96), slice(64, 96))  # twice bilinear is not quite once by the fourfold
    difference = (coarse(features) - fine(features))[inside].abs().max()
    assert difference < 0.3 * coarse(features).std()
    assert all(not parameter.any() for parameter in fine.skips.parameters())


def test_a_decoder_adds_to_the_scores_of_the_final_map() -> None:
    backbone = small_backbone()
    head = SMPHead(backbone.channels, 3, **SMALL).eval()
    assert head.coarse is not None
    nn.init.zeros_(head.classifier.weight)
    nn.init.zeros_(head.classifier.bias)  # ty: ignore[invalid-argument-type]
    with torch.no_grad():
        features = backbone(make_images(2, 3, 64, 64), pyramid=True)
        expected = F.interpolate(head.coarse(features[-1]), (64, 64), mode="bilinear", align_corners=False)
        assert torch.equal(head(features), expected)
        assert SMPHead(backbone.channels, 3, coarse=False, **SMALL).coarse is None


def test_a_decoder_does_not_mind_the_scale_of_the_maps() -> None:
    channels = small_backbone().channels
    head = SMPHead(channels, 3, coarse=False, **SMALL).train()
    strides = [1, 2, 4, 8, 16, 32, 32]
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, n, 64 // s, 64 // s, generator=generator) for n, s in zip(channels, strides, strict=True)]
    with torch.no_grad():
        scaled = [maps[0], *(10 ** (level % 3) * part for level, part in enumerate(maps[1:]))]
        torch.testing.assert_close(head(scaled), head(maps), atol=1e-3, rtol=1e-3)


def test_unet_2015_has_the_published_layers() -> None:
    """Ronneberger et al. 2015, figure 1: 23 convolutions; the weights are counted by hand."""
    backbone = Backbone("unet2015", False, in_channels=1)
    head = UNetHead(backbone.channels, 2)
    modules = [*backbone.modules(), *head.modules()]
    convolutions = [part for part in modules if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(convolutions) == 23
    count = 0
    below = 1
    for width in (64, 128, 256, 512, 1024):
        count += 9 * below * width + width + 9 * width * width + width
        below = width
    for width in (512, 256, 128, 64):
        count += 4 * 2 * width * width + width + 9 * 2 * width * width + width + 9 * width * width + width
    count += 64 * 2 + 2
    found = sum(parameter.numel() for part in (backbone, head) for parameter in part.parameters())
    assert found == count
    assert backbone.channels == [64, 128, 256, 512, 1024, 0, 1024]
    assert len(backbone.stages()) == 5


def test_a_network_whose_maps_lie_elsewhere_is_refused() -> None:
    with pytest.raises(InputError, match=r"no map of stride 2, 4, 8, 16 or 32\. Take a network"):
        FCNHead([3, 0, 0, 0, 0, 0, 192], 3)  # patches of 14 pixels
    head = FCNHead([3, 8, 8, 8, 8, 8, 8], 3)
    maps = [torch.zeros(1, 3, 224, 224), *(torch.zeros(1, 8, side, side) for side in (109, 52, 25, 12, 5, 5))]
    with pytest.raises(InputError, match=r"of \(224, 224\) pixels its map of stride 2 has \(109, 109\)"):
        head(maps)
    final = [torch.zeros(1, 8 if level else 3, 224 >> level, 224 >> level) for level in range(6)]
    with pytest.raises(InputError, match=r"its map of stride 32 has \(4, 4\)"):
        head([*final, torch.zeros(1, 8, 4, 4)])


def test_a_decoder_without_its_maps_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"DeepLabV3Plus reads maps of strides 4, 16; the backbone has 2, 4, 8, 16, 32"
    ):
        SMPHead(small_backbone().channels, 3, "DeepLabV3Plus")
    flat = Backbone("test_vit", False).channels
    for head in (SMPHead, UNetHead, FCNHead):
        with pytest.raises(InputError, match="Take a network with a pyramid"):
            head(flat, 3)
    with pytest.raises(InputError, match=r"backbone\.output_stride: timm's mobilenetv3_small_050 cannot be dilated"):
        Backbone("mobilenetv3_small_050", False, output_stride=16)


def test_a_mask_needs_two_classes_and_a_loss_of_classes() -> None:
    with pytest.raises(InputError, match="SMPHead: 0 classes of pixels; it needs two"):
        SMPHead(small_backbone().channels, 0)
    with pytest.raises(InputError, match="no pixel of the training masks has a class"):
        SMPHead(small_backbone().channels, 2, **SMALL).setup(count_masks([], 2))


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropy(),
        Focal(),
        Dice(),
        Jaccard("image"),
        Tversky(),
        Lovasz(),
        WeightedSum([CrossEntropy(), Dice()], [1, 1]),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_ignored_pixels_have_no_gradient_and_an_ignored_batch_no_loss(loss: Any) -> None:
    head = SMPHead(small_backbone().channels, 3, loss=loss, **SMALL)
    logits = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = make_images(2, 6, 7) % 3
    target[:, 2:4] = 255
    head.loss(logits, target).backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, 2:4].any()
    assert logits.grad[:, :, :2].any()
    logits.grad = None
    value = head.loss(logits, torch.full_like(target, 255))
    value.backward()
    assert float(value) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


# class weights and the baseline


def count_masks(masks: Any, classes: int) -> dict[str, np.ndarray]:
    known = (Known(mask, lambda: Frame(1, 1, 1), f"mask {i}") for i, mask in enumerate(masks))
    return find_target("mask").summary(known, [str(number) for number in range(classes)])


def test_class_weights_follow_from_the_pixels() -> None:
    masks = [
        np.array([[0, 0, 0, 1]], np.uint8),
        np.array([[0, 0, 2, 2]], np.uint8),
        np.array([[0, 0, 255, 255]], np.uint8),
    ]
    counts = count_masks(masks, 4)
    assert counts["pixels"].tolist() == [7, 1, 2, 0]
    assert counts["totals"].tolist() == [10, 4, 4, 0]
    frequency = [7 / 10, 1 / 4, 2 / 4]  # the median is 1/2
    expected = {
        "median_frequency": [0.5 / f for f in frequency],
        "sqrt_median_frequency": [(0.5 / f) ** 0.5 for f in frequency],
        "inverse": [10 / 4 / n for n in (7, 1, 2)],
    }
    for kind, weights in expected.items():
        loss = CrossEntropy(class_weights=kind)  # ty: ignore[invalid-argument-type]
        head = SMPHead(small_backbone().channels, 4, loss=loss, **SMALL)
        head.setup(counts)
        assert head.criterion.weights.tolist() == pytest.approx([*weights, 1.0])
        assert head.shares.tolist() == pytest.approx([0.7, 0.1, 0.2, 0])
        assert loss.weights is None  # the head has a copy


def camvid(split: str, root: Path) -> MaskFolder:
    names = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
    return MaskFolder(split, str(root), names, "{split}", "{split}annot", ignore=[11])


def test_a_class_that_has_no_name_is_an_error() -> None:
    with pytest.raises(InputError, match="mask 1 has pixels of class 7, and mask_names are 3"):
        count_masks([np.zeros((2, 2), np.uint8), np.full((2, 2), 7, np.uint8)], 3)


def test_the_baseline_of_camvid_is_the_class_at_each_place(shared_data: Path) -> None:
    """A mean IoU of 0.170 on the test part, as computed by hand at full resolution."""
    if not (root := shared_data / "camvid").is_dir():
        pytest.skip("no CamVid")
    train, test = camvid("train", root), camvid("test", root)
    head = SMPHead(small_backbone().channels, 11, **SMALL)
    head.setup(count_masks((train.mask(i) for i in range(0, len(train), 2)), 11))
    kind, counts = find_target("mask"), []
    for i in range(0, len(test), 4):
        truth = {"mask": test.mask(i)}
        guess = kind.prediction(head.baseline().numpy(), Frame(*truth["mask"].shape, 64), train.mask_names)
        counts.append(kind.counts(truth, guess, train.mask_names))
    assert float(kind.figures(np.stack(counts))["miou"]) == pytest.approx(0.170, abs=0.01)


def test_the_baseline_is_the_majority_where_places_say_nothing() -> None:
    head = SMPHead(small_backbone().channels, 3, **SMALL)
    masks = [np.zeros((8, 8), np.uint8), np.zeros((6, 9), np.uint8), np.full((5, 5), 2, np.uint8)]
    head.setup(count_masks(masks, 3))
    assert head.baseline().shape == (64, 64)
    assert head.baseline().dtype == torch.float32
    spec = {"mask_names": ["a", "b", "c"], "image_size": 32, "resize": "letterbox"}
    outputs = {"mask": head.baseline().expand(2, 64, 64).numpy()}
    found = [sample["mask"] for sample in predict_samples(outputs, [(7, 5), (3, 4)], spec)]
    assert [np.unique(mask).tolist() for mask in found] == [[0], [0]]
    assert [mask.shape for mask in found] == [(7, 5), (3, 4)]


# back to the pixels of the original


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_masks_are_scored_at_the_resolution_of_the_labels(resize: Any) -> None:
    data = VisionDataModule(Photos, 32, resize, augment="none", batch_size=6)
    head, kind = SMPHead(small_backbone().channels, 2, **SMALL), find_target("mask")
    (batch, *_) = data.loader("val")
    assert batch["mask"].shape == (6, 32, 32)
    assert (batch["mask"][2] == 255).all()
    truths = batch["truth"]
    shapes = [truth["mask"].shape if truth else None for truth in truths]
    assert shapes == [(24, 40), (29, 37), None, (39, 31), (44, 28), None]
    logits = F.one_hot(batch["mask"].clamp(max=1).long(), 2).permute(0, 3, 1, 2).float()  # a perfect network
    found = list(predict_samples({"mask": head.postprocess(logits).numpy()}, batch["size"].tolist(), data.spec))
    for i in (0, 1, 3, 4):
        assert found[i]["mask"].shape == truths[i]["mask"].shape
        counts = kind.counts(truths[i], found[i], data.spec["mask_names"])
        assert counts[0].sum() == truths[i]["mask"].size
        assert float(kind.figures(counts[None])["miou"]) > 0.85
    figures = StageFigures("val", {"mask": head}, data.spec)
    figures.add_batch({"mask": logits}, batch)
    pairs = [(found[i]["mask"], truths[i]["mask"]) for i in (0, 1, 3, 4)]
    assert figures.values()["miou"] == pytest.approx(numpy_miou(*map(list, zip(*pairs, strict=True)), 2))


@pytest.mark.parametrize(
    ("size", "resize"),
    [((64, 128), "letterbox"), ((16, 32), "letterbox"), ((50, 21), "letterbox"), ((50, 21), "stretch")],
)
def test_logits_come_back_to_the_pixels_of_the_original(size: tuple[int, int], resize: Any) -> None:
    """The classes of interpolated logits, of the part of the picture that the image takes."""
    logits = torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(0))
    height, width = (32, 32) if resize == "stretch" else (round(32 * side / max(size)) for side in size)
    top, left = (32 - height) // 2, (32 - width) // 2
    part = logits[None, :, top : top + height, left : left + width]
    expected = F.interpolate(part, size, mode="bilinear").argmax(1)[0]
    np.testing.assert_array_equal(restore_mask(logits.numpy(), Frame(*size, 32, resize)), expected)
    spec = {"mask_names": [*"abcd"], "image_size": 32, "resize": resize}
    (sample,) = predict_samples({"mask": logits[None].numpy()}, [size], spec)
    assert sample["size"] == size
    np.testing.assert_array_equal(sample["mask"], expected)


def test_a_mask_that_resizing_cuts_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.resize: crop cuts off pixels of the mask"):
        make_task(VisionDataModule(Photos, 32, "crop"))


# the task


def numpy_miou(predicted: list[np.ndarray], truth: list[np.ndarray], classes: int) -> float:
    p = np.concatenate([mask[true != 255] for mask, true in zip(predicted, truth, strict=True)])
    t = np.concatenate([true[true != 255] for true in truth])
    found = [
        ((p == c) & (t == c)).sum() / ((p == c) | (t == c)).sum() for c in range(classes) if ((p == c) | (t == c)).any()
    ]
    return float(np.mean(found))


@pytest.mark.parametrize("resize", ["stretch", pytest.param("letterbox", marks=pytest.mark.slow)])
def test_segmentation_learns_photos_and_counts_what_is_right(tmp_path: Path, resize: Any) -> None:
    data = VisionDataModule(partial(Photos, missing=False), 64, resize, augment="none", batch_size=3)
    panels, task = (
        Panels(str(tmp_path), count=5),
        make_task(data, partial(SMPHead, width=0.25), optimizer=partial(torch.optim.AdamW, lr=1e-2)),
    )
    trainer = make_trainer(tmp_path, 20, callbacks=[panels])
    trainer.fit(task, data)
    before = trainer.callback_metrics
    assert task.monitor == "val/miou"
    assert before["train/miou"] > before["val/miou_baseline"] + 0.1
    trainer.test(task, data, verbose=False)
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    test = data.dataset("test")
    predictions = [
        sample["mask"] for sample in Predictor(TorchNetwork(task)).predict([test.image(i) for i in range(6)])
    ]
    truth = [test.mask(i) for i in range(6)]
    assert found["test/miou"] == pytest.approx(numpy_miou(predictions, truth, 2), abs=1e-6)
    right = sum((p == t).sum() for p, t in zip(predictions, truth, strict=True)) / sum(t.size for t in truth)
    assert found["test/pixel_accuracy"] == pytest.approx(float(right), abs=1e-6)
    tables = task.tables()["mask"]
    assert float(tables["iou"].mean()) == pytest.approx(found["test/miou"], abs=1e-6)
    assert tables["confusion"].sum() == sum(t.size for t in truth)
    worst = [panel.loss for panel in panels.worst]
    assert worst == sorted(worst, reverse=True)
    assert len(worst) == 5
    with torch.no_grad():  # the worst are those of the highest loss of each image
        head, (batch,) = (
            task.heads["mask"].eval(),
            VisionDataModule(data.make_dataset, 64, resize, batch_size=6).loader("test"),
        )
        outputs = task.eval()(batch["image"])["mask"]
        losses = [float(head.loss(outputs[i : i + 1], batch["mask"][i : i + 1])) for i in range(6)]
    np.testing.assert_allclose(worst, sorted(losses)[:0:-1], rtol=1e-3)
    for stage in ("val", "test"):  # two in a row, each three pictures wide, and a legend below
        height, width, _ = np.asarray(Image.open(tmp_path / f"{stage}_panels.png")).shape
        assert width == 2 * 3 * 240 + 4
        assert height > 3 * 240 + 2 * 4


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_the_mean_iou_does_not_depend_on_the_batch_size(tmp_path: Path, resize: Any) -> None:
    results = []
    for batch_size in (1, 16):
        data = VisionDataModule(Photos, 32, resize, batch_size=batch_size)
        trainer = make_trainer(tmp_path)
        (result,) = trainer.test(make_task(data), data, verbose=False)
        results.append({name: value for name, value in result.items() if name != "test/loss"})
    assert results[0] == results[1]


def test_masks_may_be_missing_throughout_a_batch(tmp_path: Path) -> None:
    data = VisionDataModule(Photos, 64, batch_size=1)
    trainer = make_trainer(tmp_path, callbacks=[Panels(str(tmp_path))])
    task = make_task(data, partial(FCNHead))
    trainer.fit(task, data)
    assert all(value.isfinite() for value in trainer.callback_metrics.values())
    assert all(parameter.isfinite().all() for parameter in task.parameters())


def test_training_on_parts_shows_things_at_the_scale_of_whole_images(tmp_path: Path) -> None:
    data = make_data(size=64, image_size=[48, 64], train_size=[24, 32], augment="light")
    assert next(iter(data.loader("val")))["image"].shape[2:] == (48, 64)
    assert next(iter(data.loader("train", training=True)))["image"].shape[2:] == (24, 32)
    transform = {
        "class_path": "ObjectCrop",
        "init_args": {"scale": [1, 1], "ratio": [1, 1]},  # its sizes are the data's
    }
    data = make_data(size=64, image_size=[48, 64], train_size=[24, 32], augment=[transform])
    shares = []
    for training in (False, True):
        masks = torch.cat([batch["mask"] for batch in data.loader("train", training=training)])
        shares.append(float(((masks > 0) & (masks < 255)).sum()))
    assert 0.75 < shares[1] / shares[0] < 1.1  # a quarter of the image, but the object is kept, and as large as before
    make_trainer(tmp_path).fit(make_task(data), data)
    with pytest.raises(
        InputError, match=r"train_size: \[24, 32\] shows parts of images, and nothing in `augment` cuts"
    ):
        make_data(size=64, image_size=[48, 64], train_size=[24, 32])
    with pytest.raises(InputError, match=r"train_size=\[0, 5\].* must be positive"):
        make_data(train_size=[0, 5])


def test_weights_may_be_averaged(tmp_path: Path) -> None:
    data = make_data()
    loss = CrossEntropy(class_weights="sqrt_median_frequency")
    task = make_task(data, partial(SMPHead, **SMALL, loss=loss))
    make_trainer(tmp_path, 2, callbacks=[EMAWeightAveraging(decay=0.9)]).fit(task, data)
    head = task.heads["mask"]
    assert isinstance(head, MaskHead)
    fresh = SMPHead(task.backbone.channels, 5, **SMALL)
    fresh.setup(data.summary("mask"))
    assert torch.equal(head.trivial.round(), fresh.trivial)


def test_a_checkpoint_knows_the_class_weights(tmp_path: Path) -> None:
    data = make_data()
    task = make_task(data, partial(SMPHead, **SMALL, loss=CrossEntropy(class_weights="inverse")))
    trainer = make_trainer(tmp_path)
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = visiontasks.load(str(tmp_path / "a.ckpt"))
    opened = restore_task(str(tmp_path / "a.ckpt"))
    torch.testing.assert_close(opened.heads["mask"].criterion.weights, task.heads["mask"].criterion.weights)
    image = data.dataset("val").image(0)
    np.testing.assert_array_equal(
        again.predict([image])[0]["mask"], Predictor(TorchNetwork(task)).predict([image])[0]["mask"]
    )


def test_other_classes_of_pixels_are_refused(tmp_path: Path) -> None:
    data, other = make_data(), VisionDataModule(Photos, 32)
    task = make_task(data)
    with pytest.raises(InputError, match=r"mask_names: the data has \['ground', 'square'\]"):
        make_trainer(tmp_path).fit(task, other)
    with pytest.raises(InputError, match="0 classes of pixels"):
        make_task(VisionDataModule(partial(OxfordLike), 32))


class OxfordLike(Shapes):
    """Shapes without masks."""

    def __init__(self, split: str) -> None:
        super().__init__(split, 8, 32)
        self.mask_names = []


# three heads on one backbone


def test_one_backbone_answers_label_box_and_mask(tmp_path: Path) -> None:
    data = make_data(64)
    heads = {"label": LabelHead, "bbox": partial(BoxHead, grid=2, hidden=0), "mask": partial(SMPHead, **SMALL)}
    task = VisionTask(data.spec, Backbone("test_resnet", False), heads)
    trainer = make_trainer(tmp_path, 8, callbacks=[ClosedFormStart(heads=["label", "bbox"]), Panels(str(tmp_path))])
    trainer.fit(task, data)
    found = trainer.callback_metrics
    assert {"val/accuracy", "val/iou", "val/miou", "val/miou_baseline", "val/iou_baseline"} <= set(found)
    assert all(value.isfinite() for value in found.values())
    trainer.test(task, data, verbose=False)
    assert set(task.tables()) == {"label", "bbox", "mask"}
    (prediction,) = Predictor(TorchNetwork(task)).predict([data.dataset("val").image(0)])
    assert {"label", "bbox", "mask"} <= set(prediction)
    with pytest.raises(InputError, match="SMPHead as it is configured has no closed form"):
        make_trainer(tmp_path, callbacks=[ClosedFormStart()]).fit(task, data)
    with pytest.raises(InputError, match=r"ClosedFormStart.heads: no head predicts 'box'; there are"):
        make_trainer(tmp_path, callbacks=[ClosedFormStart(heads=["box"])]).fit(task, data)


# large images


def local_logits(images: np.ndarray) -> np.ndarray:
    """A network without a border: classes by the brightness of each pixel."""
    gray = images.astype(np.float32).mean(1)
    return np.stack([-np.abs(gray - level) for level in (0, 90, 180, 255)], 1)


@pytest.mark.parametrize("shape", [(40, 60), (33, 100), (100, 33), (64, 64), (65, 130)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_tiles_of_what_is_local_equal_the_whole(shape: tuple[int, int], overlap: float) -> None:
    image = make_images(*shape, 3).numpy()
    (expected,) = local_logits(image.transpose(2, 0, 1)[None]).argmax(1)
    np.testing.assert_array_equal(tiled_mask(local_logits, image, 32, overlap, batch_size=3), expected)


def test_tiles_are_of_one_size_and_as_few_as_there_can_be() -> None:
    seen = []

    def logits(tiles: np.ndarray) -> np.ndarray:
        seen.append(tiles.shape)
        return np.zeros((len(tiles), 3, *tiles.shape[2:]), np.float32)

    tiled_mask(logits, np.zeros((100, 150, 3), np.uint8), 64, batch_size=2)
    assert {shape[2:] for shape in seen} == {(64, 64)}
    assert sum(shape[0] for shape in seen) == 2 * 3
    assert max(shape[0] for shape in seen) == 2


@pytest.mark.parametrize("upright", [True, False])
def test_two_tiles_that_disagree_meet_in_the_middle_of_what_they_share(upright: bool) -> None:
    image = np.zeros((64, 96, 3), np.uint8)  # tiles of columns 0 to 63 and 32 to 95
    image[:, 64:] = 255

    def logits(tiles: np.ndarray) -> np.ndarray:
        label = (tiles.max((1, 2, 3)) > 0).astype(int)
        return np.eye(2, dtype=np.float32)[label][..., None, None] * np.ones(tiles.shape[2:], np.float32)

    mask = tiled_mask(logits, image.swapaxes(0, 1).copy() if upright else image, 64)
    mask = mask.T if upright else mask
    assert not mask[:, :48].any()
    assert mask[:, 48:].all()


def test_a_tile_as_large_as_the_image_is_exact(tmp_path: Path) -> None:
    data = make_data(32, 64)
    task = make_task(data)
    predictor = Predictor(TorchNetwork(task))
    image = data.dataset("val").image(0)[:50, :61]
    with torch.no_grad():
        (expected,) = task(torch.from_numpy(image).permute(2, 0, 1)[None])["mask"].max(1).indices
    for tile in (61, 64, 1000):
        np.testing.assert_array_equal(predictor.predict([image], tile=tile)[0]["mask"], expected)
    assert predictor.predict([image], tile=32)[0]["mask"].shape == (50, 61)


def test_tiles_are_for_masks_alone() -> None:
    data = make_data()
    task = VisionTask(data.spec, Backbone("test_resnet", False), {"label": LabelHead})
    with pytest.raises(
        InputError, match="tile=32: tiles are for masks alone or objects alone; this model predicts label"
    ):
        Predictor(TorchNetwork(task)).predict([data.dataset("val").image(0)], tile=32)


# from the command line to files


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on photos of two sizes, letterboxed, with a red square each, tested too."""
    root = tmp_path_factory.mktemp("segmentation")
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for i in range(16):
        picture, mask = np.full((60, 120 - 4 * (i % 2), 3), 40, np.uint8), np.zeros((60, 120 - 4 * (i % 2)), np.uint8)
        x = 10 + 3 * i
        picture[20:50, x : x + 50], mask[20:50, x : x + 50] = (220, 30, 0), 1
        Image.fromarray(picture).save(root / "images" / f"{i}.png")
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
    common = f"""
        --trainer.accelerator cpu --trainer.enable_progress_bar false --trainer.logger false
        --trainer.default_root_dir {root}/runs
        --data.dataset MaskFolder --data.dataset.root {root} --data.dataset.class_names [ground,square]
        --data.dataset.splits.val 0.25 --data.image_size [64,64] --data.resize letterbox --data.augment none
        --data.batch_size 4
    """
    model = """
        --trainer.max_epochs 12 --model SegmentationTask --model.backbone.name test_resnet
        --model.backbone.pretrained false --model.head SMPHead --model.head.width 0.125
        --model.optimizer DefaultAdamW --model.optimizer.lr 0.01
    """
    main(["fit", *common.split(), *model.split()])
    main(["test", *common.split(), "--ckpt_path", str(next(root.glob("runs/*/*/last.ckpt")))])
    return root


def test_predicted_masks_have_the_pixels_of_the_original(trained: Path, tmp_path: Path) -> None:
    checkpoint = str(next(trained.glob("runs/*/*/last.ckpt")))
    photos = sorted(str(path) for path in (trained / "images").iterdir())
    main(["predict", checkpoint, *photos, "--output", str(tmp_path), "--device", "cpu", "--overlays"])
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == photos
    assert list(rows[0]) == ["path", "mask", "share of ground", "share of square"]
    masks, truth = [], []
    for row in rows:
        with Image.open(tmp_path / row["mask"]) as image, Image.open(row["path"]) as photo:
            assert image.mode == "P"
            assert image.size == photo.size
            assert image.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
            masks.append(np.asarray(image))
        truth.append(np.asarray(Image.open(Path(row["path"]).parents[1] / "masks" / Path(row["path"]).name)))
        assert float(row["share of square"]) == pytest.approx((masks[-1] == 1).mean(), abs=1e-6)
        assert float(row["share of ground"]) + float(row["share of square"]) == pytest.approx(1, abs=2e-6)
    assert numpy_miou(masks, truth, 2) > 0.8
    overlays = sorted((tmp_path / "overlays").iterdir())
    assert len(overlays) == 16
    assert not list(tmp_path.glob("*.part"))


def test_tiles_from_the_command_line(trained: Path, tmp_path: Path) -> None:
    checkpoint = str(next(trained.glob("runs/*/*/last.ckpt")))
    main(["predict", checkpoint, str(trained / "images/3.png"), "--output", str(tmp_path), "--tile", "48"])
    with Image.open(next((tmp_path / "masks").iterdir())) as image:
        assert image.size == (116, 60)


@pytest.mark.parametrize("stage", ["val", "test"])
def test_a_fit_and_a_test_write_the_table_of_classes(trained: Path, stage: str) -> None:
    table = max(trained.glob(f"runs/*/*/{stage}_mask_per_class.csv"))
    rows = read_csv(table)
    assert [row["class"] for row in rows] == ["ground", "square"]
    assert set(rows[0]) == {"class", "iou", "dice", "recall"}
    assert all(float(row["iou"]) > 0.5 for row in rows)
    assert (table.parent / "test_mask_confusion.csv").is_file() == (stage == "test")
    if stage == "val":
        logged = [row.get("val/foreground_dice") for row in read_csv(table.parent / "metrics.csv")]
        assert float([value for value in logged if value][-1]) == pytest.approx(float(rows[1]["dice"]))


# pictures


def test_the_palette_is_pascal_vocs() -> None:
    assert palette()[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palette()[20].tolist() == [0, 64, 128]
    assert palette()[255].tolist() == [224, 224, 192]
    assert len(np.unique(palette(), axis=0)) == 256


def test_a_mask_is_drawn_over_its_image() -> None:
    image, mask = np.full((20, 30, 3), 100, np.uint8), np.zeros((20, 30), np.uint8)
    mask[5:10], mask[15:] = 1, 255
    picture = draw_sample(image, {"mask": mask}, {"class_names": [], "mask_names": []})
    assert (picture[7:9] == [114, 50, 50]).all()
    assert picture[3:8, 7, 0].tolist() == [100, 0, 255, 0, 114]  # the outline
    assert picture[8:13, 7, 0].tolist() == [114, 0, 255, 0, 100]
    assert (picture[:4] == 100).all()
    assert (picture[12:] == 100).all()
    assert (image == 100).all()


def test_a_legend_has_a_row_where_names_need_one() -> None:
    narrow, wide = legend(["background", "car", "street lamp"], 120), legend(["background", "car", "street lamp"], 600)
    assert narrow.shape[1] == 120
    assert narrow.shape[0] > wide.shape[0]
    assert (wide == palette()[2]).all(2).any()


def test_masks_go_to_weights_and_biases_in_its_own_form() -> None:
    mask = np.zeros((20, 20), np.uint8)
    panel = Panel(0.5, np.zeros((20, 20, 3), np.uint8), {"mask": mask}, {"mask": mask + 1})
    names = ["ground", "square"]
    image = _picture(*_layers(panel, {"class_names": [], "mask_names": names}), [], names)
    assert set(image._masks) == {"target", "prediction"}
    assert not image._boxes
    nothing = _picture(*_layers(panel._replace(target={}), {"class_names": [], "mask_names": names}), [], names)
    assert set(nothing._masks) == {"prediction"}


# real sets


def test_trimaps_of_pets_are_read_with_their_border_ignored(shared_data: Path) -> None:
    if not (root := shared_data / "pets3").is_dir():
        pytest.skip("no pets")
    data = VisionDataModule(partial(OxfordIIITPet, root=str(root), trimaps=True), 64, batch_size=4)
    (batch, *_) = data.loader("test")
    assert set(batch["mask"].unique().tolist()) == {0, 1, 255}
    assert data.spec["mask_names"] == ["background", "animal"]
    boxes = OxfordIIITPet("train", str(root), trimaps=True, head_boxes=True, parts="all")
    found = sum("bbox" in boxes.target(i) for i in range(len(boxes)))
    assert 0.4 < found / len(boxes) < 0.6
