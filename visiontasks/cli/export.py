"""The command `visiontasks export`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from visiontasks.cli.opening import open_data
from visiontasks.core.errors import InputError
from visiontasks.core.files import make_folder
from visiontasks.export.exported import Exported, Judges, dataset_sources, export
from visiontasks.predict.sources import find_sources


def main(command: str, args: Sequence[str]) -> None:
    """Parses the arguments, exports, and says what was proven."""
    parser = argparse.ArgumentParser(
        prog=f"visiontasks {command}",
        description="Write a checkpoint as one file that runs elsewhere, if it answers as the checkpoint does.",
        epilog="All other arguments change the config's data, such as --data.dataset.root PATH.",
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", help="best.ckpt or last.ckpt of a run")
    parser.add_argument(
        "--format", choices=("onnx", "pt2"), default="onnx", help="pt2 is torch.export's (default: onnx)"
    )
    parser.add_argument("--output", type=Path, help="the file (default: beside the checkpoint, with its name)")
    parser.add_argument("--resize", action="store_true", help="the file takes images of any size and resizes itself")
    parser.add_argument(
        "--int8", action="store_true", help="weights and activations of 8 bits, smaller and perhaps faster"
    )
    parser.add_argument(
        "--max_drop",
        type=float,
        help="what --resize (default: 0.2) and --int8 (2) may cost in accuracy, IoU, in hundredths",
    )
    parser.add_argument("-c", "--config", type=Path, help="tells the data (default: config.yaml beside the checkpoint)")
    parser.add_argument("--samples", nargs="+", help="images, folders ... to compare on, in place of the config's")
    parser.add_argument(
        "--images", type=int, default=256, help="compare on so many of the validation set; 0: all (default: 256)"
    )
    options, more = parser.parse_known_args(args)
    if options.images < 0:
        parser.error("--images must not be negative.")
    judges = _judges(options, more)
    suffix = ("int8." if options.int8 else "") + options.format
    path = options.output or Path(options.checkpoint).with_suffix(f".{suffix}")
    make_folder(path.parent)
    exported = export(options.checkpoint, path, judges, options.format, options.resize, options.int8, options.max_drop)
    _print(exported)


def _judges(options: argparse.Namespace, more: Sequence[str]) -> Judges:
    samples = find_sources(options.samples) if options.samples else None
    if samples and not (options.resize or options.int8):
        if more:
            raise InputError(f"export: unrecognized arguments: {' '.join(more)}.")
        return Judges(samples)
    config = options.config or Path(options.checkpoint).parent / "config.yaml"
    if not config.is_file():
        raise InputError(
            f"{config}: no such config, which would tell real images to compare on. Give `-c CONFIG`, or "
            "`--samples PATHS`."
        )
    data = open_data(config, more)
    validation = data.dataset("val")
    sources = samples or dataset_sources(validation, options.images)
    return Judges(sources, validation, data.dataset("train"))


def _print(exported: Exported) -> None:
    content = exported.content
    print(f"{exported.path}: {content['bytes'] / 2**20:.1f} MB, sha256 {content['sha256'][:12]}...")
    if parity := content.get("parity"):
        parts = [f"as the checkpoint on {parity['images']} images:"]
        if parity["labels_equal"] is not None:
            parts.append(f"labels equal, scores within {parity['largest_score_difference']:.1e}")
        if parity["largest_box_difference"] is not None:
            parts.append(f"boxes within {parity['largest_box_difference']:.1e} pixels")
        if parity["equal_pixels"] is not None:
            parts.append(f"{parity['equal_pixels']:.4%} of the pixels equal")
        print("  " + parts[0], ", ".join(parts[1:]))
    for name, pair in content.get("figures", {}).items():
        print(f"  {name}: {pair['exported']:.4f}, of the checkpoint {pair['checkpoint']:.4f}")
    if speed := content.get("speed"):
        rate, factor = speed["int8_images_per_second"], speed["times_faster"]
        print(f"  {rate:.1f} images/s, {factor:.2f} times as many as without int8")
