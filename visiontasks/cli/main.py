"""The command line: finds the command before anything heavy is imported."""

import logging
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

INTERRUPTED = 130  # 128 and the number of the signal, as shells say it
COMMANDS = {
    "fit": "Train a model: fit -c configs/quickstart.yaml",
    "validate": "Metrics on the validation split: validate -c CONFIG --ckpt_path CHECKPOINT",
    "test": "Metrics on the test split, per class too: test -c CONFIG --ckpt_path CHECKPOINT",
    "probe": "Solve the heads in closed form on the frozen backbone, in one pass: probe -c CONFIG",
    "preview": "Pictures of what training will see, augmented and drawn: preview -c CONFIG",
    "lr_find": "Try rising learning rates and say where the loss falls fastest: lr_find -c CONFIG",
    "study": "Train several configs in turn and compare them: study STUDY.yaml",
    "inspect": "Look inside: inspect layers|features|filters|maximize|attack|explain CHECKPOINT_OR_CONFIG",
    "predict": "Predict images: predict MODEL FILE_OR_FOLDER... --output DIR",
    "evaluate": "Figures with intervals, of one model or two: evaluate MODEL [MODEL] -c CONFIG",
    "export": "Write one file that runs elsewhere, proven equal: export CHECKPOINT --format onnx|pt2",
    "detect": "Find all objects of images by sliding: detect CHECKPOINT FILE_OR_FOLDER... --output DIR",
}


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command; `visiontasks` and `train.py` come here.

    Args:
        args: The command and its arguments; those of the process if not given.

    Raises:
        SystemExit: With status 2 and a message where the arguments, the config or the data are wrong.
    """
    command, *rest = [*(sys.argv[1:] if args is None else args)] or ["--help"]
    if command in ("-h", "--help"):
        lines = [f"  {name:10}{text}" for name, text in COMMANDS.items()]
        return print(
            "visiontasks COMMAND [ARGUMENTS]\n", *lines, "\nvisiontasks COMMAND --help lists its arguments.", sep="\n"
        )
    if command == "--version":
        from visiontasks import __version__

        return print(__version__)
    if command not in COMMANDS:
        close = get_close_matches(command, COMMANDS, 1)
        sys.exit(
            _fail(
                f"no command {command!r}; "
                + (f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COMMANDS)}.")
            )
        )
    from visiontasks.cli.arguments import COMMANDS as ARGUMENTS
    from visiontasks.cli.arguments import parse
    from visiontasks.core.errors import InputError
    from visiontasks.core.memory import keep_freed_memory
    from visiontasks.core.moved import current_option

    # Lightning recommends a service of its own in every run
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "Tip:" not in str(record.msg))
    keep_freed_memory()
    rest = [current_option(argument) for argument in rest]
    try:
        if command in ARGUMENTS:
            options, more = parse(command, rest)  # before anything heavy is imported
            import_module(f"visiontasks.cli.{command}").main(options, more)
        else:
            import_module("visiontasks.cli.training").main(command, rest)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, InputError):
            cause = cause.__cause__ or cause.__context__  # the config parser wraps what a constructor raises
        if cause is None:
            raise
        # a loader's worker wraps the error in its own traceback
        sys.exit(_fail(str(cause).rsplit("InputError: ", 1)[-1].strip()))


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
