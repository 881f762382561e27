"""The networks and worked figures of the course, by the names of their rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from scipy.signal import convolve2d, correlate2d
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.core.errors import InputError
from visiontasks.data.augment import Augment
from visiontasks.losses import CrossEntropy
from visiontasks.models import Backbone, LabelHead
from visiontasks.models.classic.small import PARTS, PartialConv2d, TrainedPool

ROOT = Path(__file__).parents[1]


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def features(backbone: Backbone, size: int) -> list[Tensor]:
    return backbone(torch.zeros(2, 3, size, size, dtype=torch.uint8), pyramid=True)


FLAT: dict[str, Any] = {"pool": "flatten"}
NETWORKS = {
    # row: backbone, size, classes, the head's options, weights
    "N1": ("lenet5", 28, 10, {}, 61_706),
    "N1 as published": ("lenet5_1998", 28, 10, {"distance": True}, 60_000 + 840),
    "N2": ("alexnet", 224, 1000, {**FLAT, "hidden": [4096, 4096], "dropout": 0.5}, 60_965_224),
    "N3": ("cifar10_alexnet", 32, 10, {**FLAT, "hidden": [1000]}, 2_432 + 51_264 + 102_464 + 1_025_000 + 10_010),
    "N3 of 28 pixels": ("cifar10_alexnet", 28, 10, {**FLAT, "hidden": [1000]}, 1_191_170),
    "N3 with batch norm": ("cifar10_alexnet_bn", 32, 10, {**FLAT, "hidden": [1000]}, 1_191_170 + 2 * (32 + 64 + 64)),
    "N4": ("cifar10_convnet", 32, 10, {**FLAT, "hidden": [64]}, 319_178),
    "R11": ("cifar10_convnet_strided", 32, 10, {**FLAT, "hidden": [64]}, 319_178),
    "N5": ("fashion_cnn", 28, 10, {**FLAT, "hidden": [128, 64], "dropout": 0.5}, 1_413_834),
    "N6": ("vgg16", 224, 1000, {**FLAT, "hidden": [4096, 4096], "dropout": 0.5}, 138_357_544),
    "N7": ("googlenet", 224, 1000, {}, 6_998_552),
    "N8": ("resnet34", 224, 10, {}, 21_289_802),
    "N8 of 152 layers": ("resnet152", 224, 1000, {}, 60_192_808),
    "N9": ("legacy_xception", 224, 1000, {}, 22_855_952),  # and this many train in Keras' Xception
    "N9, MobileNet": ("mobilenetv1_100", 224, 1000, {}, 4_231_976),
    "N9, MobileNetV2": ("mobilenetv2_100", 224, 1000, {}, 3_504_872),
    "N10": ("convmixer_768_32", 224, 1000, {}, 21_110_248),  # the paper's 21.1 million
    "N14": ("dense300_100", 28, 10, {"dropout": 0.2}, 266_610),
}
GRAY = ("lenet5", "lenet5_1998", "fashion_cnn", "dense300_100")


@pytest.mark.parametrize("row", NETWORKS)
def test_networks_have_the_weights_of_their_rows(row: str) -> None:
    name, size, classes, options, weights = NETWORKS[row]
    with torch.device("meta"):  # no memory, no time
        backbone = Backbone(name, False, in_channels=1 if name in GRAY else 3).eval()
        head = LabelHead(backbone.channels, classes, **options).eval()
        assert head(features(backbone, size)).shape == (2, classes)
    assert count(backbone, head) == weights


# layers


@pytest.mark.parametrize(
    ("name", "size", "side"), [("alexnet", 224, 6), ("cifar10_alexnet", 28, 4), ("cifar10_alexnet", 32, 4),
                               ("lenet5", 28, 1), ("lenet5_1998", 28, 1), ("googlenet", 224, 7), ("fashion_cnn", 28, 3),
                               ("cifar10_convnet", 32, 8), ("cifar10_convnet_strided", 32, 8), ("dense300_100", 28, 1)]
)  # fmt: skip
def test_final_maps_are_as_large_as_published(name: str, size: int, side: int) -> None:
    with torch.no_grad():
        assert features(Backbone(name, False).eval(), size)[-1].shape[-2:] == (side, side)


def test_n1_the_maps_of_c3_see_parts_of_s2_only() -> None:
    layer, x = PartialConv2d(PARTS, 5), torch.randn(2, 6, 14, 14)
    assert sorted(map(len, PARTS)) == [3] * 6 + [4] * 9 + [6]
    assert len({tuple(sorted(part)) for part in PARTS}) == 16
    assert count(layer) == 1516
    weight = torch.zeros(16, 6, 5, 5)
    for number, (part, conv) in enumerate(zip(PARTS, layer.convs, strict=True)):
        weight[number, part] = conv.weight[0]
    bias = torch.cat([conv.bias for conv in layer.convs])
    torch.testing.assert_close(layer(x), F.conv2d(x, weight, bias))


def test_n1_pooling_has_a_coefficient_and_a_bias_for_each_map() -> None:
    layer = TrainedPool(2)
    with torch.no_grad():
        layer.coefficient[1], layer.bias[1] = 0.5, 3.0
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert layer(x).flatten().tolist() == [0.25 * (0 + 1 + 2 + 3), 0.5 * (4 + 5 + 6 + 7) + 3]
    assert count(layer) == 4


def test_n2_the_strongest_units_inhibit_their_neighbors_as_in_the_paper() -> None:
    (norm,) = (part for part in Backbone("alexnet", False).net.stages[0] if isinstance(part, nn.LocalResponseNorm))
    a = torch.rand(96).double() * 50
    expected = [a[i] / (2 + 1e-4 * (a[max(0, i - 2) : i + 3] ** 2).sum()) ** 0.75 for i in range(96)]
    torch.testing.assert_close(norm(a[None, :, None, None]).flatten(), torch.stack(expected))


def test_n13_batch_norm_takes_the_population_variance() -> None:
    x, layer = torch.tensor([[1.0], [2.0], [6.0]]), nn.BatchNorm1d(1, eps=1e-12)
    nn.init.constant_(layer.weight, 2)
    nn.init.constant_(layer.bias, 5)
    expected = 2 * (x.numpy() - 3) / np.sqrt((4 + 1 + 9) / 3) + 5
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["lenet5", "cifar10_alexnet", "alexnet", "googlenet"])
def test_r11_too_many_poolings_for_the_images_are_an_error(name: str) -> None:
    with pytest.raises(
        InputError, match=rf"nothing is left of 1 x 1 pixels on the way through {name}.*data.image_size"
    ):
        features(Backbone(name, False).eval(), 1)


def test_n14_dense_layers_want_one_size_of_images() -> None:
    with pytest.raises(InputError, match=r"dense300_100 does not work .*\(28 x 28 pixels, found 32 x 32\)"):
        features(Backbone("dense300_100", False), 32)


# recipes


def test_r3_cross_entropy_of_two_classes_is_binary_cross_entropy_of_their_difference() -> None:
    logits, labels = torch.randn(20, 2), torch.arange(20) % 2
    binary = F.binary_cross_entropy_with_logits(logits[:, 1] - logits[:, 0], labels.float())
    torch.testing.assert_close(CrossEntropy()(logits, labels), binary)


def test_r5_global_max_pooling_drops_the_place_that_flatten_keeps() -> None:
    maps = torch.zeros(1, 3, 3, 3)
    maps[0, 0, 1, 2] = maps[0, 2, 2, 1] = 1
    assert [part.flatten().tolist() for part in maps[0]] == [[0.0] * 5 + [1] + [0] * 3, [0] * 9, [0] * 7 + [1, 0]]
    assert LabelHead([3], 2, pool="max").design([maps]).tolist() == [[1, 0, 1]]
    elsewhere = maps.flip(2, 3)
    assert torch.equal(LabelHead([3], 2, pool="max").design([elsewhere]), torch.tensor([[1.0, 0, 1]]))
    flat = LabelHead([3], 2, pool="flatten")
    assert flat.design([maps]).shape == (1, 27)
    assert not torch.equal(flat.design([maps]), flat.design([elsewhere]))
    # and only it wants one size of images
    assert LabelHead([3], 2, pool="max")([torch.zeros(1, 3, 5, 7)]).shape == (1, 2)
    flat([maps])
    with pytest.raises(RuntimeError):
        flat([torch.zeros(1, 3, 5, 7)])


# the second one's shear of 0.2 degrees, as Keras means it, moves nothing by more than a third of a pixel here
@pytest.mark.parametrize(("config", "degrees", "zoom"), [("cifar10_augmented", 20, 0), ("binary_folder", 40, 0.2)])
def test_a2_the_two_augmentations_are_symmetric_and_repeat_the_edge(config: str, degrees: int, zoom: float) -> None:
    steps = yaml.safe_load((ROOT / "configs/course" / f"{config}.yaml").read_text("utf-8"))["data"]["augment"]
    augment, side = Augment(steps, 101), 101
    assert (augment({"image": np.full((side, side, 3), 77, np.uint8)}, 0, 0)["image"] == 77).all()
    image = np.zeros((side, side, 3), np.uint8)
    image[48:53, 48:53, 0] = 255  # the center
    image[48:53, 68:73, 1] = image[48:53, 28:33, 2] = 255  # and 20 pixels right and left of it
    shifts, angles, lengths = [], [], []
    for index in range(300):
        moved = augment({"image": image}, 0, index)["image"].astype(float)
        weights = moved / moved.sum((0, 1))
        places = np.stack([(weights * grid[..., None]).sum((0, 1)) for grid in np.mgrid[:side, :side]])  # y, x
        shifts.append(places[:, 0] - 50)
        y, x = places[:, 1] - places[:, 2]
        flipped = x < 0
        angles.append(np.degrees(np.arctan2(y, abs(x))) * (-1 if flipped else 1))
        lengths.append(np.hypot(y, x) / 40)
    for values, largest in (
        (np.array(shifts)[:, 0], 20.2),
        (np.array(shifts)[:, 1], 20.2),
        (np.array(angles), degrees),
    ):
        assert largest * 0.9 < abs(values).max() < largest * 1.05 + 0.5
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert 1 - zoom - 0.02 < min(lengths) <= max(lengths) < 1 + zoom + 0.02
    if zoom:
        assert max(lengths) > 1.15
        assert min(lengths) < 0.85


# figures


def test_f1_sparse_cross_entropy_of_probabilities() -> None:
    probabilities = torch.tensor(
        [[[0.05, 0.95, 0], [0.1, 0.1, 0.8]], [[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]]], dtype=torch.float64
    )
    labels = torch.tensor([[1, 2], [0, 2]])
    assert float(CrossEntropy()(probabilities.log().movedim(2, 1), labels)) == pytest.approx(0.2854844, abs=5e-8)


def test_f2_weights_and_sizes_of_convolutions() -> None:
    conv, x = nn.Conv2d(8, 16, 3), torch.zeros(2, 8, 50, 100)
    assert (conv.weight.shape, count(conv), conv(x).shape) == ((16, 8, 3, 3), 1168, (2, 16, 48, 98))
    spatial, pointwise = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1)
    assert (count(spatial), count(pointwise), count(spatial, pointwise)) == (80, 144, 224)
    assert pointwise(spatial(x)).shape == conv(x).shape
    dilated = nn.Conv2d(3, 32, (3, 5), dilation=2)
    assert (count(dilated), dilated(x[:, :3]).shape) == (1472, (2, 32, 50 - 4, 100 - 8))


def test_f3_costs_of_a_layer() -> None:
    assert count(nn.Conv2d(3, 1, 5)) == 76
    assert nn.Conv2d(3, 1, 5)(torch.zeros(1, 3, 100, 150)).shape[-2:] == (96, 146)
    conv = nn.Conv2d(3, 200, 5, padding=2)
    output = conv(torch.zeros(1, 3, 100, 150))
    assert count(conv) == 15_200
    assert output[0, 0].numel() * conv.weight.numel() == 225_000_000  # multiplications: every weight at every place
    assert output.numel() * output.element_size() == 12_000_000  # bytes
    assert nn.Linear(100 * 100, 1000, device="meta").weight.numel() == 10_000_000


def test_f4_transposed_convolution() -> None:
    x = torch.tensor([[0.0, 1], [2, 3]])
    expected = [[0, 0, 1], [0, 4, 6], [4, 12, 9]]
    assert F.conv_transpose2d(x[None, None], x[None, None])[0, 0].tolist() == expected


@pytest.mark.parametrize("n", [8, 11])
@pytest.mark.parametrize("k", [3, 5])
def test_f5_sizes_of_outputs(n: int, k: int) -> None:
    x, kernel = torch.zeros(1, 1, n, n), torch.zeros(1, 1, k, k)
    for padding, border, side in (("valid", 0, n - k + 1), ("same", (k - 1) // 2, n), ("full", k - 1, n + k - 1)):
        assert F.conv2d(x, kernel, padding=border).shape[-1] == side
        assert convolve2d(x[0, 0], kernel[0, 0], padding).shape[0] == side
    for p, s, d in ((0, 2, 1), (1, 2, 1), (2, 3, 2), (0, 1, 2)):
        wide = d * (k - 1) + 1
        if wide <= n + 2 * p:
            assert F.conv2d(x, kernel, padding=p, stride=s, dilation=d).shape[-1] == (n + 2 * p - wide) // s + 1


@pytest.mark.parametrize(
    ("name", "units", "maps"),
    [("resnet34", [3, 4, 6, 3], [64, 128, 256, 512]), ("resnet152", [3, 8, 36, 3], [256, 512, 1024, 2048])],
)
def test_f6_units_and_maps_of_resnets(name: str, units: list[int], maps: list[int]) -> None:
    with torch.device("meta"):
        backbone = Backbone(name, False)
    layers = [backbone.net.layer1, backbone.net.layer2, backbone.net.layer3, backbone.net.layer4]
    assert [len(layer) for layer in layers] == units
    assert backbone.channels[2:6] == maps
    # the skip is a convolution exactly where stride or number of maps change (N8)
    bare = [[unit.downsample is None for unit in layer] for layer in layers]
    first = name == "resnet34"
    assert bare == [[number > 0 or (first and not place) for number in range(n)] for place, n in enumerate(units)]


def test_f7_a_matched_filter() -> None:
    signal, kernel = torch.tensor([0.0, 0, 0, 1, 1, 1, 0, 0, 0]), torch.tensor([-1.0, -1, -1, 2, 2, 2, -1, -1, -1])
    assert float(F.conv1d(signal[None, None], kernel[None, None])) == 6


def test_f8_filters_of_a_depthwise_separable_convolution() -> None:
    spatial, pointwise = nn.Conv2d(3, 3, 3, groups=3, bias=False), nn.Conv2d(3, 4, 1, bias=False)
    assert spatial.weight.shape == (3, 1, 3, 3)
    assert pointwise.weight.shape == (4, 3, 1, 1)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_f9_a_transposed_convolution_is_the_backward_of_the_convolution(stride: int, padding: int) -> None:
    kernel = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    options = {"stride": stride, "padding": padding}
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    y = F.conv2d(x, kernel, **options)
    given = torch.randn_like(y).requires_grad_()
    (backward,) = torch.autograd.grad(y, x, given)
    forward = F.conv_transpose2d(given, kernel, **options)
    torch.testing.assert_close(backward, forward)
    z = torch.randn_like(x)
    torch.testing.assert_close(torch.autograd.grad(forward, given, z)[0], F.conv2d(z, kernel, **options))


def test_f10_layers_do_not_flip_the_kernel() -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(6, 7)), rng.normal(size=(3, 3))
    layer = F.conv2d(torch.tensor(x)[None, None], torch.tensor(kernel)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(layer, correlate2d(x, kernel, "valid"))
    np.testing.assert_allclose(layer, convolve2d(x, kernel[::-1, ::-1], "valid"))


# the page


def test_the_page_names_what_there_is() -> None:
    page = (ROOT / "docs/course.md").read_text("utf-8")
    configs = re.findall(r"configs/\S+\.yaml", page)
    assert len(configs) > 10
    assert all((ROOT / config).is_file() for config in configs)
    names = re.findall(r"--model\.backbone\.name (\w+)", page)
    assert all(timm.is_model(name) for name in names)
    for weights in {weights for *_, weights in NETWORKS.values()}:
        assert f"{weights:,}" in page


ROWS = [f"{kind}{number}" for kind, count in {"T": 4, "N": 14, "L": 4, "A": 5, "R": 11, "I": 5, "F": 10}.items()
        for number in range(1, count + 1)]  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_on_the_page_and_in_a_test(row: str) -> None:
    assert re.search(rf"\b{row}\b", (ROOT / "docs/course.md").read_text("utf-8"))
    tests = [path.read_text("utf-8") for path in (ROOT / "tests").glob("test_*.py")]
    assert any(re.search(rf"\bdef test_{row.lower()}_|\b{row}\b", text) for text in tests)
