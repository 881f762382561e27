"""The command line, which finds the command before it imports anything heavy."""

import os
import select
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

import visiontasks
from visiontasks.cli.arguments import ARGUMENTS, parse
from visiontasks.cli.commands import COMMANDS, TRAINING
from visiontasks.cli.failure import explain, write_report
from visiontasks.cli.given import check_options, check_training
from visiontasks.cli.words import check_first, check_training_names
from visiontasks.core.live import loading
from visiontasks.core.memory import keep_freed_memory
from visiontasks.core.moved import current_option
from visiontasks.core.signals import ENDING, Interrupted, end_now, handled

DEBUG, VERBOSE = "--debug", ("-v", "--verbose")
BUG, WRONG, UNREAD = 1, 2, 141  # exit status; the last one is that of SIGPIPE
OTHER_WORDS = {"train": "fit", "finetune": "fit", "infer": "predict", "val": "validate"}
LONGEST = 500  # characters of the message of an unexpected error


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command with its arguments, by default those of the process; entry point of `visiontasks` and `train.py`.

    Raises:
        SystemExit: With status 2 and a message if the arguments, the config or the data are wrong; with status 1 and
            the name of a report after an unexpected error. With `--debug`, the message follows the traceback.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files and classes may not fit its encoding
    given = [*(sys.argv[1:] if args is None else args)]
    command, *rest = [argument for argument in given if argument != DEBUG] or ["--help"]
    if command in ("-h", "--help"):
        lines = [f"  {name:10}{text}" for name, text in COMMANDS.items()]
        end = "\nvisiontasks COMMAND --help lists its arguments."
        return print("visiontasks COMMAND [ARGUMENTS]\n", *lines, end, sep="\n")
    if command == "--version":
        return print(visiontasks.__version__)
    if command not in COMMANDS:
        close = [OTHER_WORDS[command]] if command in OTHER_WORDS else get_close_matches(command, COMMANDS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"the commands are {', '.join(COMMANDS)}."
        _fail(f"no command {command!r}; {hint}")
    if talks := command not in ARGUMENTS or command in ("study", "init"):
        rest = [argument for argument in rest if argument not in VERBOSE]
    if command not in ARGUMENTS and {"-h", "--help"} & {*rest}:
        print(TRAINING.format(command=command, description=COMMANDS[command].partition(":")[0]))
        sys.exit(0)
    if command not in ARGUMENTS and not rest:
        if command in ("validate", "test"):
            _fail(f"{command} needs a model: give --ckpt_path RUN, a run directory or a checkpoint in one.")
        advice = "give -c CONFIG, such as quickstart.yaml. `visiontasks init FOLDER` writes one for your photos."
        _fail(f"{command} needs a config: {advice}")
    keep_freed_memory()
    rest = [current_option(argument) for argument in rest]
    try:
        with handled(end_now, *ENDING):
            _run(command, rest, bool({*VERBOSE} & {*given}) if talks else None)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _is_unread():
            sys.exit(UNREAD)
        if DEBUG in given:
            traceback.print_exc()
        if message := explain(error):
            _fail(message)
        short = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
        _fail(f"{short}\nThis is a bug in visiontasks. Please report it, with {write_report(error, given)}.", BUG)


def _run(command: str, rest: list[str], verbose: bool | None) -> None:
    if command == "doctor":
        check_first(command, rest)
    options, more = parse(command, rest) if command in ARGUMENTS else (None, [])  # before anything heavy is imported
    if options:
        check_options(options)
    else:
        check_training_names(command, rest)
        check_training(command, rest)
    trains = verbose is not None  # or tests
    with loading() if trains and "--help_all" not in rest else nullcontext():
        if trains:
            import_module("visiontasks.cli.chatter").set_chatter(verbose)
        if options:
            import_module(f"visiontasks.cli.{command}").main(options, more)
        else:
            rest = ["--help" if argument == "--help_all" else argument for argument in rest]
            import_module("visiontasks.cli.training").main(command, rest)


def _is_unread() -> bool:
    """Returns whether nobody reads what is printed any more, as after `| head`; it is then no longer written."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _fail(message: str, status: int = WRONG) -> NoReturn:
    printable = message.encode("utf-8", "backslashreplace").decode()  # a file name need not be UTF-8
    print(f"error: {printable}", file=sys.stderr)
    sys.exit(status)
