"""Objects as plain data: the `class_path` and `init_args` that would build them again.

A checkpoint holds its model in this form, and `visiontasks.core.build` is the way back.
"""

import inspect
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

from visiontasks.core.compat import class_of_partial
from visiontasks.core.errors import InputError

SCALARS = (str, int, float, bool, type(None))
Trusted = Sequence[ModuleType | type]


class Configurable:
    """Remembers the arguments it was built with, for `serialize`."""

    _arguments: inspect.BoundArguments

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        with suppress(TypeError):  # __init__ raises the same, with the caller's traceback
            # past nn.Module.__setattr__, which cannot be used before its __init__
            self.__dict__["_arguments"] = inspect.signature(cls.__init__).bind(self, *args, **kwargs)
        return self


def serialize(value: Any, where: str = "model") -> Any:
    """Describes an object in plain data, from which `build` makes an equal one.

    Args:
        value: A plain value, a list, tuple or dict of such, a `Configurable` object, a class, or a
            `functools.partial` of a class.
        where: Name of the value in an error message.

    Returns:
        str, int, float, bool, None, list or dict.

    Raises:
        InputError: The value has no description in plain data: a checkpoint could not hold it.
    """
    if type(value) in SCALARS:
        return value
    if isinstance(value, list | tuple):
        return [serialize(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: serialize(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Configurable):
        bound = value._arguments
        return _class_and_arguments(type(value), dict(list(bound.arguments.items())[1:]), where)  # without self
    if isinstance(value, type):
        return _class_and_arguments(value, {}, where)
    if isinstance(value, partial) and (cls := class_of_partial(value)):
        return _class_and_arguments(cls, value.keywords, where)
    raise InputError(
        f"{where}: {value!r} cannot be stored in a checkpoint. Give numbers, strings, lists or dicts of them, "
        "a visiontasks object, a class, or functools.partial of a class."
    )


def public_path(cls: type) -> str:
    """The shortest path of a class: of the first of its module's parents that exposes this very class by its name."""
    parts = cls.__module__.split(".")
    modules = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    known = [name for name in modules if name in sys.modules]
    exposing = (name for name in known if vars(sys.modules[name]).get(cls.__qualname__) is cls)
    return f"{next(exposing, cls.__module__)}.{cls.__qualname__}"


def class_table(classes: Iterable[type]) -> dict[str, type]:
    """Classes by all the names that a description may give them: public path, path of the module, or name alone."""
    table: dict[str, type] = {}
    for cls in classes:
        for name in (public_path(cls), f"{cls.__module__}.{cls.__qualname__}", cls.__name__):
            table.setdefault(name, cls)
    return table


def members(module: ModuleType, base: type | tuple[type, ...] = object) -> list[type]:
    """The subclasses of `base` among the names of a module."""
    return [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)]


def trusted_classes(trust: Trusted) -> list[type]:
    """The classes that a user trusts: given ones, and those that given modules define."""
    found = [item for item in trust if isinstance(item, type)]
    for module in trust:
        if isinstance(module, ModuleType):
            found += [cls for cls in members(module) if f"{cls.__module__}.".startswith(f"{module.__name__}.")]
    return found


def _class_and_arguments(cls: type, given: dict[str, Any], where: str) -> dict[str, Any]:
    init_args = {name: serialize(item, f"{where}.{name}") for name, item in given.items()}
    # the defaults too: a later version may have others
    for name, parameter in inspect.signature(cls).parameters.items():
        if name not in init_args and parameter.default is not parameter.empty:
            with suppress(InputError):  # what is no plain data is left to the class
                init_args[name] = serialize(parameter.default)
    return {"class_path": public_path(cls), "init_args": init_args}
