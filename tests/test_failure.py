"""One line for what the user can correct, a report for a bug, and no secrets in either."""

from __future__ import annotations

import argparse
import errno
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

import visiontasks.cli.study
from visiontasks.cli import main
from visiontasks.core.errors import InputError
from visiontasks.core.redact import is_secret, redact, redact_arguments, redact_text


@pytest.fixture
def fail(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture,
) -> Callable[..., tuple]:
    """Runs a command that raises an error; returns the exit status and what is printed."""
    study = tmp_path_factory.mktemp("study") / "study.yaml"
    study.touch()
    monkeypatch.chdir(tmp_path)

    def run(error: BaseException, *more: str) -> tuple[Any, str]:
        def raise_it(*_: Any) -> None:
            raise error

        monkeypatch.setattr(visiontasks.cli.study, "main", raise_it)
        with pytest.raises(SystemExit) as stopped:
            main(["study", str(study), *more])
        return stopped.value.code, capsys.readouterr().err

    return run


def wrapped(cause: BaseException) -> BaseException:
    error = ValueError("the parser")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a: wrong."), "a: wrong."),
        (wrapped(InputError("a: wrong.")), "a: wrong."),
        (FileNotFoundError(errno.ENOENT, "No such file", "a/b"), "a/b: No such file."),
        (PermissionError(errno.EACCES, "Permission denied", b"a/\xff"), "a/\\udcff: Permission denied."),
        (OSError("cannot\nidentify"), "cannot identify"),
        (ConnectionResetError(), "ConnectionResetError"),
        (MisconfigurationException("No GPU."), "No GPU."),
        (argparse.ArgumentError(None, "a flag"), "a flag"),
        (yaml.YAMLError("a tab"), "a tab"),
        (zipfile.BadZipFile("no zip"), "no zip"),
        (ModuleNotFoundError("No module named 'av'", name="av"), "No module named 'av'. Install the missing package."),
        (MemoryError(), "out of memory. Lower --data.batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory. Lower --data.batch_size"),
        (RuntimeError("DataLoader worker (pid 3) is killed by signal"), "a process that loads images ended"),
        (
            ProcessRaisedException("-- Process 1\nTraceback\nvisiontasks.core.errors.InputError: a: wrong.", 1, 3),
            "a: wr",
        ),
        (ProcessExitedException("process 1 terminated", 1, 3, 9), "another process of this run ended first"),
    ],
)
def test_what_the_user_can_correct_is_one_line(error: BaseException, line: str, fail: Any, tmp_path: Path) -> None:
    status, text = fail(error)
    assert status == 2
    assert text.startswith(f"error: {line}")
    assert text.count("\n") == 1
    assert not any(tmp_path.iterdir())
    status, text = fail(error, "--debug")
    assert status == 2
    assert "Traceback" in text
    assert text.splitlines()[-1].startswith(f"error: {line}")


def test_an_error_in_a_module_of_the_user_names_its_line(fail: Any, tmp_path: Path) -> None:
    status, text = fail(KeyError("x"))
    assert status == 2
    assert re.match(r"error: /.*/test_failure\.py, line \d+: KeyError: 'x'\. `--debug` shows the traceback\.\n$", text)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("a\nb"), ModuleNotFoundError("", name="visiontasks.x")])
def test_a_bug_leaves_a_report(error: Exception, fail: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiontasks.cli.failure.PACKAGE", Path(__file__).parent)
    monkeypatch.setenv("SOME_API_KEY", "canary-1")
    error.add_note("canary-1, canary-2, https://me:canary-3@host/x, password='canary-4'")
    status, text = fail(
        error, "--data.token", "canary-2", "--data.my_secret=canary-5", "--data.url", "s3://a:canary-6@b"
    )
    assert status == 1
    (report,) = tmp_path.iterdir()
    assert f"This is a bug in visiontasks. Please report it, with {report.name}." in text
    assert "Traceback" not in text
    content = report.read_text()
    assert re.search(r"visiontasks study \S+/study.yaml --data.token REDACTED", content)
    assert f"torch {torch.__version__.split('+')[0]}" in content
    assert type(error).__name__ in content
    assert "in raise_it" in content
    assert "canary" not in content


NAMES = [
    "api_key",
    "data.apikey",
    "HF_TOKEN",
    "token",
    "--my.secret",
    "db-password",
    "WANDB_API_KEY",
    "aws_secret_access_key",
]
OTHERS = ["key", "data.key", "tokens", "num_memory_tokens", "keyword", "secretary", "monkey", "passwords_file"]


def test_secrets_are_known_by_the_name_and_type_of_their_option() -> None:
    assert [name for name in NAMES if not is_secret(name)] == []
    assert [name for name in OTHERS if is_secret(name)] == []
    config = {"use_cls_token": True, "token": None, "key": "label", "url": "https://host/a@b", "a": [{"token": "x"}]}
    assert redact(config) == config | {"a": [{"token": "REDACTED"}]}
    assert redact({"data": {"root": "s3://user:pass@bucket/x"}}) == {"data": {"root": "s3://REDACTED@bucket/x"}}
    args = ["fit", "--a.token", "x", "--b.secret=y", "--c", '{"password": "z", "n": 1}', "--d=ftp://u:v@w"]
    assert redact_arguments(args) == [
        *("fit", "--a.token", "REDACTED", "--b.secret=REDACTED"),
        *("--c", '{"password": "REDACTED", "n": 1}', "--d=ftp://REDACTED@w"),
    ]
    assert redact_text("lr: 0.1, key: label, x canary-1", ["canary-1"]) == "lr: 0.1, key: label, x REDACTED"
