"""The configs that are installed with the package: how they are found, listed and copied."""

import argparse
import os
import re
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path

from visiontasks.core.errors import InputError
from visiontasks.core.files import write_text

PACKAGE = Path(__file__).parents[1]
INCLUDE = re.compile(r"^(\w+): (\S+\.yaml)$", re.MULTILINE)
PARTS = ("data/", "sweeps/")  # not for `-c`: sections of other configs, and files for W&B
WIDTH = 110  # of a line of the list


def installed() -> Path:
    """Returns the folder of the installed configs; in a copy of the repository that is its `configs/`."""
    inside = PACKAGE / "configs"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def installed_names() -> list[str]:
    """Returns the short names of the installed configs."""
    return sorted(file.relative_to(installed()).as_posix() for file in installed().rglob("*.yaml"))


def find_config(name: str) -> Path:
    """Returns the path of a config: a file of the user, or else the installed config of this name.

    `classification/folder.yaml`, `classification/folder` and `configs/classification/folder.yaml` name the same
    installed config. A name that is neither is returned as it is.
    """
    own, short = Path(name), name.removeprefix("configs/").removesuffix(".yaml")
    file = installed() / f"{short}.yaml"
    is_inside = short != "" and not own.is_absolute() and ".." not in own.parts
    # unlike the methods of Path, these give False for a text that is too long for a path
    return file if is_inside and not os.path.exists(own) and os.path.isfile(file) else own


def with_installed(args: Sequence[str]) -> list[str]:
    """Returns the arguments of a command with the paths of the configs that `-c` and `--config` name."""
    found = []
    for before, arg in zip(["", *args], args, strict=False):
        flag, _, value = arg.partition("=")
        if before in ("-c", "--config"):
            arg = str(find_config(arg))
        elif flag == "--config" and value:
            arg = f"{flag}={find_config(value)}"
        found.append(arg)
    return found


def copy_config(name: str, folder: Path) -> list[Path]:
    """Writes an installed config, with the sections that it includes, to a folder; a study with its config.

    Raises:
        InputError: There is no such config, or a file of this name is there already.
    """
    source = installed() / f"{name.removeprefix('configs/').removesuffix('.yaml')}.yaml"
    if ".." in Path(name).parts or not source.is_file():
        close = get_close_matches(name, installed_names(), 1)
        hint = f"Did you mean {close[0]!r}?" if close else "`visiontasks configs` lists all."
        raise InputError(f"no installed config {name!r}. {hint}")
    copied = []

    def included(found: re.Match[str]) -> str:
        key, other = found[1], (source.parent / found[2]).resolve()
        if key != "config":
            return f"{key}:\n{textwrap.indent(other.read_text('utf-8').rstrip(), '  ')}"
        copied.extend(copy_config(other.relative_to(installed().resolve()).as_posix(), folder))
        return f"config: {other.name}"

    target = folder / source.name
    if target.exists():
        raise InputError(f"{target}: a file of this name is there already. Move it, or copy from another folder.")
    write_text(target, INCLUDE.sub(included, source.read_text("utf-8")))
    return [target, *copied]


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Lists the installed configs, or copies one to the working directory."""
    if options.copy:
        print(*copy_config(options.copy, Path()), sep="\n")
        return
    shown = {name: _described(installed() / name) for name in installed_names() if not name.startswith(PARTS)}
    width = max(map(len, shown)) + 2
    for name, text in shown.items():
        print(f"{name:{width}}{textwrap.shorten(text, WIDTH - width, placeholder=' ...')}".rstrip())


def _described(file: Path) -> str:
    """Returns what the comment at the top of a config says, without the command that uses it."""
    lines = takewhile(lambda line: line.startswith("# "), file.read_text("utf-8").splitlines())
    return " ".join(line[2:] for line in lines if not line.startswith("# visiontasks"))
