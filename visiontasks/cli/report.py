"""The command `visiontasks report`, and the report at the end of a fit or test."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from visiontasks.cli.imports import import_modules, trust_of
from visiontasks.cli.opening import open_data
from visiontasks.core.errors import InputError
from visiontasks.data import VisionDataModule
from visiontasks.doctor import diagnose, find_briefly
from visiontasks.report import How, prepare, write_report

PAGE, COMPARISON = "report.html", "comparison.html"
MOST = 6  # models, each with a color


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Writes the page of one model, or of several that are compared with the first."""
    models = [Path(model) for model in options.model]
    output = options.output or models[0].parent / (PAGE if len(models) == 1 else COMPARISON)
    if len(models) > MOST:
        raise InputError(f"report: {len(models)} models; expected at most {MOST}.")
    if output.suffix != ".html":
        raise InputError(f"--output {output}: expected the path of a page, such as {PAGE}.")
    prepare(output)  # first, because what follows may take minutes
    trust = import_modules(options.imports)
    data = open_data(options.config or models[0].parent / "config.yaml", more, options.config is None, trust)
    trusted = all(trust_of(options, model) is True for model in options.model)
    how = How(trusted or trust, options.device, options.threshold, options.batch_size, options.tile, options.draws)
    findings = diagnose(data).findings if data.check else []
    write_report(models, data, output, options.split, findings, how)
    print(f"written to {output}")


def report_of_run(
    folder: Path, command: str, trainer: Any, data: VisionDataModule, config: Any, checkpoint: str | None
) -> None:
    """Writes the report of a fit (its best.ckpt on val) or of a test; a fault is a warning.

    Args:
        folder: The run directory.
        command: The command; others have no report.
        trainer: Its trainer, which has ended.
        data: Its data.
        config: Its settings, `report` and `imports` among them.
        checkpoint: The one that was tested.
    """
    stage = {"fit": "val", "test": "test"}.get(command, "")
    path = folder / "best.ckpt" if command == "fit" else Path(checkpoint or "")
    if not (stage and config.report and path.is_file()):
        return
    if (limit := getattr(trainer, f"limit_{stage}_batches")) != 1 or isinstance(limit, int):
        rank_zero_info(
            f"There is no {PAGE}, because of trainer.limit_{stage}_batches. `visiontasks report` writes one."
        )
        return
    known, data.trainer = data.trainer, None  # the other processes have ended, so nothing waits for them
    try:
        how = How(import_modules(config.imports), str(trainer.strategy.root_device))
        findings = find_briefly(data) if data.check else []
        write_report([path], data, folder / PAGE, "val" if command == "fit" else data.test_split, findings, how)
    except Exception as error:  # what was trained must not be lost for a page
        rank_zero_warn(f"There is no {folder / PAGE}, because of {type(error).__name__}: {error}")
    finally:
        data.trainer = known
