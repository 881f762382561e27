"""What becomes of the pixels before the first layer: constants, statistics of a set, whitening."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from visiontasks.core.errors import InputError
from visiontasks.core.serialize import serialize
from visiontasks.data import CIFAR10, Shapes, VisionDataModule
from visiontasks.models import Backbone
from visiontasks.models.normalization import LUMA, Whitening
from visiontasks.tasks import ClassificationTask
from visiontasks.tasks.restore import restore_task

SIZE = 8
CONSTANTS = [[0.4914, 0.4822, 0.4465], [0.202, 0.199, 0.201]]  # the course's for CIFAR-10 (A3)


@pytest.fixture(scope="module")
def shapes() -> VisionDataModule:
    return VisionDataModule(partial(Shapes, count=400, size=16), image_size=SIZE, augment="none", batch_size=64)


def pixels(data: VisionDataModule) -> Tensor:
    """All training images, uint8 (N, 3, H, W)."""
    return torch.cat([batch["image"] for batch in data.loader("train")])


def make_task(data: VisionDataModule, **options: object) -> ClassificationTask:
    seed_everything(0)
    return ClassificationTask(data.spec, Backbone("test_resnet", False, normalization="zca", **options))  # ty: ignore[invalid-argument-type]


def fit(task: ClassificationTask, data: VisionDataModule, root: Path, steps: int, ckpt: Path | None = None) -> Path:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_steps=steps, accelerator="cpu", default_root_dir=root, limit_val_batches=0, **quiet)  # ty: ignore[invalid-argument-type]
    trainer.fit(task, data, ckpt_path=ckpt, weights_only=True)
    trainer.save_checkpoint(root / f"{steps}.ckpt")
    return root / f"{steps}.ckpt"


@pytest.mark.parametrize("channels", [3, 1])
def test_a3_whitened_training_pixels_have_the_identity_as_covariance(shapes: VisionDataModule, channels: int) -> None:
    images = pixels(shapes)
    whitening = Whitening(channels).double()
    whitening.set_image_size(SIZE)
    mean, covariance = shapes.pixel_statistics
    whitening.set_statistics(mean, covariance)
    flat = images.double().numpy().reshape(len(images), -1) / 255
    np.testing.assert_allclose(mean.flatten(), flat.mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(flat.T, bias=True), atol=1e-14)
    if channels == 1:
        flat = np.einsum("ncp,c->np", flat.reshape(len(flat), 3, -1), np.array(LUMA))
    # Krizhevsky 2009, appendix A, with 1e-6 on the variances
    u, s, _ = np.linalg.svd(np.cov(flat.T, bias=True))
    reference = (flat - flat.mean(0)) @ (u / np.sqrt(s + 1e-6) @ u.T)
    ours = whitening(images.double() / 255).flatten(1).numpy()
    np.testing.assert_allclose(ours, reference, atol=1e-8)
    found = np.cov(ours.T, bias=True)
    np.testing.assert_allclose(found, u * (s / (s + 1e-6)) @ u.T, atol=1e-9)
    assert s[-1] > 1e-4  # so that the eps hardly shows
    np.testing.assert_allclose(found, np.eye(len(found)), atol=1e-2)


def test_whitening_is_a_part_of_the_model_that_a_checkpoint_has(shapes: VisionDataModule, tmp_path: Path) -> None:
    task = make_task(shapes)
    images = pixels(shapes)[:4]
    torch.testing.assert_close(task.backbone.normalize(images), images / 255)  # until the training set is seen
    before = {name: value.clone() for name, value in task.named_parameters()}
    path = fit(task, shapes, tmp_path, 2)
    assert any(not torch.equal(value, before[name]) for name, value in task.named_parameters())
    assert task.backbone.normalize(images).std() > 0.5
    loaded = restore_task(str(path)).eval()
    with torch.no_grad():
        assert torch.equal(loaded(images)["label"], task.eval()(images)["label"])


def test_a_resumed_fit_whitens_as_the_first(shapes: VisionDataModule, tmp_path: Path) -> None:
    whole = make_task(shapes)
    fit(whole, shapes, tmp_path, 4)
    half, rest = make_task(shapes), make_task(shapes)
    fit(rest, shapes, tmp_path, 4, fit(half, shapes, tmp_path, 2))
    images = pixels(shapes)[:4]
    assert torch.equal(rest.backbone.normalize(images), whole.backbone.normalize(images))
    assert not torch.equal(rest.backbone.normalize(images), images / 255)


def test_whitening_keeps_its_digits_in_bfloat16_and_lets_gradients_through(shapes: VisionDataModule) -> None:
    whitening = Whitening(3)
    whitening.set_image_size(SIZE)
    whitening.set_statistics(*shapes.pixel_statistics)
    images = (pixels(shapes)[:4] / 255).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        white = whitening(images)
    assert torch.equal(white, whitening(images))
    (gradient,) = torch.autograd.grad(white.square().sum(), images)
    assert gradient.abs().sum() > 0


def test_whitening_of_large_images_is_refused_and_says_why() -> None:
    spec = {"class_names": ["a", "b"], "mask_names": [], "image_size": 224, "resize": "stretch"}
    with pytest.raises(InputError, match=r"at most 32 x 32 pixels.*\(3 x 224 x 224\)\^2 = 2.3e\+10 entries"):
        ClassificationTask(spec, Backbone("test_resnet", False, normalization="zca"))


def test_whitening_of_images_of_another_size_is_refused() -> None:
    backbone = Backbone("test_resnet", False, normalization="zca")
    backbone.set_image_size(32)
    with pytest.raises(InputError, match="one size, here 32 x 32; found 28 x 28"):
        backbone(torch.zeros(1, 3, 28, 28, dtype=torch.uint8))


def test_constants_normalize_and_are_plain_data() -> None:
    backbone = Backbone("test_resnet", False, normalization=CONSTANTS)
    assert serialize(backbone)["init_args"]["normalization"] == CONSTANTS
    white = backbone.normalize(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten()
    mean, std = np.array(CONSTANTS)
    np.testing.assert_allclose(white, (1 - mean) / std, rtol=1e-6)


@pytest.mark.parametrize("wrong", [[], [[0.5, 0.5, 0.5]], [[0.5], [0.5]], [[0.5] * 3, [0.5, 0.5, 0.0]]])
def test_constants_of_another_form_are_an_error(wrong: list[list[float]]) -> None:
    with pytest.raises(InputError, match="not two lists of three numbers"):
        Backbone("test_resnet", False, normalization=wrong)


@pytest.mark.slow
def test_a3_the_notes_deviations_are_means_of_single_images(shared_data: Path) -> None:
    if not (shared_data / "cifar-10-batches-py/data_batch_1").is_file():
        pytest.skip("no CIFAR-10")
    data = VisionDataModule(partial(CIFAR10, root=str(shared_data)), image_size=32, batch_size=500)
    train = data.dataset("train")
    images = torch.from_numpy(np.stack([train.image(index) for index in range(len(train))]))
    mean, std = data.channel_statistics
    singles = torch.cat([part.float().div(255).std((1, 2), correction=0) for part in images.split(500)]).mean(0)
    np.testing.assert_allclose(mean, CONSTANTS[0], atol=5e-4)
    np.testing.assert_allclose(std, [0.2470, 0.2435, 0.2616], atol=5e-4)
    np.testing.assert_allclose(singles, CONSTANTS[1], atol=5e-4)
