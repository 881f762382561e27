"""The commands fit, validate, test, probe, preview and lr_find: LightningCLI with run directories and loggers."""

import json
import os
import warnings
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info

from visiontasks.callbacks import ClosedFormStart, Curves, Panels, Results
from visiontasks.callbacks.rates import STEPS, LRFinder
from visiontasks.callbacks.wandb import log_config
from visiontasks.cli.flags import check_flags
from visiontasks.cli.imports import import_modules
from visiontasks.cli.parser import SECTIONS, Parser, check_section, read_config
from visiontasks.cli.preview import write_preview
from visiontasks.cli.runs import RUN_DIR, run_checkpoints, run_directory, run_loggers
from visiontasks.core.errors import InputError
from visiontasks.core.files import atomic_write
from visiontasks.core.redact import redact
from visiontasks.data import VisionDataModule
from visiontasks.models.backbone import without_weights
from visiontasks.tasks import VisionTask
from visiontasks.tasks.checkpoint import read_checkpoint
from visiontasks.tasks.restore import check_task

EXPECTED_WARNINGS = (
    ".*in eval mode at the start of training",  # frozen, or batch norm with the pretrained statistics
    "(Checkpoint|Experiment logs) directory .* exists and is not empty",  # config.yaml is there already
    ".*does not have many workers",  # zero is right if the model keeps the cores busy
    ".*callbacks used to create the checkpoint need to be provided",
    ".*is smaller than the logging interval",  # values per epoch are not affected
    ".*could not find the monitored key",  # before the first validation, if it is not in every epoch
    "The dirpath has changed",  # a resumed fit has its own run directory
    ".*isinstance.treespec, LeafSpec.",
    ".*It is recommended to use .self.log.*sync_dist=True",  # figures are computed over all processes already
    ".*no transform to process it",  # color transforms do not move boxes
)


def main(command: str, args: Sequence[str]) -> "VisionCLI":
    """Runs fit, validate, test, probe, preview or lr_find with the arguments of the command line."""
    if "LOCAL_RANK" not in os.environ:
        os.environ.pop(RUN_DIR, None)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    return VisionCLI(command, args)


