"""Looking inside a network: rows I1 to I5 of the course."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate
from torch import Tensor, nn
from torch.nn import functional as F

from visiontasks.cli import main
from visiontasks.core.draw import grid
from visiontasks.core.errors import InputError
from visiontasks.inspect import accuracy_under_attack, attack, explain, features, filters, layers, maximize
from visiontasks.inspect.attack import draw_difference
from visiontasks.inspect.features import draw_filters, draw_maps, find_layer
from visiontasks.losses import CrossEntropy
from visiontasks.models import Backbone, BoxHead, LabelHead, SMPHead
from visiontasks.models.classic.small import filters_by_hand
from visiontasks.models.heads.mask import MaskHead
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask, VisionTask

SPEC = {"class_names": ["circle", "square", "triangle", "star"], "image_size": 32, "resize": "stretch"}
MASKS = {**SPEC, "mask_names": ["background", *SPEC["class_names"]]}


def classifier(name: str = "test_resnet", size: int = 32, **options: Any) -> VisionTask:
    torch.manual_seed(0)
    spec = {**SPEC, "image_size": size}
    return ClassificationTask(spec, Backbone(name, False, **options), partial(LabelHead, pool="flatten")).eval()


def picture(size: int = 32, count: int = 1, seed: int = 0) -> Tensor:
    return torch.randint(256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed)).byte()


# layers


def test_i4_layers_of_the_cifar10_net_are_those_worked_out_by_hand() -> None:
    backbone = Backbone("cifar10_alexnet", False)
    task = ClassificationTask(
        {**SPEC, "class_names": list("abcdefghij")}, backbone, partial(LabelHead, pool="flatten", hidden=[1000])
    )
    found = [layer for layer in layers(task, picture()) if layer.kind in ("Conv2d", "MaxPool2d", "Linear")]
    assert [layer.field[0] for layer in found] == [5, 6, 14, 16, 32, 36, 60, 60]
    assert [layer.weights for layer in found] == [2432, 0, 51264, 0, 102464, 0, 1_025_000, 10_010]
    assert [layer.output for layer in found][:2] == [(32, 32, 32), (32, 16, 16)]
    convs = [75 * 32 * 32**2, 800 * 64 * 16**2, 1600 * 64 * 8**2]
    assert [layer.multiplications for layer in found] == [convs[0], 0, convs[1], 0, convs[2], 0, 1_024_000, 10_000]
    assert sum(layer.weights for layer in layers(task, picture())) == 1_191_170


def test_i4_multiplications_and_memory_of_the_notes_layer() -> None:
    (layer,) = layers(nn.Conv2d(3, 200, 5, padding=2), torch.zeros(1, 3, 100, 150))
    assert (layer.weights, layer.multiplications, layer.memory) == (15_200, 225_000_000, 12_000_000)


@pytest.mark.parametrize(
    ("name", "side", "field"),
    [("resnet34", 224, 899), ("resnet50", 224, 427), ("vgg16", 64, 212), ("alexnet", 224, 195)],
)
def test_i4_receptive_fields_are_the_published_ones(name: str, side: int, field: int) -> None:
    with torch.device("meta"):
        backbone = Backbone(name, False)
        found = layers(backbone.net, torch.zeros(1, 3, side, side))
    assert max(layer.field[0] for layer in found if layer.kind in ("Conv2d", "MaxPool2d")) == field


class Branches(nn.Module):
    """Paths of different depth, dilation, a transposed convolution and a resize."""

    def __init__(self) -> None:
        super().__init__()
        self.short = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        self.long = nn.Sequential(
            nn.Conv2d(1, 2, (3, 5), padding=(1, 2)), nn.AvgPool2d(2), nn.Conv2d(2, 2, 3, padding=2, dilation=2)
        )
        self.up = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)
        self.last = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.up(self.short(x) + self.long(x)))
        return F.interpolate(F.max_pool2d(x, 2), scale_factor=2)


@pytest.mark.parametrize(
    "make",
    [
        Branches,
        pytest.param(partial(Backbone, "test_resnet", False), marks=pytest.mark.slow),
        partial(Backbone, "lenet5", False),
    ],
)
def test_i4_receptive_fields_are_where_gradients_come_from(make: Any) -> None:
    torch.manual_seed(0)
    model = make()
    net = model.net if isinstance(model, Backbone) else model
    channels = model.in_channels if isinstance(model, Backbone) else 1
    net = net.double().eval()
    for parameter in net.parameters():
        nn.init.uniform_(parameter, 0.001, 0.01)  # so that no unit is silent
    side = 96
    checked = 0
    for layer in layers(net, torch.zeros(1, channels, side, side).double()):
        if len(layer.output) != 3 or max(layer.field) > side - 16:
            continue
        module, kept = net.get_submodule(layer.name), []
        handle = module.register_forward_hook(lambda module, args, output, kept=kept: kept.append(output))
        x = torch.rand(8, channels, side, side).double().requires_grad_()  # of several, as a maximum sees one place
        net.forward_intermediates(x) if hasattr(net, "forward_intermediates") else net(x)
        handle.remove()
        middle = kept[0][:, :, kept[0].shape[2] // 2, kept[0].shape[3] // 2]
        (gradient,) = torch.autograd.grad((middle * torch.rand_like(middle)).sum(), x)
        seen = gradient.abs().sum((0, 1)) > 0
        extent = tuple(int(axis.nonzero().max() - axis.nonzero().min()) + 1 for axis in (seen.any(1), seen.any(0)))
        # a transposed convolution's units see alternately more and less of its input
        slack = (
            2 * max(1, side // layer.output[1]) if isinstance(net, Branches) and layer.name in ("up", "last", "") else 0
        )
        assert all(0 <= whole - part <= slack for whole, part in zip(layer.field, extent, strict=True)), layer
        checked += 1
    assert checked > 3


def test_i4_attention_sees_everything_and_all_weights_are_counted() -> None:
    backbone = Backbone("test_vit", False)
    found = layers(backbone, torch.zeros(1, 3, 160, 160, dtype=torch.uint8))
    assert max(layer.field[0] for layer in found) == float("inf")
    assert sum(layer.weights for layer in found) == sum(parameter.numel() for parameter in backbone.parameters())


# features and filters


def test_i1_features_are_what_the_layer_puts_out() -> None:
    task, image = classifier(), picture()
    assert torch.equal(features(task, image), first_conv(task, image))


def first_conv(task: VisionTask, image: Tensor) -> Tensor:
    conv = next(module for module in task.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        return conv(task.backbone.normalize(image))


def test_i1_maps_are_drawn_each_from_its_least_to_its_largest_value() -> None:
    maps = torch.stack([torch.arange(16.0).reshape(4, 4), torch.full((4, 4), 3.0)])
    drawn = draw_maps(maps)
    assert drawn.shape == (64, 64 + 4 + 64, 3)
    np.testing.assert_array_equal(drawn[::16, :64:16, 0], np.round(np.arange(16).reshape(4, 4) * 255 / 15))
    assert (drawn[:, 68:] == 0).all()


def test_i1_filters_are_the_weights_drawn_about_gray() -> None:
    task = classifier()
    weights = filters(task)
    assert weights.shape[1] == 3
    drawn = draw_filters(torch.tensor([[[[0.0, 2.0]], [[-2.0, 0.0]], [[1.0, 0.0]]]]))
    np.testing.assert_array_equal(drawn[0, [0, 32]], [[128, 0, 191], [255, 128, 128]])
    with pytest.raises(InputError, match=r"--layer heads.label: LabelHead has no filters"):
        filters(task, "label")


def test_i1_layers_are_found_by_their_end_and_misspelt_ones_suggested() -> None:
    task = classifier("lenet5", 28)
    assert find_layer(task, "stages.1.1")[0] == "backbone.net.stages.1.1"
    with pytest.raises(InputError, match=r"several layers match: backbone.net.stages.0, "):
        find_layer(task, "0")
    with pytest.raises(InputError, match=r"no such layer.*Did you mean 'backbone.net.stages.1.1'"):
        find_layer(task, "backbone.net.stage.1.1")


def test_i5_filters_by_hand_are_those_of_the_notes() -> None:
    known = filters_by_hand()
    assert {name: float(kernel.sum()) for name, kernel in known.items()} == {
        "identity": 1, "edges": 0, "sharpen": 1, "gaussian": 1, "vertical line": 7, "horizontal line": 7
    }  # fmt: skip
    backbone, image = Backbone("by_hand", False, in_channels=1), picture(24)
    gray = backbone.normalize(image)
    maps = features(backbone, image)[0].double()
    for kernel, found in zip(known.values(), maps, strict=True):
        expected = correlate(gray[0, 0].double().numpy(), kernel.double().numpy(), mode="constant")
        np.testing.assert_allclose(found, expected, atol=1e-5)


# maximize


def test_i2_the_image_found_is_answered_more_than_others() -> None:
    task = classifier("lenet5", 28)
    for unit in (0, 3):
        found = maximize(task, unit, steps=60, jitter=1)
        assert found.shape == (3, 28, 28)
        with torch.no_grad():
            scores = task(torch.cat([found[None], picture(28, 50)]))["label"]
            assert float(scores[0, unit]) > float(scores[1:, unit].max())
            probability = task(maximize(task, unit, steps=60, jitter=1, softmax=True)[None])["label"].softmax(1)
        assert float(probability[0, unit]) > float(scores.softmax(1)[1:, unit].max())


def test_i2_decay_blur_and_clipping_keep_it_smooth_and_gray() -> None:
    task = classifier("lenet5", 28)
    rough = maximize(task, 0, steps=30, decay=0, blur=0, clip=0, jitter=0).float()
    smooth = maximize(task, 0, steps=30, decay=0.1, blur=1, blur_every=1, clip=0.3, jitter=0).float()
    assert float(smooth.std()) < float(rough.std()) / 2
    assert float((smooth == 128).float().mean()) > 0.2 > float((rough == 128).float().mean())
    assert float(smooth.diff(dim=2).abs().mean()) < float(rough.diff(dim=2).abs().mean()) / 2


def test_i2_a_unit_of_a_layer_too() -> None:
    task = classifier("lenet5", 28)
    found = maximize(task, 2, "stages.1.1", steps=40, jitter=0)[None]
    middle = features(task, torch.cat([found, picture(28, 50)]), "stages.1.1")[:, 2, 5, 5]
    assert middle.argmax() == 0
    with pytest.raises(InputError, match=r"unit 16: backbone.net.stages.1.1 has 0 to 15"):
        maximize(task, 16, "stages.1.1", steps=1)


# attack


def quarters(count: int, seed: int) -> list[dict[str, Tensor]]:
    """Noise of which a quarter, the label, is somewhat lighter; in batches of 20."""
    random = torch.Generator().manual_seed(seed)
    images = 128 + 20 * torch.randn(count, 3, 32, 32, generator=random)
    labels = torch.arange(count) % 4
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = 16 * (label // 2), 16 * (label % 2)
        image[:, top : top + 16, left : left + 16] += 15
    images = images.clamp(0, 255).byte()
    return [{"image": images[i : i + 20], "label": labels[i : i + 20]} for i in range(0, count, 20)]


@pytest.fixture(scope="module")
def trained() -> VisionTask:
    """Tells the quarters apart."""
    task = classifier("cifar10_convnet")
    optimizer = torch.optim.AdamW(task.parameters(), 1e-3)
    for _ in range(4):
        for batch in quarters(200, seed=0):
            loss = F.cross_entropy(task(batch["image"])["label"], batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return task


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
def test_i3_an_attack_stays_within_its_radius_and_lowers_the_accuracy(trained: VisionTask, method: Any) -> None:
    batches = quarters(100, seed=1)
    moved = attack(trained, batches[0]["image"], batches[0]["label"], radius=8, method=method)
    distance = (moved.int() - batches[0]["image"].int()).abs()
    assert moved.dtype == torch.uint8
    assert int(distance.max()) == 8
    found = accuracy_under_attack(trained, batches, radius=8, method=method)
    assert found.images == 100
    assert found.accuracy > 0.9  # by chance 0.25
    assert found.under_attack < 0.2


def test_i3_several_steps_find_more_than_one(trained: VisionTask) -> None:
    (batch,) = quarters(20, seed=2)
    image, label = batch["image"], batch["label"]
    with torch.no_grad():
        loss = [
            float(F.cross_entropy(trained(attack(trained, image, label, 4, method))["label"], label))
            for method in ("fgsm", "pgd")
        ]
    assert loss[1] > loss[0]


def test_i3_one_step_is_the_sign_of_the_gradient() -> None:
    task, image, label = classifier("lenet5", 28), picture(28) // 2 + 60, torch.tensor([1])
    pixels = (image.float() / 255).requires_grad_()
    loss = F.cross_entropy(task(task.backbone.normalizer(pixels))["label"], label)
    (gradient,) = torch.autograd.grad(loss, pixels)
    moved = attack(task, image, label, radius=3, method="fgsm").int() - image.int()
    assert torch.equal(moved, (3 * gradient.sign()).int())
    assert draw_difference(np.array([[[10, 10, 10]]]), np.array([[[13, 10, 7]]]), 3).tolist() == [[[255, 128, 0]]]


def test_i3_what_cannot_be_attacked_is_refused() -> None:
    boxes = LocalizationTask({**SPEC, "class_names": ["thing"]}, Backbone("test_resnet", False))
    with pytest.raises(InputError, match="attack: the model predicts bbox; it needs a head of `label`"):
        attack(boxes, picture(), torch.tensor([0]))
    with pytest.raises(InputError, match="radius=0"):
        attack(classifier(), picture(), torch.tensor([0]), radius=0)
    with pytest.raises(InputError, match="no labels"):
        accuracy_under_attack(classifier(), [{"image": picture()}])


# explain


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_explain_finds_the_place_that_the_class_comes_from(method: Any) -> None:
    """A network that answers class 1 where there is light, on an image that is light in one corner."""
    task = classifier("by_hand", 32, in_channels=1)
    with torch.no_grad():
        weight = torch.zeros(4, 6, 32, 32)
        weight[1, 3] = 1.0  # the blurred image
        task.heads["label"].classifier.weight.copy_(weight.flatten(1))
        task.heads["label"].classifier.bias.zero_()
    image = torch.full((1, 3, 32, 32), 20, dtype=torch.uint8)
    image[:, :, :12, 20:] = 250
    weights = explain(task, image, target=1, method=method, window=4)
    assert weights.shape == (32, 32)
    assert float(weights.min()) >= 0
    assert float(weights[:13, 19:].sum()) > 0.9 * float(weights.sum())


@pytest.mark.parametrize("method", ["gradcam", pytest.param("occlusion", marks=pytest.mark.slow)])
def test_explain_answers_for_all_tasks(method: Any) -> None:
    torch.manual_seed(0)
    backbone = partial(Backbone, "test_resnet", False)
    heads = {"label": LabelHead, "bbox": BoxHead, "mask": SMPHead}
    whole = VisionTask({**MASKS, "image_size": 64}, backbone(), heads)
    for key in heads:
        weights = explain(whole, picture(64), key, method=method)
        assert weights.shape == (64, 64)
        assert float(weights.max()) > 0
    single = SegmentationTask({**MASKS, "image_size": 64}, backbone(), partial(SMPHead, coarse=False))
    assert float(explain(single, picture(64), method=method).max()) > 0
    with pytest.raises(InputError, match="--key label: the model predicts mask"):
        explain(single, picture(64), "label")
    with pytest.raises(InputError, match="class 9: the model has 0 to 4"):
        explain(single, picture(64), target=9)
    with pytest.raises(InputError, match=r"--window 65: expected 1 to 64"):
        explain(single, picture(64), method="occlusion", window=65)


def test_gradcam_equals_its_definition() -> None:
    task, image = classifier(), picture()
    final = task.backbone(image)[-1].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(task.heads["label"]([final])[0, 2], final)
    coarse = (gradient.mean((2, 3), keepdim=True) * final).sum(1, keepdim=True).detach()
    expected = F.interpolate(coarse, (32, 32), mode="bilinear")[0, 0].clamp(min=0)
    torch.testing.assert_close(explain(task, image, target=2), expected * coarse.numel() / 32**2)


class Light(MaskHead):
    """Class 1 is where there is light; the final map speaks against it everywhere."""

    def __init__(self, channels: list[int], num_classes: int, light: float = 1.0) -> None:
        super().__init__(num_classes, CrossEntropy())
        self.light = light

    def decode(self, features: list[Tensor]) -> Tensor:
        doubt = features[-1].square().mean((1, 2, 3), keepdim=True)
        bright = self.light * features[0].mean(1, keepdim=True)
        return torch.cat([-1 - 2 * doubt - bright, bright - doubt], 1)


def test_the_explanation_of_a_mask_adds_the_maps_that_its_head_reads() -> None:
    image = torch.full((1, 3, 32, 32), 20, dtype=torch.uint8)
    image[:, :, :12, 20:] = 250
    spec = {**MASKS, "mask_names": ["dark", "light"]}
    for light in (1.0, 0.0):
        task = SegmentationTask(spec, Backbone("test_resnet", False), partial(Light, light=light))
        weights = explain(task, image, target=1)
        assert float(weights[:12, 20:].sum()) == pytest.approx(float(weights.sum()))
        assert weights.any() == bool(light)  # where nothing speaks for it, there is nothing to draw


# the command


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    small = ["--data.dataset.count", "16", "--data.batch_size", "4", "--data.image_size", "32"]
    small += ["--model.backbone", "{name: test_resnet, pretrained: false}", "--trainer.callbacks", "null"]
    quiet = ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "1"]
    config = str(Path(__file__).parents[1] / "configs/quickstart.yaml")
    main(["fit", "-c", config, "--trainer.default_root_dir", str(root), *small, *quiet])
    (directory,) = (root / "quickstart").iterdir()
    return directory


@pytest.mark.parametrize(
    ("args", "files"),
    [
        (["layers"], ["layers.csv"]),
        (["filters"], ["filters-backbone.net.conv1.0.png"]),
        (
            ["features", "--count", "2"],
            ["features-backbone.net.conv1.0-0-0.png", "features-backbone.net.conv1.0-0-1.png"],
        ),
        (["maximize", "--class", "star", "--steps", "2"], ["maximize-classes.png"]),
        (["maximize", "--layer", "layer1.0.conv1", "--steps", "1"], ["maximize-layer1.0.conv1.png"]),
        (["attack", "--count", "2"], ["attack.png", "attack.csv", "adversarial/00001_0-1.png"]),
        (["explain", "--count", "2"], ["explain-label-gradcam.png"]),
        (["explain", "--count", "1", "--method", "occlusion"], ["explain-label-occlusion.png"]),
    ],
)
def test_inspect_writes_into_the_run_directory(run_directory: Path, args: list[str], files: list[str]) -> None:
    before = (run_directory / "metrics.csv").read_text("utf-8")
    what, *more = args
    main(["inspect", what, str(run_directory / "best.ckpt"), *more])
    missing = [name for name in files if not (run_directory / "inspect" / name).is_file()]
    assert not missing, sorted(path.name for path in (run_directory / "inspect").rglob("*"))
    assert (run_directory / "metrics.csv").read_text("utf-8") == before


def test_inspect_attack_says_how_often_it_was_right(run_directory: Path, capsys: Any) -> None:
    main(["inspect", "attack", str(run_directory / "best.ckpt"), "--count", "3", "--steps", "1"])
    printed = capsys.readouterr().out
    with (run_directory / "inspect/attack.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    changed = sum(row["before"] != row["after"] for row in rows)
    assert f"{changed} of 3 predictions changed" in printed
    assert "4 images: accuracy" in printed
    sheet = np.asarray(Image.open(run_directory / "inspect/attack.png"))
    assert sheet.shape == grid([np.zeros((32, 32, 3), np.uint8)] * 9, 3).shape


def test_inspect_explain_says_where_nothing_supports_the_prediction(
    run_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("visiontasks.cli.inspect.explain", lambda *_: torch.zeros(32, 32))
    main(["inspect", "explain", str(run_directory / "best.ckpt"), "--count", "1"])
    assert ": no place of the image supports the prediction; it is drawn without colors." in capsys.readouterr().out


def test_inspect_takes_images_and_configs(run_directory: Path, tmp_path: Path, write_image: Any) -> None:
    photo = write_image(tmp_path / "photo.jpg")
    main(["inspect", "explain", str(run_directory / "best.ckpt"), str(photo)])
    config = str(Path(__file__).parents[1] / "configs/quickstart.yaml")
    root = ["--trainer.default_root_dir", str(tmp_path), "--model.backbone", "{name: lenet5, pretrained: false}"]
    main(["inspect", "layers", config, *root])
    (directory,) = (tmp_path / "quickstart").iterdir()
    with (directory / "layers.csv").open(newline="") as file:
        assert [row["field"] for row in csv.DictReader(file)][:2] == ["1 x 1", "5 x 5"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["layers", "no.ckpt"], "no.ckpt: no such checkpoint"),
        (["features", "{run}", "--layer", "convv1"], "the model has no such layer"),
        (["features", "{run}", "--layer", "classifier"], "is not a map"),
        (["explain", "{run}", "--class", "cat"], "--class cat: expected one of circle, square, triangle, star"),
        (["layers", "{run}", "--data.batch_size", "2"], "unrecognized arguments: --data.batch_size 2"),
        (["attack", "{copy}"], "config.yaml: no such config for the images"),
        *((["maximize", "{copy}", option, "-1"], "must be 0 or more") for option in ("--rate", "--blur", "--jitter")),
        (["features", "{copy}", "--count", "0"], "0 must be 1 or more"),
        (["explain", "{copy}", "--window", "0"], "0 must be 1 or more"),
    ],
)
def test_inspect_says_what_is_wrong(
    run_directory: Path, tmp_path: Path, args: list[str], message: str, capsys: Any
) -> None:
    places = {"run": str(run_directory / "best.ckpt"), "copy": str(tmp_path / "best.ckpt")}
    Path(places["copy"]).write_bytes(Path(places["run"]).read_bytes())
    with pytest.raises(SystemExit) as exit:
        main(["inspect", *(arg.format(**places) for arg in args)])
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
