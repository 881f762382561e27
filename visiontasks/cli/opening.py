"""The data of a config, without its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visiontasks.cli.parser import Parser, check_config, read_yaml
from visiontasks.core.errors import InputError
from visiontasks.data import VisionDataModule


def open_data(config: Path, more: Sequence[str] = ()) -> VisionDataModule:
    """Builds the DataModule that a config describes.

    Args:
        config: A config of `fit`, or the `config.yaml` of a run.
        more: Arguments that change it, such as `--data.dataset.root PATH`.

    Raises:
        InputError: The file, a key or an argument is wrong.
    """
    if not config.is_file():
        raise InputError(f"{config}: no such config, which would tell the images. Give it with `-c CONFIG`.")
    check_config(str(config))
    section = (read_yaml(config) or {}).get("data")
    if isinstance(section, str):
        config = config.parent / section
        section = read_yaml(config)
    if not isinstance(section, dict):
        raise InputError(f"{config}: no section `data`; expected a config of `fit`.")
    parser = Parser()
    parser.add_class_arguments(VisionDataModule, "data", fail_untyped=False)
    given = parser.parse_object({"data": section}, defaults=True)
    chosen = parser.parse_args(list(more), namespace=given)
    return parser.instantiate(chosen).data
