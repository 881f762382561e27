"""The user's own modules, which `--imports` and `imports` in a config name."""

import argparse
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from visiontasks.core.errors import InputError


def import_modules(names: Any) -> list[ModuleType]:
    """Imports the user's own modules, also from the working directory; raises an InputError if that fails."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"imports: {names!r} is not a list of modules, such as [my_package.my_module].")
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    found = []
    for name in names:
        try:
            found.append(import_module(name))
        except (ImportError, SyntaxError, ValueError, TypeError) as error:
            raise InputError(f"imports: the module {name!r} cannot be imported: {error}.") from error
    return found


def trust_of(options: argparse.Namespace, model: str) -> bool | list[ModuleType]:
    """Returns whether a model may run code (`.pt2` file), or else the imported modules whose classes it may name."""
    return options.trust if model.endswith(".pt2") else import_modules(options.imports)
