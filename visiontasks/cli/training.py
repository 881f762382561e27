"""The commands fit, validate, test, probe, preview and lr_find: LightningCLI with run directories and loggers."""

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ProgressBar, WeightAveraging
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from visiontasks.callbacks import Checkpoints, ClosedFormStart, Curves, FiniteCheck, Panels, Results
from visiontasks.callbacks.progress import ProgressLine
from visiontasks.callbacks.rates import STEPS, LRFinder
from visiontasks.callbacks.summary import Summary
from visiontasks.callbacks.wandb import finish_run
from visiontasks.cli.chatter import is_shown
from visiontasks.cli.configs import with_installed
from visiontasks.cli.differences import misfit, print_changes
from visiontasks.cli.doctor import print_check
from visiontasks.cli.flags import check_flags
from visiontasks.cli.given import config_beside
from visiontasks.cli.imports import import_modules
from visiontasks.cli.opening import read_data
from visiontasks.cli.parser import SECTIONS, Parser, check_section, read_config
from visiontasks.cli.preview import write_preview
from visiontasks.cli.report import report_of_run
from visiontasks.cli.resume import find_checkpoint, keep_best, reached_limit, resume_command, resumed_directory
from visiontasks.cli.runs import RUN_DIR, SaveConfig, new_run, run_loggers, runs_folder
from visiontasks.cli.words import values_of
from visiontasks.cli.written import print_written
from visiontasks.core.compat import leave_signals
from visiontasks.core.errors import InputError
from visiontasks.core.lock import lock
from visiontasks.core.signals import Interrupted
from visiontasks.data import VisionDataModule
from visiontasks.models.network import without_weights
from visiontasks.tasks import VisionTask
from visiontasks.tasks.checkpoint import read_checkpoint
from visiontasks.tasks.restore import check_task
from visiontasks.tasks.resume import check_fit_state


def main(command: str, args: Sequence[str]) -> "VisionCLI":
    """Runs fit, validate, test, probe, preview or lr_find with the arguments of the command line."""
    if "LOCAL_RANK" not in os.environ:
        os.environ.pop(RUN_DIR, None)
    with ExitStack() as held:
        return VisionCLI(command, args, held)


