"""Objects as plain data: the `class_path` and `init_args` that rebuild them.

A checkpoint stores its model in this form; `visiontasks.core.build` is the inverse.
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
    """An object that remembers the arguments of its constructor, for `serialize`."""

    _arguments: inspect.BoundArguments

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        with suppress(TypeError):  # __init__ raises the same, with the caller's traceback
            # nn.Module.__setattr__ cannot be used before nn.Module.__init__
            self.__dict__["_arguments"] = inspect.signature(cls.__init__).bind(self, *args, **kwargs)
        return self


def serialize(value: Any, where: str = "model") -> Any:
    """Describes an object as plain data, from which `build` makes an equal one.

    Args:
        value: A str, int, float, bool or None, a list, tuple or dict of values, a `Configurable` object, a class, or a
            `functools.partial` of a class.
        where: Name of the value in error messages.

    Raises:
        InputError: The value has no description as plain data, so a checkpoint could not store it.
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
    """Returns the shortest path of a class, by the first parent of its module that exposes this very class."""
    parts = cls.__module__.split(".")
    modules = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    known = [name for name in modules if name in sys.modules]
    exposing = (name for name in known if vars(sys.modules[name]).get(cls.__qualname__) is cls)
    return f"{next(exposing, cls.__module__)}.{cls.__qualname__}"


def class_table(classes: Iterable[type]) -> dict[str, type]:
    """Maps all names that a description may use to the classes: public path, path of the module, and bare name."""
    table: dict[str, type] = {}
    for cls in classes:
        for name in (public_path(cls), f"{cls.__module__}.{cls.__qualname__}", cls.__name__):
            table.setdefault(name, cls)
    return table


def members(module: ModuleType, base: type | tuple[type, ...] = object) -> list[type]:
    """Returns the subclasses of `base` among the names of a module."""
    return [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)]


def trusted_classes(trust: Trusted) -> list[type]:
    """Returns the classes that a user trusts: the given classes and those that the given modules define."""
    modules = [item for item in trust if isinstance(item, ModuleType)]
    defined = [cls for one in modules for cls in members(one) if f"{cls.__module__}.".startswith(f"{one.__name__}.")]
    return [*(item for item in trust if isinstance(item, type)), *defined]


def _class_and_arguments(cls: type, given: dict[str, Any], where: str) -> dict[str, Any]:
    init_args = {name: serialize(item, f"{where}.{name}") for name, item in given.items()}
    # defaults are stored too, because a later version may change them
    for name, parameter in inspect.signature(cls).parameters.items():
        if name not in init_args and parameter.default is not parameter.empty:
            with suppress(InputError):  # the class keeps defaults that are not plain data
                init_args[name] = serialize(parameter.default)
    return {"class_path": public_path(cls), "init_args": init_args}
