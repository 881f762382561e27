"""Reading of configs, with suggestions for misspelled names and errors for keys that would be silently dropped."""

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, get_args

import yaml
from jsonargparse import get_loader, set_loader, set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from visiontasks.cli.given import check_file
from visiontasks.core.bounded import check_yaml
from visiontasks.core.compat import forget_options_of_replaced_classes, option_names
from visiontasks.core.errors import InputError
from visiontasks.core.moved import current
from visiontasks.data import VisionDataset
from visiontasks.data.augment import Preset
from visiontasks.losses import Loss
from visiontasks.models import Head
from visiontasks.tasks import Schedule, VisionTask

QUOTE = " Quote words such as no, 007 and null, which YAML reads as other values."
SECTIONS = ("trainer", "model", "data")


class Parser(LightningArgumentParser):
    """Parser without abbreviations, which suggests the nearest name for a misspelled key or class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, allow_abbrev=False)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if "Expected a <class 'str'>. Got value:" in message:
            raise InputError(message.removesuffix(QUOTE) + QUOTE) from ex
        bases = (VisionDataset, VisionTask, Head, Loss, Schedule)
        classes = {cls.__name__ for base in bases for cls in _subclasses(base)}
        raise InputError(message + suggestion(message, option_names(self) | classes | {*get_args(Preset)})) from ex


def suggestion(message: str, names: set[str]) -> str:
    """Returns `Did you mean ...?` for the first word of a message that resembles a known name, or an empty string."""
    for word in re.findall(r"[A-Za-z_][\w.]*", message):
        close = get_close_matches(word.rstrip("."), names, 1, cutoff=0.8)
        if close and close[0] != word.rstrip("."):
            return f" Did you mean {close[0]!r}?"
    return ""


def read_config(path: Path) -> dict[str, Any]:
    """Reads a config with the sections that it includes from files in its folder.

    Raises an InputError if the file is missing or not a config, if a key appears twice, or if a section is both
    included and changed; jsonargparse would silently drop the change.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        found = "nothing" if content is None else repr(str(content)[:200])
        raise InputError(f"{path}: expected sections such as trainer, model and data; found {found}.")
    for key in SECTIONS:
        if not isinstance(content.get(key, {}), dict | str):
            raise InputError(f"{path}: {key}: {str(content[key])[:100]} is not a section of settings. Remove it.")
    for key in content:
        section = str(key).partition(".")[0]
        if section != key and isinstance(content.get(section), str):
            raise InputError(
                f"{path}: {key} next to `{section}: {content[section]}` would be dropped. "
                f"Copy the section here, or give {key} in a second config file or as an argument."
            )
    included = {key: value for key, value in content.items() if key in SECTIONS and isinstance(value, str) and value}
    for key, value in included.items():
        check_section(value, path.parent, f"{path}: {key}")
    files = {key: path.parent / value for key, value in included.items()}
    return content | {key: read_yaml(file) for key, file in files.items() if _is_file(file)}


def check_section(value: str, folder: Path, where: str) -> None:
    """Raises an InputError, which begins with `where`, if a section names a folder, or a pipe, which could block."""
    file = folder / value
    if not _is_file(file) and os.path.exists(file):
        raise InputError(f"{where}: {file} is not a file of settings. Name a .yaml file, or give the settings.")


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # unlike Path.is_file, False for a text that is too long for a path


def read_included(path: Path, above: tuple[Path, ...] = ()) -> Any:
    """Reads a config with all files that it names, at any depth; raises an InputError as `read_yaml` does."""
    if path in above:
        raise InputError(f"{path}: includes itself.")
    return _included(read_yaml(path), (*above, path))


def _included(value: Any, above: tuple[Path, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _included(item, above) for key, item in value.items()}
    if isinstance(value, list):
        return [_included(item, above) for item in value]
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        file = (above[-1].parent / value).resolve()
        return read_included(file, above) if file.is_file() else value
    return value


def read_yaml(path: Path) -> Any:
    """Reads a YAML file by `load_yaml`; raises an InputError if it is missing or not YAML."""
    check_file(path)
    try:
        return load_yaml(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, InputError) as error:
        raise InputError(f"{path}: not YAML: {error}") from None


def load_yaml(text: str) -> Any:
    """Reads YAML like jsonargparse, but replaces old names by those of today and refuses duplicate keys.

    Raises:
        yaml.YAMLError: It is not YAML, or so large, deep or full of aliases that reading it would take long.
    """
    check_yaml(text)
    try:
        return current(_plain_yaml(text))
    except (ValueError, TypeError, OverflowError) as error:  # such as an integer of 5,000 digits
        raise yaml.YAMLError(str(error)) from None


_plain_yaml = get_loader("yaml")
set_loader("yaml", load_yaml, exceptions=(yaml.YAMLError,))
forget_options_of_replaced_classes(VisionTask)  # tasks share backbone, optimizer and schedule
set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning lets `-c http://...` fetch a config


def _subclasses(cls: type) -> set[type]:
    return {cls}.union(*(_subclasses(child) for child in cls.__subclasses__()))
