"""The command `visiontasks demo`."""

import argparse
import sys
import time
import webbrowser
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from threading import Thread

from visiontasks.cli.imports import trust_of
from visiontasks.core.errors import InputError
from visiontasks.core.serialize import Trusted
from visiontasks.core.signals import Interrupted
from visiontasks.demo.answers import Demo
from visiontasks.demo.server import PORT, Server
from visiontasks.predict.networks import open_network
from visiontasks.predict.sources import Source, Sources

EXAMPLES = 12
LAST = 3.0  # seconds that a prediction in progress may take after the end


def main(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Serves the page of a model until Ctrl-C."""
    start = time.perf_counter()
    trust = trust_of(options, options.model)
    pretrained = True if options.pretrained == "true" else options.pretrained
    network = open_network(options.model, trust, options.device, pretrained)
    examples = some_of(options.samples) if options.samples else examples_of(options.model, trust)
    demo = Demo(network, options.threshold, examples)
    demo.warm_up()
    with open_server(demo, title_of(options.model), options.host, options.port) as server:
        seconds = time.perf_counter() - start
        print(f"{options.model} at {server.address} (ready after {seconds:.1f} s; Ctrl-C ends it)", flush=True)
        if options.open:
            Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        try:
            server.serve_forever()
        except Interrupted as interrupted:
            demo.lock.acquire(timeout=LAST)  # the interpreter must not end within a prediction
            if interrupted.number != 2:
                raise


def some_of(samples: Sources) -> list[Source]:
    """Returns images from all parts of the named files and folders."""
    step = -(-len(samples.paths) // EXAMPLES)
    return list(islice(Sources(samples.paths[::step]), EXAMPLES))


def examples_of(model: str, trust: bool | Trusted) -> list[Source]:
    """Returns validation images of the config beside a model; none, with a note, if the data cannot be opened."""
    config = Path(model).with_name("config.yaml")
    if not Path(model).is_file() or not config.is_file():
        return []
    from visiontasks.cli.opening import open_data
    from visiontasks.export.exported import dataset_sources

    try:
        data = open_data(config, beside=True, trust=() if isinstance(trust, bool) else trust)
        return dataset_sources(data.dataset("val"), EXAMPLES)
    except InputError as error:
        print(f"no examples on the page: {error} `--samples` names other images.", file=sys.stderr)
        return []


def open_server(demo: Demo, title: str, host: str, port: int | None) -> Server:
    """Opens the server at a port, by default at `PORT` or, if that is taken, at a free one.

    Raises:
        InputError: The port is taken, or the address is not one of this machine.
    """
    try:
        return Server(demo, title, host, PORT if port is None else port)
    except OSError as error:
        if port is None:
            return open_server(demo, title, host, 0)
        what = f"--host {host}" + (f" --port {port}" if port else "")
        raise InputError(f"{what}: cannot listen there ({error.strerror}). `--port 0` takes a free port.") from None


def title_of(model: str) -> str:
    """Returns the name of a model on the page: the last folders of a run, or the name of a file."""
    path = Path(model)
    if path.suffix == ".ckpt" and path.stem in ("best", "last"):
        return "/".join(path.absolute().parts[-3:-1])
    return path.name
