"""The error of a user's input."""


class InputError(ValueError):
    """Something the user gave is wrong; the message is complete and is shown without a traceback."""
