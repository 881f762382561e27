"""Every private or undocumented part of a library that the package touches, one function for each.

Each names the library and the version in which it was last seen, and says why no public way exists. Each has a test
in tests/test_compat.py that fails when the library changes the part.
"""

from __future__ import annotations

from functools import partial
from typing import Any

# Libraries are imported inside the functions: importing this module imports none of them.


def class_of_partial(value: partial) -> type | None:
    """The class that a partial will make an object of, also where jsonargparse made the partial of a callable type."""
    # jsonargparse 4.53. It wraps the class for its own instantiation: the last positional argument of its partial is
    # the class, and `func` is a private function. Nothing public tells what a built callable will make.
    return next((item for item in reversed((value.func, *value.args)) if isinstance(item, type)), None)


def option_names(parser: Any) -> set[str]:
    """The names of all options of a jsonargparse parser and its subcommands, without dashes."""
    # argparse of Python 3.11, jsonargparse 4.53. `get_defaults` leaves out what has none, and subcommands; the help
    # is cut by the width of the terminal.
    commands = [sub for action in parser._actions for sub in getattr(action, "_name_parser_map", {}).values()]
    return {option.lstrip("-") for one in [parser, *commands] for option in one._option_string_actions}
