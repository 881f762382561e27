"""What all predictions of a run say together."""

from collections import Counter
from typing import Any

from visiontasks.core.tables import some

NOTHING, SHARE = "(none)", "share of "


class Tally:
    """Counts the classes in predictions, and averages the numbers.

    Args:
        spec: The spec of the model.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.names = {name for key, names in spec.items() if key.endswith("_names") for name in names}
        self.counts: dict[str, Counter[str]] = {}
        self.sums: Counter[str] = Counter()
        self.images = 0

    def add(self, record: dict[str, Any]) -> None:
        """Adds what `record_of` says of an image."""
        self.images += 1
        for column, value in record.items():
            if isinstance(value, list):  # of objects
                self._count(column, [row["label"] for row in value])
            elif isinstance(value, float):
                if column in self.names or column.startswith(SHARE):  # not a score or a corner of a box
                    self.sums[column] += value
            elif column.startswith("label"):
                self._count(column, self._classes(value or NOTHING))

    def lines(self) -> list[str]:
        """Returns a line for each column with classes, for the shares of pixels and for other numbers."""
        lines = []
        for column, counter in self.counts.items():
            parts = [f"{name} {count}" for name, count in counter.most_common()]
            lines.append(f"{column}: {some(parts) or NOTHING}")
        means = sorted(((name, total / self.images) for name, total in self.sums.items()), key=lambda pair: -pair[1])
        shares = [f"{name.removeprefix(SHARE)} {100 * mean:.3g}%" for name, mean in means if name.startswith(SHARE)]
        numbers = [f"{name} {mean:.4g}" for name, mean in means if not name.startswith(SHARE)]
        lines += [f"mean share of the pixels: {some(shares)}"] if shares else []
        return lines + ([f"mean: {some(numbers)}"] if numbers else [])

    def _count(self, column: str, classes: list[str]) -> None:
        self.counts.setdefault(column, Counter()).update(classes)

    def _classes(self, cell: str) -> list[str]:
        """Returns the classes of a cell; `labels` may have several."""
        return [cell] if cell in self.names else cell.split("; ")
