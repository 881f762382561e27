"""Where a model comes from: its files, versions and settings."""

import platform
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from visiontasks.core.bounded import check_yaml
from visiontasks.core.flat import flat
from visiontasks.core.progress import duration
from visiontasks.tasks.checkpoint import VERSION_KEY, read_checkpoint

SHOWN = 200  # changed settings
WITHOUT_EFFECT = ("report", "data.check", "trainer.default_root_dir")  # on what is trained


@dataclass(frozen=True)
class Facts:
    """What is known of a model without its data.

    Attributes:
        name: What tells it from other models.
        model: Path of its file.
        task: Class of the task; empty for an exported file.
        network: Name of the backbone.
        rows: Titles and texts for the page.
        fingerprint: That of the training data, if it is stored.
        settings: The config of its run by dotted names.
    """

    name: str
    model: Path
    task: str = ""
    network: str = ""
    rows: list[tuple[str, str]] = field(default_factory=list)
    fingerprint: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> Path:
        """The metrics.csv of its run, which may be missing."""
        return self.model.with_name("metrics.csv")


def read_facts(model: Path, name: str) -> Facts:
    """Reads what a checkpoint and the config beside it say; an exported file has no such facts."""
    config = model.with_name("config.yaml")
    settings = _settings(config)
    if model.suffix != ".ckpt":
        return Facts(name, model, rows=[("model", str(model))], settings=settings)
    content = read_checkpoint(model)
    stored, parameters = content[VERSION_KEY], content["hyper_parameters"]
    init = flat(parameters.get("init_args") or {})
    tensors = content["state_dict"].items()
    weights = sum(value.numel() for key, value in tensors if value.is_floating_point() and ".running_" not in key)
    network = str(init.get("backbone.name", ""))
    versions = {
        "visiontasks": stored.get("version"),
        "torch": stored.get("torch"),
        "lightning": content.get("pytorch-lightning_version"),
    }
    known = [f"{title} {version}" for title, version in versions.items() if version]
    rows = [
        ("model", f"{network}, about {weights / 1e6:.3g} million parameters"),
        ("checkpoint", f"{model}, after {content['global_step']:,} steps" if "global_step" in content else str(model)),
        ("trained", _times(model.parent)),
        ("reproduce", shlex.join(["visiontasks", "fit", "-c", str(config)]) if config.is_file() else ""),
        ("versions", ", ".join(known)),
        ("this page", f"Python {platform.python_version()}, {datetime.now():%Y-%m-%d %H:%M}"),
        ("git commit", str(stored.get("commit") or "")),
        ("training data", f"fingerprint {stored['data']}" if stored.get("data") else ""),
    ]
    task = str(parameters.get("class_path", "")).rpartition(".")[2]
    return Facts(name, model, task, network, [row for row in rows if row[1]], stored.get("data"), settings)


def changed_settings(runs: list[Facts]) -> list[tuple[str, list[str]]]:
    """Returns the settings in which runs differ, with the value of each run."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in WITHOUT_EFFECT)
    rows = [(name, [str(run.settings.get(name, "(not given)")) for run in runs]) for name in names]
    return [row for row in rows if len(set(row[1])) > 1][:SHOWN]


def run_names(models: list[Path]) -> list[str]:
    """Returns the shortest names that differ: ends of the paths of the folders, of the files if folders are equal.

    A model alone has the name of its folder and the one above.
    """
    files = [model.absolute().parts for model in models]
    folders = [one[:-1] for one in files]
    if len(models) == 1:
        return ["/".join(folders[0][-2:])]
    return _ends(folders) or _ends(files) or [model.name for model in models]


def _ends(paths: list[tuple[str, ...]]) -> list[str]:
    """Returns the shortest ends that differ, without what all paths end with; nothing if two are equal."""
    while len({one[-1] for one in paths}) == 1 and min(map(len, paths)) > 2:  # the root and a name are left
        paths = [one[:-1] for one in paths]
    every = (["/".join(one[-depth:]) for one in paths] for depth in range(1, max(map(len, paths))))
    return next((names for names in every if len({*names}) == len(names)), [])


def _times(folder: Path) -> str:
    """Says when a fit started, which the name of its folder tells, and how long it took to its last checkpoint."""
    try:
        start = datetime.strptime(folder.name[:15], "%Y%m%d-%H%M%S")
    except ValueError:
        return ""
    text, last = f"{start:%Y-%m-%d %H:%M}", folder / "last.ckpt"
    seconds = last.stat().st_mtime - start.timestamp() if last.is_file() else 0
    return f"{text}, {duration(seconds)} from the start to the last checkpoint" if seconds > 0 else text


def _settings(config: Path) -> dict[str, Any]:
    if not config.is_file():
        return {}
    try:
        check_yaml(text := config.read_text("utf-8"))
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return {}
    return flat(content) if isinstance(content, dict) else {}
