"""Objects as plain data: the `class_path` and `init_args` that would build them again.

A checkpoint holds its model so, and nothing in it has to be unpickled to build the model from it.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import partial
from typing import Any

from visiontasks.core.errors import InputError

Plain = str | int | float | bool | None


class Described:
    """Remembers the arguments it was built with, for `describe`."""

    _arguments: inspect.BoundArguments

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        with suppress(TypeError):  # __init__ raises the same, with the caller's traceback
            # past nn.Module.__setattr__, which cannot be used before its __init__
            self.__dict__["_arguments"] = inspect.signature(cls.__init__).bind(self, *args, **kwargs)
        return self


def describe(value: Any, where: str = "model") -> Any:
    """Says in plain data how an object is built.

    Args:
        value: A plain value, a list, tuple or dict of such, a `Described` object, a class, or a
            `functools.partial` of a class.
        where: Name of the value in an error message.

    Returns:
        str, int, float, bool, None, list or dict.

    Raises:
        InputError: The value cannot be said in plain data: a checkpoint could not hold it.
    """
    if isinstance(value, Plain) and type(value) in (str, int, float, bool, type(None)):
        return value
    if isinstance(value, list | tuple):
        return [describe(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: describe(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Described):
        bound = value._arguments
        return _class_and_arguments(type(value), dict(list(bound.arguments.items())[1:]), where)  # without self
    if isinstance(value, type):
        return _class_and_arguments(value, {}, where)
    if isinstance(value, partial):
        # jsonargparse wraps the class: its partial's last positional argument
        cls = next((item for item in reversed((value.func, *value.args)) if isinstance(item, type)), None)
        if cls is not None:
            return _class_and_arguments(cls, value.keywords, where)
    raise InputError(
        f"{where}: {value!r} cannot be stored in a checkpoint. Give numbers, strings, lists or dicts of them, "
        "a visiontasks object, a class, or functools.partial of a class."
    )


def class_path(cls: type) -> str:
    """The importable name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _class_and_arguments(cls: type, given: dict[str, Any], where: str) -> dict[str, Any]:
    init_args = {name: describe(item, f"{where}.{name}") for name, item in given.items()}
    # the defaults too: a later version may have others
    for name, parameter in inspect.signature(cls).parameters.items():
        if name not in init_args and parameter.default is not parameter.empty:
            with suppress(InputError):  # what is no plain data is left to the class
                init_args[name] = describe(parameter.default)
    return {"class_path": class_path(cls), "init_args": init_args}
