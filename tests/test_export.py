"""Exported files: they answer as the checkpoint does, or there are none."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import visiontasks
from visiontasks.cli import main
from visiontasks.cli.opening import open_data
from visiontasks.core.errors import InputError
from visiontasks.core.outputs import OutputFolder
from visiontasks.export import exported as module
from visiontasks.export.exported import ValidationImages, dataset_sources, export
from visiontasks.export.gate import compare
from visiontasks.export.graph import OutputGraph, describe_graph, write_onnx, write_pt2
from visiontasks.export.int8 import names_of_ends
from visiontasks.models import Backbone, FCNHead
from visiontasks.predict import Predictor
from visiontasks.predict.find import find_sources
from visiontasks.predict.torch_network import TorchNetwork
from visiontasks.tasks import RegressionTask, SegmentationTask
from visiontasks.tasks.restore import restore_task

ROOT = Path(__file__).parents[1]


SLOW = pytest.mark.slow
NAMES = ["all.onnx", "all.pt2", "mask.onnx", pytest.param("mask.pt2", marks=SLOW)]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_predicts_as_its_checkpoint(name: str, exported: Any, shapes_checkpoints: dict[str, Path]) -> None:
    checkpoint = visiontasks.load(str(shapes_checkpoints[name.split(".")[0]]), device="cpu")
    file = visiontasks.load(str(exported[name]), trust=True, device="auto" if name.endswith("onnx") else "cpu")
    assert file.spec == checkpoint.spec
    assert file.network.keys == checkpoint.network.keys
    parity = compare(checkpoint, file, sources := find_sources([shapes_checkpoints["photos"]]))
    assert parity.holds, parity.disagreements
    assert parity.images == 12
    names = {"share of other pixels"}
    if "all" in name:
        names |= {"label", "probability", "box in pixels"}
        assert parity.differences["label"] == 0
        assert parity.differences["probability"] < 0.01
        assert parity.differences["box in pixels"] < 0.01
    assert parity.differences.keys() == names
    pairs = zip(checkpoint.predict(sources.paths), file.predict(sources.paths), strict=True)
    equal = np.concatenate([(one["mask"] == other["mask"]).ravel() for one, other in pairs])
    assert equal.mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", ["onnx", pytest.param("pt2", marks=pytest.mark.slow)])
def test_masks_take_any_batch_and_size(kind: str, exported: Any, shapes_checkpoints: Any) -> None:
    network = visiontasks.load(str(exported[f"mask.{kind}"]), trust=True).network
    checkpoint = TorchNetwork(restore_task(str(shapes_checkpoints["mask"])), "cpu")
    for count, height, width in ((1, 48, 48), (5, 48, 48), (2, 64, 40), (1, 51, 77)):
        images = np.random.default_rng(0).integers(0, 256, (count, 3, height, width), np.uint8)
        expected = checkpoint(images)["mask"]
        np.testing.assert_allclose(network(images)["mask"], expected, atol=1e-4, err_msg=f"{count} {height} {width}")


@pytest.mark.slow  # the padding itself: tests/test_compat.py
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_network_that_pads_by_the_size_takes_any(kind: str, tmp_path: Path) -> None:
    spec = {"class_names": [], "mask_names": ["no", "yes"], "image_size": 64, "resize": "stretch"}
    task = SegmentationTask(spec, Backbone("tf_mobilenetv3_small_minimal_100", False), head=FCNHead)
    described = describe_graph(task, True, False, {})
    (write_onnx if kind == "onnx" else write_pt2)(OutputGraph(task), described, tmp_path / f"m.{kind}")
    network = visiontasks.load(str(tmp_path / f"m.{kind}"), trust=True).network
    for count, height, width in ((3, 64, 64), (1, 51, 77)):
        images = np.random.default_rng(0).integers(0, 256, (count, 3, height, width), np.uint8)
        np.testing.assert_allclose(network(images)["mask"], TorchNetwork(task, "cpu")(images)["mask"], atol=1e-4)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_numbers_are_those_of_the_task_in_their_own_units(
    kind: str, shapes_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    spec = {"class_names": [], "mask_names": [], "value_names": ["a", "b"], "image_size": 48, "resize": "stretch"}
    torch.manual_seed(0)
    task = RegressionTask(spec, Backbone("test_resnet", False)).eval()
    task.heads["value"].setup({"mean": np.array([100.0, -3.0]), "std": np.array([20.0, 0.5])})
    described = describe_graph(task, False, False, {})
    (write_onnx if kind == "onnx" else write_pt2)(OutputGraph(task), described, tmp_path / f"m.{kind}")
    file = visiontasks.load(str(tmp_path / f"m.{kind}"), trust=True)
    checkpoint = Predictor(TorchNetwork(task, "cpu"))
    parity = compare(checkpoint, file, find_sources([shapes_checkpoints["photos"]]))
    assert parity.holds, parity.disagreements
    assert parity.differences.keys() == {"relative difference of a value"}
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 48, 48), np.uint8)
    with torch.no_grad():
        standardized = task(torch.from_numpy(images))["value"].numpy()
    expected = standardized * [20, 0.5] + [100, -3]
    np.testing.assert_allclose(file.network(images)["value"], expected, rtol=1e-4, atol=1e-3)


def test_a_file_has_a_sum_a_report_and_says_what_it_is(exported: Any, shapes_checkpoints: Any) -> None:
    for name in ("all.onnx", "mask.pt2"):
        digest = hashlib.sha256(exported[name].read_bytes()).hexdigest()
        assert exported[f"{name}.sha256"].read_text() == f"{digest}  {name}\n"
        report = json.loads(exported[f"{name}.json"].read_text())
        assert report["sha256"] == digest
        assert report["parity"]["holds"] is True
        assert report["parity"]["images"] == 12  # all of the validation set
    described = json.loads(
        {item.key: item.value for item in onnx.load(exported["mask.onnx"]).metadata_props}["visiontasks"]
    )
    assert described["spec"]["mask_names"] == list(described["mask_colors"])
    assert described["spec"]["image_size"] == 48
    assert described["mask_colors"]["background"] == [0, 0, 0]
    assert set(described["made_from"]) == {"version", "torch", "commit", "data"}


def test_a_checkpoint_within_an_epoch_is_described(shapes_checkpoints: dict[str, Path]) -> None:
    task = restore_task(str(shapes_checkpoints["label"]))
    within = {"version": "1", "spec": task.spec, "figures": {"ranks": {"0": {"loss": torch.zeros(2)}}}}
    described = describe_graph(task, False, False, within)
    assert json.loads(json.dumps(described))["made_from"] == {"version": "1"}


def test_an_onnx_file_is_run_without_torch(exported: Any, shapes_checkpoints: Any, tmp_path: Path) -> None:
    code = f"""
