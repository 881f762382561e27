"""Reading configs: what is misspelt gets a suggestion, what would be dropped in silence an error."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, get_args

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from visiontasks.core.errors import InputError
from visiontasks.data import VisionDataset
from visiontasks.data.augment import Preset
from visiontasks.losses import Loss
from visiontasks.models import Head
from visiontasks.tasks import VisionTask
from visiontasks.tasks.schedules import Schedule


class Parser(LightningArgumentParser):
    """Takes no abbreviations, and suggests the nearest name where a key or a class is misspelt."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, allow_abbrev=False)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise InputError(message + suggestion(message, self._names())) from ex

    def _names(self) -> set[str]:
        commands = [parser for action in self._actions for parser in getattr(action, "_name_parser_map", {}).values()]
        keys = {option.lstrip("-") for parser in [self, *commands] for option in parser._option_string_actions}
        bases = (VisionDataset, VisionTask, Head, Loss, Schedule)
        return keys | {cls.__name__ for base in bases for cls in _subclasses(base)} | set(get_args(Preset))


def suggestion(message: str, names: set[str]) -> str:
    """`Did you mean ...?` for the first word of a message that is nearly a known name, or nothing."""
    for word in re.findall(r"[A-Za-z_][\w.]*", message):
        close = get_close_matches(word.rstrip("."), names, 1, cutoff=0.8)
        if close and close[0] != word.rstrip("."):
            return f" Did you mean {close[0]!r}?"
    return ""


def check_config(path: str) -> None:
    """Refuses what YAML and jsonargparse would drop without a word.

    Raises:
        InputError: A key stands twice, or a section is included from a file and changed beside that.
    """
    if not Path(path).is_file():
        return  # the parser says so
    keys = read_yaml(Path(path)) or {}
    if not isinstance(keys, dict):
        raise InputError(f"{path}: expected sections such as trainer, model and data; found {keys!r}.")
    for key in keys:
        section = str(key).partition(".")[0]
        if section != key and isinstance(keys.get(section), str):
            raise InputError(
                f"{path}: {key} stands beside `{section}: {keys[section]}` and would be dropped. "
                f"Copy the section here, or give {key} in a second config file or as an argument."
            )


def read_yaml(path: Path) -> Any:
    """Reads a YAML file; a key that stands twice is an error.

    Raises:
        InputError: The file is not YAML.
    """
    try:
        return yaml.load(path.read_text("utf-8"), _Strict)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from None


class _Strict(yaml.SafeLoader):
    """YAML without duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                mark = key_node.start_mark
                raise yaml.YAMLError(
                    f"the key {key_node.value!r} stands twice, the second time in line {mark.line + 1}."
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _subclasses(cls: type) -> set[type]:
    return {cls}.union(*(_subclasses(child) for child in cls.__subclasses__()))
