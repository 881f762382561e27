"""The files around the code: what they name exists, what they show runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "docker/Dockerfile", "docker/compose.yaml"])
def test_configs_and_scripts_that_are_named_exist(file: str) -> None:
    named = set(re.findall(r"(?<![\w/.])(?:configs|docker|\.ci)/[\w./-]*\w", text(file)))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_files_that_the_image_copies_exist() -> None:
    sources = re.findall(r"^COPY (\S+) ", text("docker/Dockerfile"), re.MULTILINE)
    assert sources == ["pyproject.toml", "."]
    assert (ROOT / sources[0]).is_file()


@pytest.mark.parametrize("service", ["train", "test"])
def test_compose_runs_the_readmes_commands(service: str) -> None:
    definition = yaml.safe_load(text("docker/compose.yaml"))["services"][service]
    context = ROOT / "docker" / definition["build"]["context"]
    assert (context / definition["build"]["dockerfile"]).is_file()
    assert re.search(rf"^(.* && )?{re.escape(definition['command'])}$", text("README.md"), re.MULTILINE)


def test_an_image_trains_the_quickstart_unless_told_otherwise() -> None:
    (line,) = re.findall(r"^CMD (.*)$", text("docker/Dockerfile"), re.MULTILINE)
    command = yaml.safe_load(text("docker/compose.yaml"))["services"]["train"]["command"]
    assert yaml.safe_load(line) == command.split()


def test_ci_is_a_script_whose_last_command_is_the_tests() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert script.read_text("utf-8").splitlines()[-1] == "uv run pytest"


def test_ci_and_commit_hooks_check_the_same() -> None:
    (local,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    for hook in local["hooks"]:
        assert hook["entry"].removesuffix(" --fix") in text(".ci/run")


def test_a_folder_of_runs_changes_nothing_for_the_linter(tmp_path: Path) -> None:
    """Without one, benchmarks/runs.py alone has that name."""
    for folder in ("benchmarks", "visiontasks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    args = ["ruff", "check", "--no-cache", "benchmarks"]
    for _ in range(2):
        run = subprocess.run([sys.executable, "-m", *args], cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout
        (tmp_path / "runs/quickstart").mkdir(parents=True, exist_ok=True)


def blocks(path: str, language: str) -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(path), re.MULTILINE | re.DOTALL)


ONE_PROCESS = """
from pathlib import Path
from visiontasks.cli import main
for command in {commands}:
    best = next(Path().glob("runs/stripes/*/best.ckpt"), "none")
    main([str(best) if part == "runs/stripes/TIME/best.ckpt" else part for part in command])
    print("END OF A COMMAND")
"""


@pytest.mark.slow
def test_the_module_of_contributing_trains_and_is_evaluated(tmp_path: Path) -> None:
    """Run literally, in a process of its own: a kind, a loss, a head and a dataset that the package does not know."""
    (tmp_path / "counting.py").write_text("\n\n".join(blocks("CONTRIBUTING.md", "python")))
    (config,) = blocks("CONTRIBUTING.md", "yaml")
    (tmp_path / "stripes.yaml").write_text(config)
    commands = [command.split()[3:] for command in blocks("CONTRIBUTING.md", "bash")[-1].splitlines()]
    (tmp_path / "run.py").write_text(ONE_PROCESS.format(commands=commands))
    env = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # that writes elsewhere
    env |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "run.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    outputs = run.stdout.split("END OF A COMMAND")[:-1]
    assert len(outputs) == len(commands) >= 2
    assert all("exact" in output for output in outputs)


def test_every_lower_bound_says_what_needs_it() -> None:
    requirements = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    lines = {line.strip() for line in text("pyproject.toml").splitlines()}
    assert all(">=" in requirement for requirement in requirements)
    bare = [item for item in requirements if not any(re.match(rf'"{re.escape(item)}", +# \S', line) for line in lines)]
    assert bare == []


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("uv"), reason="uv builds the wheel")
def test_the_wheel_holds_the_files_of_the_repository_and_no_others(tmp_path: Path) -> None:
    subprocess.run(["uv", "build", "--wheel", "--quiet", "--out-dir", str(tmp_path)], check=True, cwd=ROOT)
    listed = subprocess.run(
        ["git", "ls-files", "visiontasks", "configs"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    places = {name.removeprefix("visiontasks/") if "/configs/" in name else name: name for name in packed}
    assert sorted(places) == sorted(listed.stdout.splitlines())
    assert [name for name, packed_as in places.items() if (ROOT / name).read_bytes() != packed[packed_as]] == []