class VisionCLI(LightningCLI):
    """Parses the config and arguments of one command, builds its objects and runs it."""

    def __init__(self, command: str, args: Sequence[str], held: ExitStack) -> None:
        self.command, self.held, self.typed, self.beside = command, held, [*args], False
        self.launched = RUN_DIR in os.environ  # by the first process, for another device
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
        given = self.command, self.trainer, self.datamodule, self.config[self._method], self.ckpt_path
        rank_zero_only(report_of_run)(self.run_dir, *given)
        rank_zero_only(print_written)(self.run_dir)

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
        every = "Time (30s, 10min, 2h) or number of steps after which last.ckpt is written within an epoch."
        parser.add_argument("--save_every", type=int | str, default="10min", help=every)
        parser.add_argument("--imports", type=list[str], default=[], help="Your own modules whose classes it names.")
        parser.add_argument("--report", type=bool, default=True, help="Write report.html at the end of a fit or test.")
        if self.checkpoint:  # as defaults, so that config files and arguments win
            init_args = {k: v for k, v in self.checkpoint["init_args"].items() if k not in ("spec", "weights")}
            parser.set_defaults({"model": {**self.checkpoint, "init_args": init_args}})

    def _prepare(self, args: Sequence[str]) -> list[str]:
        """Reads the imports and the hyperparameters of a checkpoint, which the parser needs."""
        parser = ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--imports", action="append", default=[])
        options, args = parser.parse_known_args(with_installed(args))
        configs = [read_config(Path(config)) for config in values_of(args, "-c", "--config")]
        for name in SECTIONS:
            for value in values_of(args, f"--{name}"):
                check_section(value, Path(), f"--{name}")
        modules = [one for config in configs for one in import_modules(config.get("imports") or [])]
        modules += import_modules(options.imports)
        self.checkpoint, self.ckpt_path = None, find_checkpoint(self.command, args, configs)
        if self.ckpt_path and self.command == "probe":
            raise InputError("probe solves new heads; for the backbone of another run, use --model.weights CHECKPOINT.")
        if self.ckpt_path:
            self.written = Path(self.ckpt_path).stat().st_mtime_ns if Path(self.ckpt_path).is_file() else 0
            self.content = read_checkpoint(self.ckpt_path)
            self.checkpoint = check_task(self.content["hyper_parameters"], modules, f"{self.ckpt_path}: model")
            if self.command == "fit":
                check_fit_state(self.content, self.ckpt_path)
            elif beside := config_beside(self.ckpt_path, args):
                self.beside, section = True, read_data(beside, True, modules)
                args = [f"--data={yaml.safe_dump(section, allow_unicode=True)}", *args]
        elif self.command in ("validate", "test") and not {"-h", "--help"} & {*args}:
            raise InputError(f"{self.command} needs a trained model: give --ckpt_path CHECKPOINT.")
        found = [f"--imports={json.dumps([module.__name__ for module in modules])}"] if modules else []
        return [*args, *found]

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Removes `ckpt_path`, since Lightning would let hyperparameters in a checkpoint override the command line."""
        self.config = parser.parse_args(list(args))
        check_flags(self.command, self.config[self._method])
        if self._section("ckpt_path") and not values_of(self.typed, "--ckpt_path"):
            raise InputError("ckpt_path: give it as an argument, `--ckpt_path CHECKPOINT`, not in a config.")
        self.config[self._method]["ckpt_path"] = None
        if self.checkpoint:
            print_changes(self.ckpt_path, self.checkpoint, self._section("model"))

    def before_instantiate_classes(self) -> None:
        trainer = self._section("trainer")
        own = resumed_directory(self.ckpt_path) if self.command == "fit" else None
        folder, name = runs_folder(trainer.default_root_dir, self.typed), None
        if self.beside and not trainer.default_root_dir:
            folder, name = Path(self.ckpt_path or "").parent, self.command
        self.run_dir = own or self.held.enter_context(new_run(folder, name))
        if is_first := not (self.launched or getattr(rank_zero_only, "rank", 0)):
            self.held.enter_context(lock(self.run_dir))
            os.environ[RUN_DIR] = str(self.run_dir)
        if own and self.ckpt_path and Path(self.ckpt_path).stat().st_mtime_ns != self.written:
            self.content = read_checkpoint(self.ckpt_path)  # another fit wrote it before it gave up the lock
        self.resumed = self.content if own else None
        if is_first and self.command == "fit" and self.ckpt_path and not own:
            keep_best(self.ckpt_path, self.run_dir)
        batches = trainer.max_steps * trainer.accumulate_grad_batches
        if 0 < batches < (trainer.val_check_interval or 0):  # or there would be no validation
            trainer.val_check_interval = batches
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
        own = config.get("callbacks") or []
        own = own if isinstance(own, list) else [own]  # Lightning also accepts a single one
        first: list[Callback] = [Summary(str(self.run_dir))] if self.command in ("fit", "probe") else []
        if config.enable_progress_bar is not False and not any(isinstance(one, ProgressBar) for one in own):
            first.append(ProgressLine())
        callbacks: list[Callback] = [Results(str(self.run_dir)), Panels(str(self.run_dir))]
        if self._method == "fit":
            callbacks += [Curves(), FiniteCheck()]
            if config.enable_checkpointing is not False:
                callbacks.append(Checkpoints(str(self.run_dir), chosen["save_every"]))
            if patience := chosen["early_stopping"]:
                callbacks.append(EarlyStopping(self.model.monitor, mode="max", patience=patience))
        if self.command == "probe":  # an average of no steps would be the weights before the closed form
            own = [callback for callback in own if not isinstance(callback, WeightAveraging)]
            callbacks += [] if any(isinstance(callback, ClosedFormStart) for callback in own) else [ClosedFormStart()]
        elif self.command == "lr_find":  # last, because it ends the fit before later callbacks see the start
            callbacks.append(LRFinder(str(self.run_dir), config.max_steps))
        loggers = run_loggers(config.get("logger"), self.run_dir, self.resumed)
        self.held.push(lambda kind, error, traceback: finish_run(loggers, error))
        kwargs["default_root_dir"] = str(self.run_dir)
        if config.enable_model_summary is None:
            kwargs["enable_model_summary"] = is_shown()
        try:
            trainer = super().instantiate_trainer(callbacks=[*first, *own, *callbacks], logger=loggers, **kwargs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"trainer: {error}") from error
        leave_signals(trainer)
        return trainer

    def fit(self, **kwargs: Any) -> None:
        """Trains the model, or solves its heads (`probe`), or draws the data (`preview`)."""
        if self.command == "preview":
            write_preview(self.datamodule, self.run_dir, self.trainer.loggers)
        elif self.ckpt_path and (limit := reached_limit(self.content, self.trainer)):
            rank_zero_info(f"{self.ckpt_path}: this fit is complete. To train longer, give more --trainer.{limit}.")
        else:
            if self.command == "probe":
                for head in self.model.heads.values():
                    head.solve_alone()
            if self.datamodule.check:
                rank_zero_only(print_check)(self.datamodule)
            self._start(self.trainer.fit, **kwargs)
        if self.command == "probe":
            self.model.calibrates = True
            self.trainer.validate(self.model, self.datamodule, verbose=False, weights_only=True)
            self.trainer.save_checkpoint(self.run_dir / "last.ckpt", weights_only=False)

    def validate(self, **kwargs: Any) -> None:
        self._start(self.trainer.validate, **kwargs, verbose=False)

    def test(self, **kwargs: Any) -> None:
        self._start(self.trainer.test, **kwargs, verbose=False)

    def _start(self, method: Callable[..., Any], **kwargs: Any) -> None:
        try:
            method(**kwargs | {"ckpt_path": self.ckpt_path, "weights_only": True})
        except Interrupted:
            if self.command == "fit" and (self.run_dir / "last.ckpt").is_file():
                rank_zero_info(
                    f"Saved step {self.trainer.global_step}. To resume: {resume_command(self.typed, self.run_dir)}"
                )
            if self.launched:
                sys.exit()  # Lightning would kill the first process if another one ends with another status
            raise
        except OSError as error:
            if error.filename or not error.strerror:
                raise
            raise InputError(f"{self.run_dir}: a file cannot be written ({error.strerror}).") from error
        except RuntimeError as error:
            if self.checkpoint is None or "loading state_dict" not in str(error):
                raise
            raise misfit(self.ckpt_path, self.checkpoint, self.model.backbone.name, error) from None

    def _section(self, name: str) -> Any:
        return self.config[self._method][name]
