"""The error of a user's input."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave is wrong; the message is complete and is shown without a traceback."""
