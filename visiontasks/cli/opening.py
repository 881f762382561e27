"""Opening of the data and the model of a config."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import seed_everything

from visiontasks import data, tasks
from visiontasks.cli.imports import import_modules
from visiontasks.cli.parser import Parser, read_config
from visiontasks.cli.runs import RUN_DIR, run_directory, runs_folder
from visiontasks.core.build import check
from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Trusted, class_table, members, public_path, trusted_classes
from visiontasks.data import VisionDataModule
from visiontasks.tasks import VisionTask


def open_data(config: Path, more: Sequence[str] = (), beside: bool = False, trust: Trusted = ()) -> VisionDataModule:
    """Builds the DataModule that a config describes.

    Args:
        config: A config of `fit`, or the `config.yaml` of a run.
        more: Arguments that change the config, such as `--data.dataset.root PATH`.
        beside: Whether the config was found in the folder of a model instead of being named by the user; such a config
            may only name `data_classes`.
        trust: The user's own modules or classes, which such a config may name too.

    Raises:
        InputError: The file, a key or an argument is wrong.
    """
    return _open({"data": read_data(config, beside, trust)}, more).data


def read_data(config: Path, beside: bool = False, trust: Trusted = ()) -> dict[str, Any]:
    """Returns the section `data` of a config; see `open_data`."""
    section = _read(config, beside).get("data")
    if not isinstance(section, dict):
        raise InputError(f"{config}: no section `data`; expected a config of `fit`.")
    if beside:
        whole = {"class_path": public_path(VisionDataModule), "init_args": section}
        section = check(whole, VisionDataModule, data_classes(trust), f"{config}: data")["init_args"]
    return section


def predicted_keys(config: Path) -> tuple[str, ...]:
    """Returns the keys of the targets that the model of a config predicts; empty if this cannot be told."""
    model = read_config(config).get("model") or {}
    heads = (model.get("init_args") or {}).get("heads")
    task = getattr(tasks, str(model.get("class_path")).rpartition(".")[2], None)
    return tuple(heads) if isinstance(heads, dict) else getattr(task, "keys", ())


def open_task(config: Path, more: Sequence[str] = ()) -> tuple[VisionTask, VisionDataModule, Path]:
    """Builds the model and the data of a config that the user named; creates a run directory like that of a fit."""
    content = _read(config)
    given = {"trainer": {"default_root_dir": (content.get("trainer") or {}).get("default_root_dir")}}
    os.environ.pop(RUN_DIR, None)  # left by an earlier run in this process
    seed = content.get("seed_everything")
    seed_everything(seed if type(seed) is int else 0, verbose=False)
    given |= {key: content[key] for key in ("data", "model") if key in content}
    opened = _open(given, more, model=True)
    folder = runs_folder(opened.trainer.default_root_dir, ["-c", str(config), *more])
    return opened.model, opened.data, run_directory(folder)


def data_classes(trust: Trusted = ()) -> dict[str, type]:
    """Returns the only classes that a config found beside a model may name; see `class_table`."""
    import albumentations as A

    from visiontasks.data import transforms

    kinds = (A.BasicTransform, A.BaseCompose)
    return class_table([*members(data), *members(transforms, kinds), *members(A, kinds), *trusted_classes(trust)])


def _read(config: Path, beside: bool = False) -> dict[str, Any]:
    if not config.is_file():
        raise InputError(f"{config}: no such config for the data. Give one with `-c CONFIG`.")
    content = read_config(config)
    if not beside:
        import_modules(content.get("imports") or [])
    return content


def _open(content: dict[str, Any], more: Sequence[str], model: bool = False) -> Namespace:
    """Builds the data of a config, and with `model` the model; `more` are arguments that change the config."""
    parser = Parser()
    parser.add_class_arguments(VisionDataModule, "data", fail_untyped=False)
    if model:
        parser.add_lightning_class_args(VisionTask, "model", subclass_mode=True)
        parser.link_arguments("data.spec", "model.init_args.spec", apply_on="instantiate")
        parser.add_argument("--trainer.default_root_dir", type=str | None)
    given = parser.parse_object(content, defaults=True)
    return parser.instantiate(parser.parse_args(list(more), namespace=given))