class VisionCLI(LightningCLI):
    """Parses the config and arguments of one command, builds its objects and runs it."""

    def __init__(self, command: str, args: Sequence[str]) -> None:
        self.command = command
        args = self._prepare(args)
        super().__init__(
            VisionTask,
            VisionDataModule,
            args=[self._method, *args],
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            seed_everything_default=0,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={"log_every_n_steps": 10, "num_sanity_val_steps": 0},
            parser_class=Parser,
        )

    @property
    def _method(self) -> str:
        return self.command if self.command in ("validate", "test") else "fit"

    def subcommands(self) -> dict[str, set[str]]:
        """Returns only the given command, because each parser takes a second to inspect signatures."""
        loaders = ("dataloaders", "train_dataloaders", "val_dataloaders")
        return {self._method: {"model", "datamodule", *loaders, "verbose", "weights_only"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.spec", "model.init_args.spec", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        stop = "Stop after this number of validations (one per epoch) without improvement."
        parser.add_argument("--early_stopping", type=int | None, help=stop)
        parser.add_argument("--imports", type=list[str], default=[], help="Your own modules whose classes it names.")
        if self.checkpoint:  # as defaults, so that config files and arguments win
            init_args = {k: v for k, v in self.checkpoint["init_args"].items() if k not in ("spec", "weights")}
            parser.set_defaults({"model": {**self.checkpoint, "init_args": init_args}})

    def _prepare(self, args: Sequence[str]) -> list[str]:
        """Reads the imports and the hyperparameters of a checkpoint, which the parser needs."""
        parser = ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--imports", action="append", default=[])
        options, args = parser.parse_known_args(args)
        configs = [read_config(Path(config)) for config in _options(args, "-c", "--config")]
        for name in SECTIONS:
            for value in _options(args, f"--{name}"):
                check_section(value, Path(), f"--{name}")
        modules = [one for config in configs for one in import_modules(config.get("imports") or [])]
        modules += import_modules(options.imports)
        self.checkpoint, self.ckpt_path = None, next(reversed(_options(args, "--ckpt_path")), None)
        if self.ckpt_path and self.command == "probe":
            raise InputError("probe solves new heads; for the backbone of another run, use --model.weights CHECKPOINT.")
        if self.ckpt_path:
            described = read_checkpoint(self.ckpt_path)["hyper_parameters"]
            self.checkpoint = check_task(described, modules, f"{self.ckpt_path}: model")
        elif self.command in ("validate", "test") and not {"-h", "--help"} & {*args}:
            raise InputError(f"{self.command} needs a trained model: give --ckpt_path CHECKPOINT.")
        found = [f"--imports={json.dumps([module.__name__ for module in modules])}"] if modules else []
        return [*args, *found]

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Removes `ckpt_path`, since Lightning would let hyperparameters in a checkpoint override the command line."""
        self.config = parser.parse_args(list(args))
        check_flags(self.command, self.config[self._method])
        if self._section("ckpt_path") and not self.ckpt_path:
            raise InputError("ckpt_path: give it as an argument, `--ckpt_path CHECKPOINT`, not in a config.")
        self.config[self._method]["ckpt_path"] = None
        if self.checkpoint:
            old, new = _flat(self.checkpoint["init_args"]), _flat(self._section("model").init_args)
            for key in sorted(old.keys() & new.keys() - {"weights"}):
                if old[key] != new[key]:
                    rank_zero_info(f"model.{key}: {old[key]} in the checkpoint, {new[key]} from now on.")

    def before_instantiate_classes(self) -> None:
        trainer = self._section("trainer")
        self.run_dir = run_directory(trainer.default_root_dir, self.config[self._method].get("config"))
        if self.command == "probe":
            trainer.max_epochs = 0
        elif self.command == "lr_find":
            trainer.max_steps = STEPS if trainer.max_steps < 1 else trainer.max_steps
            trainer.max_epochs, trainer.check_val_every_n_epoch = -1, trainer.max_steps

    def instantiate_classes(self) -> None:
        needs_weights = self.checkpoint is None and self.command != "preview"
        with nullcontext() if needs_weights else without_weights():
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds the callbacks and the CSV logger that every run has."""
        chosen = self.config_init[self._method]
        config = chosen["trainer"]
        callbacks: list[Callback] = [Results(str(self.run_dir)), Panels(str(self.run_dir))]
        if self._method == "fit":
            callbacks.append(Curves())
            if config.get("enable_checkpointing") is not False:
                callbacks += run_checkpoints(self.run_dir, self.model.monitor)
            if patience := chosen["early_stopping"]:
                callbacks.append(EarlyStopping(self.model.monitor, mode="max", patience=patience))
        own = config.get("callbacks") or []
        own = own if isinstance(own, list) else [own]  # Lightning also accepts a single one
        if self.command == "probe" and not any(isinstance(callback, ClosedFormStart) for callback in own):
            callbacks.append(ClosedFormStart())
        elif self.command == "lr_find":  # last, because it ends the fit before later callbacks see the start
            callbacks.append(LRFinder(str(self.run_dir), config.max_steps))
        loggers = run_loggers(config.get("logger"), self.run_dir)
        kwargs["default_root_dir"] = str(self.run_dir)
        try:
            return super().instantiate_trainer(callbacks=[*own, *callbacks], logger=loggers, **kwargs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"trainer: {error}") from error

    def fit(self, **kwargs: Any) -> None:
        """Trains the model, or solves its heads (`probe`), or draws the data (`preview`)."""
        if self.command == "preview":
            write_preview(self.datamodule, self.run_dir, self.trainer.loggers)
        else:
            self._start(self.trainer.fit, **kwargs)
        if self.command == "probe":
            self.trainer.validate(self.model, self.datamodule, verbose=False, weights_only=True)
            self.trainer.save_checkpoint(self.run_dir / "last.ckpt", weights_only=False)
        rank_zero_info(f"Run directory: {self.run_dir}")

    def validate(self, **kwargs: Any) -> None:
        self._start(self.trainer.validate, **kwargs, verbose=False)

    def test(self, **kwargs: Any) -> None:
        self._start(self.trainer.test, **kwargs, verbose=False)

    def _start(self, method: Callable[..., Any], **kwargs: Any) -> None:
        try:
            method(**kwargs | {"ckpt_path": self.ckpt_path, "weights_only": True})
        except RuntimeError as error:
            if self.checkpoint is None or "loading state_dict" not in str(error):
                raise
            known, own = _flat(self.checkpoint["init_args"]).get("backbone.name"), self.model.backbone.name
            other = " with other options" if known == own else ""
            raise InputError(
                f"{self.ckpt_path}: it has the weights of {known}{other}, which do not fit {own} of the config. "
                "Use the config of its run, or start a new fit without --ckpt_path."
            ) from None

    def _section(self, name: str) -> Namespace:
        return self.config[self._method][name]


class SaveConfig(SaveConfigCallback):
    """Callback that writes the resolved config, without secrets, to the run directory and to W&B."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        config = redact(yaml.safe_load(self.parser.dump(self.config, skip_none=False)))
        with atomic_write(Path(trainer.default_root_dir, self.config_filename)) as part:
            part.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "utf-8")
        log_config(trainer.loggers, config | {"config": None})


def _options(args: Sequence[str], *names: str) -> list[str]:
    """Returns the values of `--name value` and `--name=value`, without a parser."""
    pairs = ((*arg.partition("=")[::2], after) for arg, after in zip(args, [*args[1:], ""], strict=True))
    return [own or after for name, own, after in pairs if name in names]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Flattens nested settings to dotted names without `init_args`."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if not isinstance(value, dict):
        return {prefix.removesuffix("."): list(value) if isinstance(value, tuple) else value}
    if "class_path" in value:  # a class may have several paths
        value = {"class": value["class_path"].rpartition(".")[2], **(value.get("init_args") or {})}
    return {name: item for key, part in value.items() for name, item in _flat(part, f"{prefix}{key}.").items()}
