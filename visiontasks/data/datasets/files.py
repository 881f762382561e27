"""Paths of many files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload


class Files(Sequence[Path]):
    """Paths that are made when they are asked for: those of 100,000 files take half a second.

    Attributes:
        names: The paths as text, which may have another spelling than that of `Path`.
        sizes: The lengths of the files in bytes, if known; negative for one that is missing.
    """

    def __init__(self, names: Sequence[str], sizes: Sequence[int] = ()) -> None:
        self.names, self.sizes = names, sizes

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        return [*map(Path, self.names[index])] if isinstance(index, slice) else Path(self.names[index])

    def has(self, index: int) -> bool:
        """Returns whether a file is there, or nothing is known of it."""
        return not self.sizes or self.sizes[index] >= 0

    def __iter__(self) -> Iterator[Path]:
        return map(Path, self.names)
