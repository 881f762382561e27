"""The same as the command `visiontasks`."""

from visiontasks.cli import main

if __name__ == "__main__":
    main()
