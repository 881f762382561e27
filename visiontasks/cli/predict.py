"""The command `visiontasks predict`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from visiontasks.core.errors import InputError
from visiontasks.core.files import make_folder
from visiontasks.predict.networks import open_network
from visiontasks.predict.predictor import Predictor
from visiontasks.predict.sources import find_sources
from visiontasks.predict.writer import PredictionWriter

SKIPPED = 3  # the exit status where not all could be read


def main(command: str, args: Sequence[str]) -> None:
    """Parses the arguments, predicts and writes.

    Raises:
        SystemExit: With status 3 where `--skip-errors` left an image out.
    """
    parser = argparse.ArgumentParser(prog=f"visiontasks {command}", description="Predict images with a trained model.")
    parser.add_argument(
        "model", help="best.ckpt or last.ckpt of a run, an exported file, or timm's name of a pretrained network"
    )
    parser.add_argument(
        "source",
        nargs="+",
        help="images, folders with images at any depth, patterns, lists of paths (.txt), videos; - reads paths from "
        "standard input",
    )
    parser.add_argument("--output", required=True, type=Path, help="folder for predictions.csv ...; made if need be")
    parser.add_argument(
        "--pretrained", help="weights of a network that is given by name: true (default, timm's hub), bundled or a path"
    )
    parser.add_argument("--probabilities", action="store_true", help="write the probability of every class too")
    parser.add_argument("--overlays", action="store_true", help="draw each prediction on its image, in overlays/")
    parser.add_argument("--batch_size", type=int, default=32, help="images at a time (default: 32)")
    parser.add_argument("--num_workers", type=int, default=1, help="threads that read ahead (default: 1)")
    parser.add_argument("--tile", type=int, help="predict masks at each image's own resolution, in tiles of N pixels")
    parser.add_argument(
        "--tta", nargs="+", default=[], metavar="VIEW", help="average over views: hflip, vflip, scales such as 1.25"
    )
    parser.add_argument("--every", type=int, default=1, help="of a video, each n-th frame (default: 1)")
    parser.add_argument("--skip-errors", action="store_true", help="leave out what cannot be read, and list it")
    parser.add_argument("--trust", action="store_true", help="open a .pt2 file, which can run code")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    options = parser.parse_args(args)
    if options.batch_size < 1 or options.num_workers < 0 or options.every < 1:
        parser.error("--batch_size and --every must be positive, --num_workers not negative.")
    pretrained = True if options.pretrained == "true" else options.pretrained
    predictor = Predictor(open_network(options.model, options.trust, options.device, pretrained))
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
