"""Types of arguments that have limits."""

import argparse
import math
from collections.abc import Callable


def at_least(minimum: int, maximum: float = math.inf) -> Callable[[str], int]:
    """Returns the argument type of integers from a minimum to a maximum."""

    def integer(text: str) -> int:
        if not minimum <= (number := int(text)) <= maximum:
            limit = f" and {maximum:g} or less" if maximum < math.inf else ""
            raise argparse.ArgumentTypeError(f"{number} must be {minimum} or more{limit}.")
        return number

    return integer


def between(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Returns the argument type of finite numbers from `low` to `high`."""

    def number(text: str) -> float:
        if not (low <= (value := float(text)) <= high and math.isfinite(value)):
            limit = f" and {high:g} or less" if high < math.inf else ""
            raise argparse.ArgumentTypeError(f"{text} must be {low:g} or more{limit}.")
        return value

    return number
