"""Tables in the terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> None:
    """Prints a table, whose first columns hold texts, aligned to the left, and the others numbers."""
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < texts else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def shown(value: str | float) -> str:
    """Returns a cell: a text as it is, a number with four decimals, nothing for NaN."""
    if isinstance(value, str):
        return value
    return "" if value != value else f"{value:.4f}"
