"""The command `visiontasks export`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from visiontasks.cli.imports import import_modules
from visiontasks.cli.opening import open_data
from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Trusted
from visiontasks.export.exported import Exported, ValidationImages, dataset_sources, export
from visiontasks.export.html import check_page, write_page
from visiontasks.export.runtime import read_runtime


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Exports a checkpoint and prints how the file was checked."""
    trust = import_modules(options.imports)
    if options.html:
        _export_page(options, more, trust)
        return
    suffix = ("int8." if options.int8 else "") + options.format
    path = options.output or Path(options.checkpoint).with_suffix(f".{suffix}")
    _export(options, _validation_images(options, more, trust), path, options.int8, trust)


def _export(options: argparse.Namespace, images: ValidationImages, path: Path, int8: bool, trust: Trusted) -> Path:
    how = (options.format, options.resize, int8, options.max_drop if int8 or options.resize else None, trust)
    exported = export(options.checkpoint, path, images, *how)
    _print(exported)
    return exported.path


def _export_page(options: argparse.Namespace, more: Sequence[str], trust: Trusted) -> None:
    given = Path(options.checkpoint)
    page, ready = options.output or given.with_suffix(".html"), given.suffix == ".onnx"
    if options.format != "onnx":
        raise InputError(f"--html: a browser runs ONNX files only. Leave out `--format {options.format}`.")
    if ready and (more or options.resize or options.int8 or options.samples or options.config):
        raise InputError(f"{given}: is exported already. Give `--html` and `--output` only, or the checkpoint.")
    check_page(page)
    runtime = read_runtime(options.ort_web)
    model = given if ready else _export_small(options, more, trust, page)
    size = write_page(model, page, runtime)
    print(f"{page}: {size / 2**20:.1f} MB, runs {model.name} in a browser without a network")


def _export_small(options: argparse.Namespace, more: Sequence[str], trust: Trusted, page: Path) -> Path:
    """Exports with 8 bits or, if that is not as good or there are no training images, with 32."""
    images = _validation_images(options, more, trust)
    if images.training is not None:
        try:
            return _export(options, images, page.with_suffix(".int8.onnx"), True, trust)
        except InputError as error:
            if options.int8:
                raise
            print(f"The page gets the model with 32 bits, because with 8 bits: {error}")
    return _export(options, images, page.with_suffix(".onnx"), False, trust)


def _validation_images(options: argparse.Namespace, more: Sequence[str], trust: Trusted) -> ValidationImages:
    samples = options.samples
    judged = options.resize or options.int8 or (options.html and options.config)
    if samples and not judged:
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
