"""The error for wrong user input."""

LONGEST = 2000  # characters: a broken file can have names of any length


class InputError(ValueError):
    """Wrong user input; the message is complete, except for the middle of a very long one, and needs no traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= LONGEST else f"{message[:1500]} ... {message[-400:]}")