import sys
from visiontasks.cli import main
main(["predict", {str(exported["all.onnx"])!r}, {str(shapes_checkpoints["photos"])!r}, "--output", {str(tmp_path)!r},
      "--overlays", "--tta", "hflip"])
print(*sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "12 predictions" in run.stdout
    heavy = {"torch", "torchvision", "lightning", "timm", "albumentations", "jsonargparse", "onnx", "av"}
    assert not heavy & set(run.stdout.splitlines()[-1].split())


def test_a_program_is_opened_only_when_trusted(exported: Any) -> None:
    with pytest.raises(InputError, match=r"all\.pt2: reading a \.pt2 file can run code.*`trust=True`"):
        visiontasks.load(str(exported["all.pt2"]))


def test_files_of_another_origin_are_refused(exported: Any, tmp_path: Path) -> None:
    model = onnx.load(exported["all.onnx"])
    onnx.save(model, tmp_path / "outside.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(InputError, match=r"outside\.onnx: .*weights in other files"):
        visiontasks.load(str(tmp_path / "outside.onnx"))
    model = onnx.load(exported["all.onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(InputError, match=r"bare\.onnx: not exported by visiontasks"):
        visiontasks.load(str(tmp_path / "bare.onnx"))
    model.metadata_props.add(key="visiontasks", value='{"spec": {}}')
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(InputError, match=r"odd\.onnx: not exported by visiontasks"):
        visiontasks.load(str(tmp_path / "odd.onnx"))
    model.metadata_props[0].value = "[" * 100_000
    onnx.save(model, tmp_path / "deep.onnx")
    with pytest.raises(InputError, match=r"deep\.onnx: not exported by visiontasks"):
        visiontasks.load(str(tmp_path / "deep.onnx"))
    outside = b"\x7b\x7c" + (tmp_path / "outside.onnx").read_bytes()  # a group, which other readers pass over
    (tmp_path / "group.onnx").write_bytes(outside)
    with pytest.raises(InputError, match=r"group\.onnx: not an ONNX file that can be read"):
        visiontasks.load(str(tmp_path / "group.onnx"))
    for kind in ("onnx", "pt2"):
        (tmp_path / f"broken.{kind}").write_bytes(exported[f"all.{kind}"].read_bytes()[:5000])
        with pytest.raises(InputError, match=rf"broken\.{kind}: not an"):
            visiontasks.load(str(tmp_path / f"broken.{kind}"), trust=True)
        with pytest.raises(InputError, match=rf"gone\.{kind}: no such file"):
            visiontasks.load(str(tmp_path / f"gone.{kind}"), trust=True)


# The gate


class InTraining(OutputGraph):
    """Batch norm by the batch, as in a model that was never put in eval mode."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        for layer in self.task.backbone.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.train()
                layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
        return super().forward(image)


class OtherNormalization(OutputGraph):
    """Without the mean and deviation of the pretrained weights."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.task.backbone.normalizer.set_statistics(torch.zeros(3), torch.ones(3))


class SwappedChannels(OutputGraph):
    """BGR, as OpenCV reads."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return super().forward(image.flip(1))


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        pytest.param(InTraining, "all", marks=pytest.mark.slow),
        (OtherNormalization, "label"),
        (SwappedChannels, "label"),
        *(pytest.param(wrong, "mask", marks=pytest.mark.slow) for wrong in (InTraining, OtherNormalization)),
        pytest.param(SwappedChannels, "mask", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_graph_is_caught_and_leaves_no_file(
    wrong: Any, name: str, shapes_checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tampered(task: Any, resizes: bool) -> OutputGraph:
        return wrong(restore_task(str(shapes_checkpoints[name])), resizes)

    monkeypatch.setattr(module, "OutputGraph", tampered)
    data = open_data(shapes_checkpoints[name].parent / "config.yaml")
    images = ValidationImages(dataset_sources(data.dataset("val")))
    for stale in ("m.pt2", "m.pt2.sha256"):  # of an earlier export
        with OutputFolder(tmp_path).write(stale):
            pass
    with pytest.raises(InputError, match=r"m\.pt2: not exported, it differs from .*last\.ckpt: val/"):
        export(str(shapes_checkpoints[name]), tmp_path / "m.pt2", images, "pt2")
    assert [path.name for path in tmp_path.glob("m.*")] == ["m.pt2.json"]  # the earlier export is gone too
    assert json.loads((tmp_path / "m.pt2.json").read_text())["parity"]["disagreements"]


# Resizing, and 8 bits


@pytest.mark.slow
def test_a_graph_that_resizes_takes_images_as_they_are(shapes_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    args = ["--data.dataset.size", "77", "--max_drop", "20"]
    main(["export", str(shapes_checkpoints["all"]), "--resize", "--output", str(path), *args])
    report = json.loads(Path(f"{path}.json").read_text())
    assert set(report["figures"]) == {"accuracy", "iou", "miou"}
    photos = sorted(shapes_checkpoints["photos"].iterdir())
    found, expected = (visiontasks.load(str(one)).predict(photos) for one in (path, shapes_checkpoints["all"]))
    for one, other in zip(found, expected, strict=True):
        assert one["size"] == other["size"]
        assert one["mask"].shape == other["mask"].shape
        assert (one["mask"] == other["mask"]).mean() > 0.9
    network = visiontasks.load(str(path)).network
    image = np.asarray(Image.open(photos[4]))
    twice = np.kron(image, np.ones((2, 2, 1), np.uint8))
    (small,), (large,) = (network(one.transpose(2, 0, 1)[None])["label"] for one in (image, twice))
    np.testing.assert_allclose(small, large, atol=0.1)


@pytest.mark.slow
def test_int8_is_judged_by_its_figures(shapes_checkpoints: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "m.onnx"
    samples = ["--samples", str(shapes_checkpoints["photos"] / "00.png")]
    args = ["export", str(shapes_checkpoints["label"]), "--int8", "--output", str(path), *samples]
    main([*args, "--max_drop", "60"])
    assert "times as many as without int8" in capsys.readouterr().out
    report = json.loads(Path(f"{path}.json").read_text())
    assert report["speed"]["times_faster"] > 0
    assert 0 < report["figures"]["accuracy"]["exported"] <= 1
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "QuantizeLinear" in kinds or "QLinearConv" in kinds
    assert Predictor.open(str(path)).class_names == Predictor.open(str(shapes_checkpoints["label"])).class_names
    assert "parity" not in report  # it was the file's before
    assert report["parity_before_int8"]["holds"]
    assert report["parity_before_int8"]["images"] == 1
    data = open_data(shapes_checkpoints["label"].with_name("config.yaml"), [], True)
    images = ValidationImages(find_sources([samples[1]]), data.dataset("val"), data.dataset("train"))
    with pytest.raises(InputError, match="falls from"):
        export(str(shapes_checkpoints["label"]), path, images, int8=True, max_drop=-101)
    assert not path.exists()


def test_the_last_layers_with_weights_stay_exact() -> None:
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["image", "first"], ["map"], "trunk"),
        node("Conv", ["map", "left"], ["coefficients"], "coefficients"),
        node("Relu", ["map"], ["positive"], "relu"),
        node("Conv", ["positive", "right"], ["prototypes"], "prototypes"),
        node("MatMul", ["coefficients", "prototypes"], ["masks"], "product"),
    ]
    floats = [np.ones((2, 3, 1, 1), np.float32), np.ones((2, 2, 1, 1), np.float32), np.ones((2, 2, 1, 1), np.float32)]
    weights = [
        onnx.numpy_helper.from_array(w, name) for w, name in zip(floats, ("first", "left", "right"), strict=True)
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("image", "masks")]
    graph = onnx.helper.make_graph(nodes, "graph", ends[:1], ends[1:], weights)
    assert set(names_of_ends(graph)) == {"product", "coefficients", "prototypes"}


def test_mistakes_are_named(shapes_checkpoints: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    def error(*args: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(["export", *args])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    model = str(shapes_checkpoints["mask"])
    assert "--int8: only ONNX files" in error(model, "--int8", "--format", "pt2", "--output", str(tmp_path / "m.pt2"))
    assert "m.pt2: expected a name that ends with .onnx" in error(model, "--output", str(tmp_path / "m.pt2"))
    moved = tmp_path / "moved.ckpt"
    moved.write_bytes(shapes_checkpoints["label"].read_bytes())
    assert "config.yaml: no such config with images to compare on" in error(str(moved))
    main(["export", str(moved), "--format", "pt2", "--samples", str(shapes_checkpoints["photos"])])
    assert (tmp_path / "moved.pt2").is_file()
