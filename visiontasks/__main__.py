"""`python -m visiontasks`, the same as the command `visiontasks`."""

from visiontasks.cli import main

main()
