"""What a command was given, checked before anything heavy is imported, so that a mistake costs no time."""

import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from visiontasks.cli.configs import find_config, installed_names
from visiontasks.cli.words import values_of
from visiontasks.core.errors import InputError

BEST = ("best.ckpt", "last.ckpt")  # what is taken from a run directory, the first that is there
LAST = ("last.ckpt",)
KINDS = {".ckpt": "checkpoint", ".yaml": "config", ".yml": "config"}
FEW = 5  # names in an error
PARTS_OF_SETS = ("data_batch", "train-labels", "train-images")  # of published sets, whose images are in one file


def check_options(options: argparse.Namespace) -> None:
    """Checks the files that a command names, other than those of training, and replaces some of them in `options`.

    A run directory becomes its best checkpoint, and the sources become the `Sources` that `find_sources` finds.

    Raises:
        InputError: A file is missing, a source has no image, or a folder cannot be made.
    """
    given = vars(options)
    for name in ("config", "study"):
        if path := given.get(name):
            check_file(path, KINDS.get(path.suffix, "file"))
    if given.get("format") == "onnx" and not str(given["checkpoint"]).endswith(".onnx"):
        check_extra("onnx", "onnxscript", "onnxruntime")
    if path := given.get("output"):
        check_place(path.parent if {"format", "folder"} & {*given} or path.suffix == ".html" else path)
    if folder := given.get("folder"):
        given["output"] = check_folder(folder, given["output"], given["layout"])
    for name in ("model", "checkpoint", "ckpt_path"):
        if isinstance(model := given.get(name), list):
            given[name] = [find_model(one) for one in model]
        elif model and not ("pretrained" in given and _is_name(model)):
            given[name] = type(model)(find_model(model))
    for name in ("source", "samples"):
        if given.get(name):
            from visiontasks.predict.find import find_sources

            given[name] = find_sources(given[name], given.get("every", 1), given.get("skip_errors", False))


def check_training(command: str, args: Sequence[str]) -> None:
    """Checks the files that the arguments of a training command name; raises an InputError if one is missing."""
    for path in values_of(args, "-c", "--config"):
        if os.path.isdir(path) and find_config(path) == Path(path):
            raise InputError(f"{path}: a folder, not a config. `visiontasks init {path}` writes a config for it.")
        folder = os.path.splitext(path)[0]
        hint = f" `visiontasks init {folder}` writes it." if os.path.isdir(folder) else ""
        check_file(find_config(path), note=hint and f" yet.{hint}")
    if (given := ckpt_path(args)) and not (command == "fit" and given in ("auto", "last")):
        model = find_model(given, LAST if command == "fit" else BEST)
        if command in ("validate", "test"):
            config_beside(model, args)


def check_extra(*modules: str) -> None:
    """Raises an InputError if a module of the extra `export` is not installed."""
    for name in modules:
        if find_spec(name) is None:
            raise InputError(f"--format onnx needs {name}: pip install 'visiontasks[export]'.")


def check_folder(folder: Path, output: Path | None, layout: str | None) -> Path:
    """Checks the folder for which a config is written, and returns the path of the config.

    Args:
        folder: The folder.
        output: The path, if it is given.
        layout: The layout, if it is given; a part of the default name, so that the first config stays.

    Raises:
        InputError: There is no such folder, it has no images, or the config is there already.
    """
    from visiontasks.core.folders import walk, with_suffix  # imports numpy
    from visiontasks.core.images import EXTENSIONS

    if not os.path.isdir(folder):
        raise InputError(f"{folder}: {'not a folder' if os.path.exists(folder) else 'no such folder'}.")
    output = output or Path(f"{folder.resolve().name}{f'_{layout}' if layout else ''}.yaml")
    if output.exists():
        raise InputError(f"{output}: a file of this name is there already. Give another with --output.")
    found = walk(folder, checked=False)
    if not with_suffix(found, EXTENSIONS) and not any(path.name.startswith(PARTS_OF_SETS) for path in found):
        raise InputError(f"{folder}: no images in this folder ({', '.join(EXTENSIONS)}).")
    return output


def config_beside(checkpoint: str, args: Sequence[str]) -> Path | None:
    """Returns the `config.yaml` in the folder of a checkpoint, whose data a test takes if the arguments name no config.

    Raises:
        InputError: There is none, and the arguments name no dataset.
    """
    path = Path(checkpoint).with_name("config.yaml")
    if values_of(args, "-c", "--config", "--data"):
        return None
    if not path.is_file() and not values_of(args, "--data.dataset"):
        raise InputError(f"{path}: no such config for the data. Give one with `-c CONFIG`.")
    return path if path.is_file() else None


def ckpt_path(args: Sequence[str]) -> str | None:
    """Returns the last `--ckpt_path` among the arguments of a training command."""
    return next(reversed(values_of(args, "--ckpt_path")), None)


def find_model(given: str | Path, names: Sequence[str] = BEST) -> str:
    """Returns the path of a model: the given one, or for a run directory the first of these names in it.

    Raises:
        InputError: There is none. For a folder of several runs, the message names the newest one.
    """
    folder = Path(given)
    if not os.path.isdir(folder):
        check_file(given, KINDS.get(folder.suffix, "file"), " (expected a local file; addresses are not fetched)")
        return str(given)
    if name := next((name for name in names if (folder / name).is_file()), None):
        if name != names[0]:
            print(f"{folder} has no {names[0]}: {name} is taken.", file=sys.stderr)
        return str(folder / name)
    runs = [path for name in names for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{name}")]
    if len({path.parent for path in runs}) == 1:
        return str(runs[0])
    if not runs:
        raise InputError(f"{folder}: a folder without {' and '.join(names)}. Give a run directory or a checkpoint.")
    newest = max(runs, key=lambda path: path.stat().st_mtime).parent
    raise InputError(f"{folder}: holds {len({path.parent for path in runs})} runs. Give one; the newest is {newest}.")


def check_file(path: str | Path, kind: str = "file", note: str = "") -> None:
    """Raises an InputError, with similar names that exist, if a path is no regular file; `note` follows the kind."""
    if os.path.isfile(path):  # unlike Path.is_file, False for a text that is too long for a path
        return
    if os.path.exists(path):
        raise InputError(f"{path}: not a regular file.")
    near = similar(Path(path))
    if kind == "checkpoint":
        near = near or sorted(map(str, Path(path).parent.glob("*.ckpt")))[:FEW]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise InputError(f"{path}: no such {kind}{note}.{hint}")


def similar(path: Path) -> list[str]:
    """Returns files of a similar name with the same suffix, in the folder of a path, or installed configs."""
    found = [*path.parent.iterdir()] if os.path.isdir(path.parent) else []
    files = dict.fromkeys(str(one) for one in found if one.suffix == path.suffix and one.is_file())
    files |= dict.fromkeys(installed_names() if KINDS.get(path.suffix) == "config" else [])
    near = get_close_matches(path.stem, {Path(file).stem for file in files}, FEW, cutoff=0.7)
    return get_close_matches(str(path), [file for file in files if Path(file).stem in near], FEW, cutoff=0.0)


def check_place(folder: Path) -> None:
    """Raises an InputError if the folder that `--output` names cannot be made, since it or one above it is a file."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    if not nearest.is_dir():
        raise InputError(f"--output {folder}: the folder cannot be written to, because {nearest} is a file.")


def _is_name(model: str) -> bool:
    from visiontasks.predict.networks import is_name

    return is_name(model)
