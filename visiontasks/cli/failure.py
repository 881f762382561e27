"""What a failed command says: one line about wrong input, or the report of a bug."""

import os
import platform
import re
import shlex
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from importlib import metadata
from pathlib import Path

from visiontasks.core.errors import InputError
from visiontasks.core.files import write_text
from visiontasks.core.redact import redact_arguments, redact_text, secrets_of

# errors of libraries about input, by the module and name of their class, so that no library is imported for them
ABOUT_INPUT = {
    "lightning.fabric.utilities.exceptions.MisconfigurationException",
    "pytorch_lightning.utilities.exceptions.MisconfigurationException",
    "argparse.ArgumentError",
    "pydantic_core._pydantic_core.ValidationError",
    "yaml.error.YAMLError",
    "zipfile.BadZipFile",
}
MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|Unable to allocate", re.IGNORECASE)
PACKAGE = Path(__file__).parents[1]
CONSTRUCTOR = re.compile(r"Problem with given class_path '([^']+)': (.*?)(?= - |$)")  # in jsonargparse's list of errors
RESTORING = re.compile(r"checkpoint_connector\.py \w*restore|resume\.py adapt_checkpoint$")  # Lightning's, and ours
LESS = "Lower --data.batch_size, --data.image_size or --data.num_workers (--batch_size for predict and evaluate)."


def explain(error: BaseException) -> str | None:
    """Returns one line for an error that the user can correct, or None for a bug."""
    for cause in _causes(error):
        if isinstance(cause, InputError):
            # a worker of a loader wraps the error in its own traceback
            return " ".join(str(cause).rsplit("InputError: ", 1)[-1].split())
    text = " ".join(str(error).split())
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    if isinstance(error, MemoryError) or MEMORY.search(text):
        return f"out of memory. {LESS}"
    if problem := CONSTRUCTOR.search(text):
        return ": ".join(problem.groups())
    if isinstance(error, ValueError) and "more than 1 value per channel" in text:
        advice = "Change --data.batch_size, so that the last batch has more images, or give a larger --data.image_size."
        return f"batch norm cannot learn from a batch of one image. {advice}"
    if isinstance(error, ValueError) and text.startswith("Does not validate against"):  # as jsonargparse says
        return text
    if isinstance(error, RuntimeError) and text.startswith("Early stopping conditioned on metric"):
        return text
    if isinstance(error, RuntimeError) and "DataLoader worker" in text:
        return f"a process that loads images ended, perhaps for lack of memory. {LESS}"
    if type(error).__name__ == "ProcessRaisedException" and "InputError: " in text:  # of a forked process
        return text.rsplit("InputError: ", 1)[-1]
    ended = isinstance(error, RuntimeError) and "by peer" in text  # as gloo says
    if ended or type(error).__name__ == "ProcessExitedException":
        return f"another process of this run ended first; its message above tells why, or its memory was full. {LESS}"
    if isinstance(error, ImportError) and not (error.name or "").startswith("visiontasks"):
        return f"{text}. Install the missing package." if isinstance(error, ModuleNotFoundError) else text
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes | os.PathLike):
        return f"{os.fsdecode(error.filename)}: {error.strerror}."
    if isinstance(error, OSError) or names & ABOUT_INPUT:
        return text or type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if any(RESTORING.search(f"{frame.filename} {frame.name}") for frame in frames):
        advice = "Start a new fit from its weights with --model.weights"
        return f"--ckpt_path: the state of the training is damaged or of another version ({error!r}). {advice}."
    if isinstance(error, ValueError) and "pytorch" in Path(frames[-1].filename if frames else "").parts:
        return f"trainer: {text}"  # a setting that Lightning checks when it starts
    if place := _own_module(frames):
        return f"{place}: {type(error).__name__}: {text}. `--debug` shows the traceback."
    return None


def write_report(error: BaseException, args: Sequence[str]) -> Path:
    """Writes versions, command and traceback, without secrets, to the working directory."""
    secrets = secrets_of(args, dict(os.environ))
    trace = redact_text("".join(traceback.format_exception(error)), secrets)
    command = redact_text(shlex.join(["visiontasks", *redact_arguments(args)]), secrets)
    text = "\n".join([command, f"{platform.platform()}, Python {platform.python_version()}", *_versions(), "", trace])
    name = f"visiontasks-error-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    for folder in (".", tempfile.gettempdir()):
        with suppress(InputError):
            write_text(Path(folder, name), text, "backslashreplace")
            return Path(folder, name)
    raise error


def _own_module(frames: traceback.StackSummary) -> str | None:
    """Returns the line of a user's own module from which an error came, perhaps through a library, or None."""
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    for frame in reversed(frames):
        if Path(frame.filename).is_relative_to(PACKAGE):
            return None
        if not frame.filename.startswith((*libraries, "<")):
            return f"{frame.filename}, line {frame.lineno}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and those that it wraps; the config parser wraps the errors of constructors."""
    cause: BaseException | None = error
    while cause:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _versions() -> Iterator[str]:
    requirements = metadata.requires("visiontasks") or []
    for package in dict.fromkeys(["visiontasks", *(re.split(r"[^\w.-]", line)[0] for line in requirements)]):
        with suppress(metadata.PackageNotFoundError):
            yield f"{package} {metadata.version(package)}"
