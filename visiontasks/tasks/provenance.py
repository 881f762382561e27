"""Where a checkpoint comes from."""

import subprocess
from typing import Any

import torch


def provenance(fingerprint: str | None, spec: dict[str, Any]) -> dict[str, Any]:
    """Lists versions, git commit, data fingerprint and spec, as a checkpoint keeps them."""
    from visiontasks import __version__

    versions = {"version": __version__, "torch": str(torch.__version__)}
    return {**versions, "commit": _git_commit(), "data": fingerprint, "spec": spec}


def _git_commit() -> str | None:
    """The commit of the working directory, if git tracks it."""
    try:
        run = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
