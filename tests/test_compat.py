"""What the package relies on in undocumented parts of its libraries: one test for each function of `core.compat`."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from inspect import signature, unwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from visiontasks.core import compat
from visiontasks.data import VisionDataModule


class Line(LightningModule):
    """One weight, trained for the sake of the trainer."""

    def __init__(self) -> None:
        super().__init__()
        self.lr, self.layer = 1e-3, nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.lr)


def trainer(folder: Path, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=folder, enable_checkpointing=False, **quiet, **options)


def batches() -> DataLoader:
    return DataLoader(torch.ones(12, 1), batch_size=4)


def test_importing_it_imports_no_library() -> None:
    code = "import visiontasks.core.compat, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "timm", "torchvision", "segmentation_models_pytorch"} & set(run.stdout.split())


def test_keys_of_sections_are_those_of_the_constructors() -> None:
    for section, made in (("trainer", Trainer), ("data", VisionDataModule)):
        assert compat.keys_of_section(section) == set(signature(made.__init__).parameters) - {"self"}


def test_lightning_ends_the_fit_after_its_rates(tmp_path: Path) -> None:
    finder = LearningRateFinder(num_training_steps=2, update_attr=False)
    assert finder._early_exit is False
    compat.end_fit_after_rates(finder)
    fit = trainer(tmp_path, callbacks=[finder], max_epochs=1)
    model = Line()
    fit.fit(model, batches())
    assert finder.optimal_lr is not None
    assert fit.global_step == 0  # the rates' steps are taken back, and none follows


def test_lightning_shows_its_rates_in_another_bar(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    class Bar:
        done, closed = 0, False

        def update(self) -> None:
            self.done += 1

        def close(self) -> None:
            self.closed = True

    bars: list[tuple[int, Bar]] = []

    def make(desc: str, total: int) -> Bar:
        bars.append((total, Bar()))
        return bars[-1][1]

    finder = LearningRateFinder(num_training_steps=3, update_attr=False, early_stop_threshold=None)
    with compat.bar_of_rates(make):
        trainer(tmp_path, callbacks=[finder], max_epochs=1).fit(Line(), batches())
    ((total, bar),) = bars
    assert (total, bar.done) == (3, 3)
    assert "Finding best" not in capfd.readouterr().err


def test_lightning_loads_the_training_data_before_the_optimizers_are_made(tmp_path: Path) -> None:
    class Counting(Line):
        def configure_optimizers(self) -> Any:
            self.before = self.trainer.num_training_batches
            compat.load_training_data(self.trainer)
            self.after = self.trainer.num_training_batches
            return super().configure_optimizers()

    model = Counting()
    trainer(tmp_path, max_steps=1).fit(model, batches())
    assert (math.isinf(model.before), model.after) == (True, 3)


def test_torch_and_lightning_read_the_mark_of_an_optimizer_that_unscales_gradients() -> None:
    from lightning.fabric.plugins.precision.amp import _optimizer_handles_unscaling

    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))], fused=True)
    assert _optimizer_handles_unscaling(optimizer)
    compat.allow_clipping(optimizer)
    assert not _optimizer_handles_unscaling(optimizer)


def test_torch_steps_a_fused_optimizer_without_the_mark() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0, fused=True)
    compat.allow_clipping(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    scaler.scale(weight.sum()).backward()
    scaler.unscale_(optimizer)
    assert weight.grad == 1  # what is clipped is the gradient itself
    scaler.step(optimizer)
    torch.testing.assert_close(weight.detach(), torch.tensor([0.9]))


def test_torch_lists_the_leaves_of_nested_values() -> None:
    assert compat.tree_leaves({"a": [1, (2, 3)], "b": 4}) == [1, 2, 3, 4]


def test_torch_passes_every_operation_by_a_dispatch_mode() -> None:
    seen = []

    class Watch(compat.dispatch_mode()):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func.overloadpacket)
            return func(*args, **(kwargs or {}))

    image = torch.ones(1, 2, 4, 4)
    with Watch():
        nn.functional.adaptive_avg_pool2d(image, 2).view(1, 8)
    assert seen == [torch.ops.aten._adaptive_avg_pool2d, torch.ops.aten.view]


def test_timm_pads_by_the_function_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from timm.layers import padding
    from timm.layers.conv2d_same import Conv2dSame

    published, asked = padding.get_same_padding, []

    def counted(*args: int) -> int:
        asked.append(args)
        return published(*args)

    monkeypatch.setattr(compat, "same_padding", counted)
    layer, image = Conv2dSame(1, 1, 3, stride=2), torch.ones(1, 1, 8, 7)
    with compat.exact_padding():
        layer(image)
    layer(image)
    assert asked == [(8, 3, 2, 1), (7, 3, 2, 1)]
    assert padding.get_same_padding is published


def test_timm_pads_as_much_as_its_replacement() -> None:
    from timm.layers.padding import get_same_padding

    cases = [(x, k, s, d) for x in range(1, 40) for k in (1, 2, 3, 5, 7) for s in (1, 2, 3, 4) for d in (1, 2)]
    assert [case for case in cases if compat.same_padding(*case) != get_same_padding(*case)] == []


@pytest.mark.parametrize("name", ["Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "Segformer"])
def test_segmentation_models_pytorch_has_the_decoder_of_its_model(name: str) -> None:
    import segmentation_models_pytorch as smp

    model = getattr(smp, name)("resnet18", encoder_weights=None)
    assert type(model.decoder) is compat.smp_decoder(name)


def test_segmentation_models_pytorch_initializes_a_decoder() -> None:
    layers = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    for parameter in layers.parameters():
        nn.init.constant_(parameter, 7)
    compat.initialize_smp_decoder(layers)
    assert layers[0].bias.tolist() == layers[1].bias.tolist() == [0, 0]
    assert layers[1].weight.tolist() == [1, 1]
    assert layers[0].weight.unique().numel() == 4


def test_torchvision_keeps_the_lists_of_its_pets(tmp_path: Path) -> None:
    from torchvision.datasets import OxfordIIITPet

    root = tmp_path / "oxford-iiit-pet"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for name in ("Abyssinian_1", "beagle_1"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(root / f"images/{name}.jpg")
    (root / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\nbeagle_1 5 2 1\n")
    images = [root / f"images/{name}.jpg" for name in ("Abyssinian_1", "beagle_1")]
    assert compat.read_pets(OxfordIIITPet(tmp_path)) == (["Abyssinian", "Beagle"], images, [0, 4], [0, 1])


def test_jsonargparse_wraps_the_class_of_a_callable_in_a_partial() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--make", type=Callable[[list], Optimizer])
    made = parser.instantiate(parser.parse_args(["--make", "torch.optim.SGD", "--make.lr", "0.5"])).make
    assert isinstance(made, partial)
    assert compat.class_of_partial(made) is SGD
    assert made.keywords["lr"] == 0.5
    assert compat.class_of_partial(partial(SGD, lr=0.1)) is SGD
    assert compat.class_of_partial(partial(lambda channels: nn.Linear(channels, 2))) is None


def test_argparse_keeps_the_options_of_subcommands() -> None:
    parser, fit = ArgumentParser(), ArgumentParser()
    parser.add_argument("--config_file", type=str)
    fit.add_class_arguments(nn.Dropout, "dropout")
    parser.add_subcommands().add_subcommand("fit", fit)
    assert {"config_file", "dropout.p", "dropout.inplace"} <= compat.option_names(parser)


def test_torch_casts_a_module_by_the_method_that_keeps_its_buffers() -> None:
    class Shift(compat.exact_module()):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.by = nn.BatchNorm1d(1), nn.Buffer(torch.tensor([1.2345678]))

    module = Shift()
    for cast in (lambda: module.to(torch.bfloat16), module.half, module.double):
        assert cast().layer.running_mean.dtype == module.layer.weight.dtype != torch.float32
        assert torch.equal(module.by, torch.tensor([1.2345678]))
    assert module.to("meta").by.device.type == "meta"
    assert module.to_empty(device="cpu").by.dtype == torch.float32


def test_lightning_handles_signals_unless_it_is_kept_from_it(tmp_path: Path) -> None:
    class Watching(Line):
        def on_train_start(self) -> None:
            self.handler = signal.getsignal(signal.SIGTERM)

    for kept in (False, True):
        model, fit = Watching(), trainer(tmp_path, max_steps=1)
        if kept:
            compat.leave_signals(fit)
        fit.fit(model, batches())
        assert (model.handler == signal.SIG_DFL) == kept


def test_lightning_gives_wandb_a_setting_about_which_it_warns(tmp_path: Path) -> None:
    logger = WandbLogger(save_dir=str(tmp_path), offline=True)
    assert "anonymous" in logger._wandb_init
    compat.leave_out_anonymous(logger)
    assert "anonymous" not in logger._wandb_init


def test_lightning_repeats_the_end_of_an_epoch_if_the_steps_are_limited(tmp_path: Path) -> None:
    class Resuming(Line):
        epochs: list[int]
        right = False

        def on_train_epoch_start(self) -> None:
            self.epochs.append(self.trainer.fit_loop.epoch_progress.current.processed)

        def on_train_epoch_end(self) -> None:
            self.trainer.save_checkpoint(tmp_path / "end.ckpt")

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            if self.right:
                compat.resume_at_the_end_of_epochs(self.trainer)

    found = []
    for right in (False, True):
        first, second = Resuming(), Resuming()
        first.epochs, second.epochs, second.right = [], [], right
        trainer(tmp_path, max_steps=3).fit(first, batches())
        trainer(tmp_path, max_steps=5).fit(second, batches(), ckpt_path=tmp_path / "end.ckpt", weights_only=True)
        found.append((first.epochs, second.epochs))
    assert found == [([0], [2]), ([0], [1])]


def test_the_hub_asks_nobody(tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download, is_offline_mode

    before = is_offline_mode()
    with compat.hub_offline():
        assert is_offline_mode()
        with pytest.raises(FileNotFoundError):
            hf_hub_download("nobody/nothing", "file", cache_dir=tmp_path, endpoint="http://127.0.0.1:9")
    assert is_offline_mode() is before


class Old:
    def __init__(self, both: int = 1, old: int = 1) -> None:
        pass


class New(Old):
    def __init__(self, both: int = 2, new: int = 2) -> None:
        pass


class Kept(Old):
    def __init__(self, both: int = 3) -> None:
        pass


def test_the_options_of_a_replaced_class_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    from jsonargparse import _typehints

    def parsed(*args: str) -> dict[str, Any]:
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--one", type=Old, default={"class_path": f"{__name__}.Old"})
        config = {"one": {"class_path": f"{__name__}.Old", "init_args": {"both": 7, "old": 7}}}
        return parser.parse_args(list(args), namespace=parser.parse_object(config)).one.init_args.as_dict()

    name = "discard_init_args_on_class_path_change"
    monkeypatch.setattr(_typehints, name, unwrap(getattr(_typehints, name)))
    assert parsed(f"--one={__name__}.New") == {"both": 7, "new": 2}  # otherwise nothing needs to be dropped any more
    compat.forget_options_of_replaced_classes(Kept)
    assert parsed(f"--one={__name__}.New") == {"both": 2, "new": 2}
    assert parsed(f"--one={__name__}.New", "--one.both=5") == {"both": 5, "new": 2}
    assert parsed(f"--one={__name__}.Old", "--one.old=5") == {"both": 7, "old": 5}
    assert parsed(f"--one={__name__}.Kept") == {"both": 7}
