"""Objects from the plain data of a checkpoint or a config, built from a table of known classes only."""

import dataclasses
import inspect
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from visiontasks.core.errors import InputError
from visiontasks.core.moved import MOVED
from visiontasks.core.serialize import SCALARS, public_path

MOST_VALUES = 100_000  # in a description; the largest of ours has 22,000 class names

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 100


def build(value: Any, hint: Any, classes: Mapping[str, type], where: str = "model") -> Any:
    """Builds the object that a description names, without importing anything.

    Args:
        value: The result of `serialize`, or a part of a config, from any source, trusted or not.
        hint: Type hint of the result. A class stands for an instance, a callable that returns a class for a
            `functools.partial` of it. The arguments are checked against the hints of its constructor in the same way.
        classes: The only classes that may be named; see `class_table`.
        where: Name of the value in error messages.

    Raises:
        InputError: A class is not in the table or not a subclass of its hint, or an argument is unknown or has the
            wrong type.
    """
    return _walk(value, hint, classes, where)


def check(value: Any, hint: Any, classes: Mapping[str, type], where: str = "model") -> Any:
    """Returns a description with the public path of each class, if `build` would accept it; see `build`."""
    return _walk(value, hint, classes, where, describe=True)


def check_bounds(value: Any, where: str) -> None:
    """Raises an InputError, which begins with `where`, if nested data is too large or too deep to process."""
    try:
        count = _count(value, {})
    except RecursionError:
        count = math.inf
    if count > MOST_VALUES:
        raise InputError(f"{where}: nested too deeply, or more than {MOST_VALUES:,} values.")


def _count(value: Any, known: dict[int, float]) -> float:
    # a value in several places counts in each of them; a cycle is infinite
    if not isinstance(value, dict | list | tuple):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(value)]


def _walk(value: Any, hint: Any, classes: Mapping[str, type], where: str, describe: bool = False) -> Any:
    check_bounds(value, where)
    try:
        return _Walk(classes, describe).value(value, hint, where)
    except RecursionError:
        raise InputError(f"{where}: nested too deeply.") from None


