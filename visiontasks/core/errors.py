"""The error for wrong user input."""


class InputError(ValueError):
    """Wrong user input; the message is complete and is shown without a traceback."""
