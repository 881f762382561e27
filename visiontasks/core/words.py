"""Words for numbers of things."""


def counted(number: int, noun: str, total: int | None = None) -> str:
    """Returns a number with its noun: `1 image`, `2 images`, `1 of 9 images`."""
    of = "" if total is None else f" of {total:,}"
    many = f"{noun}es" if noun.endswith(("s", "x")) else f"{noun}s"
    return f"{number:,}{of} {noun if (total or number) == 1 else many}"


def verb(number: int, one: str, many: str) -> str:
    """Returns the form of a verb for a number."""
    return one if number == 1 else many
