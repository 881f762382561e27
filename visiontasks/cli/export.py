"""The command `visiontasks export`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from visiontasks.cli.imports import import_modules
from visiontasks.cli.opening import open_data
from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Trusted
from visiontasks.export.exported import Exported, ValidationImages, dataset_sources, export


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Exports a checkpoint and prints how the file was checked."""
    trust = import_modules(options.imports)
    images = _validation_images(options, more, trust)
    suffix = ("int8." if options.int8 else "") + options.format
    path = options.output or Path(options.checkpoint).with_suffix(f".{suffix}")
    how = (options.format, options.resize, options.int8, options.max_drop, trust)
    _print(export(options.checkpoint, path, images, *how))


def _validation_images(options: argparse.Namespace, more: Sequence[str], trust: Trusted) -> ValidationImages:
    samples = options.samples
    if samples and not (options.resize or options.int8):
        if more:
            raise InputError(f"export: unrecognized arguments: {' '.join(more)}.")
        return ValidationImages(samples)
    config = options.config or Path(options.checkpoint).parent / "config.yaml"
    if not config.is_file():
        raise InputError(f"{config}: no such config with images to compare on. Give `-c CONFIG` or `--samples PATHS`.")
    data = open_data(config, more, options.config is None, trust)
    validation = data.dataset("val")
    return ValidationImages(samples or dataset_sources(validation, options.images), validation, data.dataset("train"))


def _print(exported: Exported) -> None:
    content = exported.content
    print(f"{exported.path}: {content['bytes'] / 2**20:.1f} MB, sha256 {content['sha256'][:12]}...")
    if parity := content.get("parity"):
        parts = [f"{name} differs by at most {value:.1e}" for name, value in parity["differences"].items()]
        print(f"  same as the checkpoint on {parity['images']} images: {', '.join(parts)}")
    for name, pair in content.get("figures", {}).items():
        print(f"  {name}: {pair['exported']:.4f}, checkpoint {pair['checkpoint']:.4f}")
    if speed := content.get("speed"):
        rate, factor = speed["int8_images_per_second"], speed["times_faster"]
        print(f"  {rate:.1f} images/s, {factor:.2f} times as many as without int8")
