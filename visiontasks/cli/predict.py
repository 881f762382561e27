"""The command `visiontasks predict`."""

import argparse
import time
from collections.abc import Sequence

from rich.progress import track

from visiontasks.cli.imports import trust_of
from visiontasks.core.errors import InputError
from visiontasks.core.files import make_folder
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import find_sources
from visiontasks.predict.writer import PredictionWriter

SKIPPED = 3  # exit status if some images could not be read


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Predicts images and writes the predictions; exits with status 3 if `--skip_errors` left an image out."""
    pretrained = True if options.pretrained == "true" else options.pretrained
    predictor = Predictor.open(options.model, trust_of(options, options.model), options.device, pretrained)
    if options.tile is not None:
        predictor.check_tile(options.tile)
    sources = find_sources(options.source, options.every, missing=options.skip_errors)
    make_folder(options.output)
    skipped: list[InputError] | None = [] if options.skip_errors else None
    predictions = predictor.stream(sources, options.batch_size, options.num_workers, options.tile, options.tta, skipped)
    writer = PredictionWriter(options.output, predictor.spec, options.probabilities, options.overlays)
    start = time.perf_counter()
    count = writer.write(track(predictions, "Predicting", sources.count(), transient=True))
    rate = count / (time.perf_counter() - start)
    print(f"{count} predictions in {options.output / 'predictions.csv'} ({rate:.1f} images/s)")
    if skipped:
        print(f"{len(skipped)} left out:", *skipped, sep="\n  ")
        raise SystemExit(SKIPPED)
