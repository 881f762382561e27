"""The command `visiontasks predict`."""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from visiontasks.cli.imports import trust_of
from visiontasks.core.errors import InputError
from visiontasks.core.files import make_folder
from visiontasks.core.images import shown
from visiontasks.core.lock import lock
from visiontasks.core.progress import track
from visiontasks.predict.predictor import Predictions, Predictor
from visiontasks.predict.sources import Skipped, Sources, Unreadable
from visiontasks.predict.writer import PredictionWriter

SKIPPED = 3  # exit status if some images could not be read
MANY = 10  # names in an error


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Predicts the `Sources` in `options` and writes the predictions; exits with status 3 if `--skip_errors` left one
    out."""
    pretrained = True if options.pretrained == "true" else options.pretrained
    trust = trust_of(options, options.model)
    predictor = Predictor.open(options.model, trust, options.device, pretrained, options.threshold)
    if options.tile is not None:
        predictor.check_tile(options.tile)
    for name in ("mask_values", "keep_names"):
        if getattr(options, name) and "mask" not in predictor.network.keys:
            keys = ", ".join(predictor.network.keys)
            raise InputError(f"--{name}: it is for masks, and {options.model} predicts {keys}. Leave it out.")
    if options.coco and {*predictor.network.keys} & {"objects", "bbox", "mask"} not in ({"objects"}, {"mask"}):
        keys = ", ".join(predictor.network.keys)
        raise InputError(f"--coco: it is for objects or masks, and {options.model} predicts {keys}. Leave it out.")
    sources = options.source
    places = sources.places() if options.keep_names else None
    skipped: list[Skipped] = []
    how = (options.batch_size, options.num_workers, options.tile, options.tta, skipped if options.skip_errors else None)
    make_folder(options.output)
    with lock(options.output):
        also = (options.probabilities, options.overlays, options.yolo, options.mask_values, places, options.coco)
        writer = PredictionWriter(options.output, predictor.spec, *also)
        predictions = predictor.stream(sources, *how)
        if not options.skip_errors:
            predictions = naming_all(predictions, sources, predictor.spec.get("page"), options.output, skipped)
        predictions = track(predictions, "Predicting", sources.count())
        start = time.perf_counter()
        count = writer.write(predictions, chain(sources.ignored, skipped))
    rate = count / (time.perf_counter() - start)
    print(f"{count} predictions in {options.output / 'predictions.csv'} ({rate:.1f} images/s)")
    for line in writer.tally.lines():
        print(line)
    if skipped:
        print(f"{len(skipped)} left out:", *(reason for _, reason in skipped), sep="\n  ")
        print(f"listed in {options.output / 'skipped.csv'}")
        raise SystemExit(SKIPPED)


def naming_all(
    predictions: Predictions, sources: Sources, page: int | None, output: Path, skipped: list[Skipped]
) -> Iterator:
    """Yields the predictions; if an image ends them that cannot be read, appends all such images to `skipped`.

    Raises:
        InputError: An image cannot be read; the message names the others too.
    """
    try:
        yield from predictions
    except Unreadable as error:
        others = sources.unreadable_after(error.skipped.name, page)
        skipped += [error.skipped, *others]
        more = ""
        if others:
            names = [shown(other.name) for other in others[:MANY]] + ["..."] * (len(others) > MANY)
            more = f" {len(others)} more cannot be read: {', '.join(names)}. {output / 'skipped.csv'} has the reasons."
        raise InputError(f"{error}{more} `--skip_errors` leaves out what cannot be read.") from error
