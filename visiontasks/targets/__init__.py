"""Target kinds, one file per key of a sample; a new file here is known everywhere by its key. Needs no torch."""

from importlib import import_module
from pkgutil import iter_modules

from visiontasks.targets.base import Difference, Known, Target, find_target, is_empty, names_of, target_kinds

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["Difference", "Known", "Target", "find_target", "is_empty", "names_of", "target_kinds"]
