"""Writing of a report."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from visiontasks.core.errors import InputError
from visiontasks.core.files import make_folder, write_text
from visiontasks.core.page import render
from visiontasks.core.serialize import Trusted
from visiontasks.data import VisionDataModule
from visiontasks.doctor.finding import Finding
from visiontasks.predict.predictor import Predictor
from visiontasks.report.content import Split, page_content
from visiontasks.report.facts import read_facts, run_names
from visiontasks.report.gather import gather, layers_of
from visiontasks.report.layers import Layer

TEMPLATE = Path(__file__).with_name("report.html")
MARK = "/* A report of visiontasks */"  # in every report, so that no other file is replaced
WITHIN = 8000  # characters from the start in which it stands
MOST_WEIGHTS = 20_000_000  # draws x images


class How(NamedTuple):
    """How the models of a report predict.

    Attributes:
        trust: Whether a `.pt2` file may be opened, or your own modules that a checkpoint may name.
        device: `cpu`, `cuda` ...; `auto` is a GPU if there is one.
        threshold: Score from which on a class is predicted, for labels and objects; by default that of the model.
        batch_size: Images per batch.
        tile: If given, masks and objects are predicted in tiles of this many pixels.
        draws: Bootstrap draws of the intervals; fewer in a set of more than 10,000 images.
    """

    trust: bool | Trusted = False
    device: str = "auto"
    threshold: float | None = None
    batch_size: int = 32
    tile: int | None = None
    draws: int = 2000


def write_report(
    models: Sequence[str | Path],
    data: VisionDataModule,
    path: str | Path,
    split: str | None = None,
    findings: Sequence[Finding] = (),
    how: How = How(),
) -> None:
    """Predicts a split with one model, or several to compare, and writes a page in HTML that needs no other file.

    Args:
        models: Checkpoints or exported files; what is known of a training is read from the folder of each.
        data: The data.
        path: The file; an earlier report is replaced.
        split: `val` or `test`; by default test, or val if there is no test split.
        findings: What a check of the data has found.
        how: How the models predict.

    Raises:
        InputError: A model or the data cannot be read, they do not fit, or `path` is another file.
    """
    path, files = Path(path), [Path(model) for model in models]
    prepare(path)
    split = split or data.test_split
    dataset = data.dataset(split)
    predictors = [Predictor.open(str(file), how.trust, how.device, threshold=how.threshold) for file in files]
    keys = predictors[0].network.keys
    for file, other in zip(files, predictors, strict=True):
        if other.network.keys != keys:
            raise InputError(f"{file} predicts {other.network.keys}, {files[0]} predicts {keys}.")
    options = {"batch_size": how.batch_size, "tile": how.tile}
    images = [gather(one, dataset, **options) for one in predictors]
    facts = [read_facts(file, name) for file, name in zip(files, run_names(files), strict=True)]
    draws = min(how.draws, max(200, MOST_WEIGHTS // len(dataset)))
    about = Split(data, split, [one.spec for one in predictors], draws)

    def draw(chosen: list[int]) -> list[dict[int, list[Layer]]]:
        pairs = zip(images, predictors, strict=True)
        return [
            {index: one.layers[index] for index in chosen}
            if one.layers
            else layers_of(predictor, dataset, chosen, **options)
            for one, predictor in pairs
        ]

    content = page_content(facts, images, about, draw)
    title = " and ".join(one.name for one in facts)
    write_text(path, render(TEMPLATE, title=title, mark=MARK, findings=[*findings], **content), "backslashreplace")


def prepare(path: Path) -> None:
    """Creates the folder of a report; raises an InputError if it cannot be written to, or the file is no report."""
    if path.exists() and not (path.is_file() and MARK in path.read_text("utf-8", "replace")[:WITHIN]):
        raise InputError(f"{path}: would be replaced, but it is not a report. Move it, or give another --output.")
    make_folder(path.parent)