@dataclasses.dataclass(frozen=True)
class _Walk:
    """Visits a description together with its type hints, and builds or, with `describe`, describes each object."""

    classes: Mapping[str, type]
    describe: bool

    def value(self, value: Any, hint: Any, where: str) -> Any:
        kind, args = get_origin(hint) or hint, get_args(hint)
        if kind in (Union, UnionType):
            return self._union(value, args, where)
        if kind is Literal:
            if any(type(value) is type(choice) and value == choice for choice in args):
                return value
        elif kind is Callable:
            return self._object(value, args[-1] if args else (), where, later=True)
        elif kind in (list, tuple, Sequence, Iterable):
            if isinstance(value, list | tuple):
                return self._items(value, kind, args, where)
        elif kind in (dict, Mapping):
            if isinstance(value, dict) and "class_path" in value:
                return self._plain(value, where)
            if isinstance(value, dict):
                inner = args[1] if args else Any
                return {key: self.value(item, inner, f"{where}.{key}") for key, item in value.items()}
        elif kind in SCALARS or kind is None:
            if type(value) is (kind or type(None)) or (kind is float and type(value) is int):
                return value
        elif isinstance(kind, type) and issubclass(kind, PurePath | Enum):
            if isinstance(value, str):
                return value
        elif isinstance(kind, type) and kind not in (Any, object):
            return self._object(value, kind, where)
        else:
            return self._plain(value, where)
        raise InputError(f"{where}: found {_repr.repr(value)}; expected {_shown(hint)}.")

    def _union(self, value: Any, hints: Sequence[Any], where: str) -> Any:
        errors = []
        for hint in hints:
            try:
                return self.value(value, hint, where)
            except InputError as error:
                errors.append(error)
        # the longest message is about the deepest place or names a class; the other hints did not match at all
        raise max(errors, key=lambda error: len(str(error)))

    def _items(self, values: Sequence[Any], kind: Any, hints: tuple[Any, ...], where: str) -> Any:
        if kind is not tuple or hints[1:] == (...,):
            hints = (hints[0] if hints else Any,) * len(values)
        if len(hints) != len(values):
            raise InputError(f"{where}: {_repr.repr(values)} has {len(values)} values; expected {len(hints)}.")
        pairs = enumerate(zip(values, hints, strict=True))
        items = [self.value(item, hint, f"{where}[{i}]") for i, (item, hint) in pairs]
        return tuple(items) if kind is tuple else items

    def _object(self, value: Any, base: Any, where: str, later: bool = False) -> Any:
        """Makes an object of a subclass of `base`, or with `later` a partial of the class."""
        if isinstance(value, str):
            value = {"class_path": value}
        if not isinstance(value, dict):
            raise InputError(f"{where}: {_repr.repr(value)} is not a `class_path` with `init_args`.")
        is_final = dataclasses.is_dataclass(base) or getattr(base, "__final__", False)  # needs no `class_path`
        if "class_path" not in value and not later and is_final:
            return self._make(base, value, where)
        cls = self._class(value, where)
        if not issubclass(cls, get_args(base) or base):
            raise InputError(f"{where}: {value['class_path']} is not the expected {_shown(base)}.")
        if unknown := value.keys() - {"class_path", "init_args"}:
            key = _repr.repr(min(unknown, key=str))
            raise InputError(f"{where}: unknown key {key} next to class_path; expected init_args.")
        return self._make(cls, value.get("init_args") or {}, where, later)

    def _make(self, cls: type, given: Any, where: str, later: bool = False) -> Any:
        if not isinstance(given, dict):
            raise InputError(f"{where}: {_repr.repr(given)} is not a dict of the arguments of {cls.__name__}.")
        hints = _argument_hints(cls)
        for name in given:
            if name not in hints:
                close = get_close_matches(str(name), hints, 1)
                more = f"; did you mean {close[0]!r}?" if close else f"; it takes {', '.join(hints) or 'none'}."
                raise InputError(f"{where}: {cls.__name__} has no argument {_repr.repr(name)}{more}")
        arguments = {name: self.value(item, hints[name], f"{where}.{name}") for name, item in given.items()}
        if self.describe:
            return {"class_path": public_path(cls), "init_args": arguments}
        return partial(cls, **arguments) if later else cls(**arguments)

    def _class(self, value: dict[Any, Any], where: str) -> type:
        path = value.get("class_path")
        cls = self.classes.get(MOVED.get(path, path)) if isinstance(path, str) else None
        if cls is None:
            module = str(path).rpartition(".")[0][:100] or "MODULE"
            raise InputError(
                f"{where}: the class {_repr.repr(path)} is not an allowed class of visiontasks, torch or "
                f"albumentations. If you trust it, pass `--imports {module}` (in Python `trust=[module]`)."
            )
        return cls

    def _plain(self, value: Any, where: str) -> Any:
        """Checks data without a type hint; a dict with `class_path`, such as a transform, needs a known class."""
        if isinstance(value, dict) and all(isinstance(key, str | int) for key in value):
            known = {"class_path": public_path(self._class(value, where))} if "class_path" in value else {}
            return {key: self._plain(item, f"{where}.{key}") for key, item in value.items()} | known
        if isinstance(value, list | tuple):
            return [self._plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        if type(value) in SCALARS:
            return value
        raise InputError(f"{where}: {_repr.repr(value)} is not a number, string, list or dict.")


def _argument_hints(cls: type) -> dict[str, Any]:
    _, *parameters = inspect.signature(cls.__init__).parameters.values()
    hints = get_type_hints(cls.__init__)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {one.name: hints.get(one.name, Any) for one in parameters if one.kind not in variadic}


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
