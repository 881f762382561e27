"""The same as the command `visiontasks`, for `python -m visiontasks.cli`."""

from visiontasks.cli import main

if __name__ == "__main__":
    main()
