"""The command line."""

from visiontasks.cli.main import main

__all__ = ["main"]
