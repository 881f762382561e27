"""The origin of a checkpoint."""

import subprocess
from typing import Any

import torch


def provenance(fingerprint: str | None, spec: dict[str, Any]) -> dict[str, Any]:
    """Returns the versions, git commit, data fingerprint and spec that a checkpoint stores."""
    from visiontasks import __version__

    versions = {"version": __version__, "torch": str(torch.__version__)}
    return {**versions, "commit": _git_commit(), "data": fingerprint, "spec": spec}


def _git_commit() -> str | None:
    try:
        run = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
