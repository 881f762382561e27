"""Tables and pairs of a title and a text in the terminal."""

import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from visiontasks.core.live import hide_loading

WIDTH = 200  # of a file, which has no width of its own


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> None:
    """Prints a title and a table, whose first columns hold texts, aligned to the left, and the others numbers."""
    hide_loading()
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < texts else "right")
    for row in rows:
        table.add_row(*row)
    # without markup, because names of classes may have brackets
    console = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, emoji=False, highlight=False)
    console.print(title, table, "", sep="\n")


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Prints a line per pair, the texts one below the other."""
    hide_loading()
    known = list(pairs)
    width = max((len(title) for title, _ in known), default=0)
    for title, text in known:
        print(f"{title:{width}}  {text}", flush=True)


def shown(value: str | float) -> str:
    """Returns a cell: a text as it is, a number with four decimals, nothing for NaN."""
    if isinstance(value, str):
        return value
    return "" if value != value else f"{value:.4f}"


def some(parts: Sequence[str], width: int = 84, first: int = 3) -> str:
    """Joins parts in their order, as many as fit into a line: the first ones, and the last ones, with a number for
    those left out."""
    if len(whole := ", ".join(parts)) <= width or len(parts) <= first:
        return whole
    last = list(parts[first:])
    while True:
        last = last[1:]
        line = ", ".join([*parts[:first], f"... ({len(parts) - first - len(last)} more)", *last])
        if len(line) <= width or not last:
            return line
