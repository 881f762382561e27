"""One HTML file that runs an exported model in a browser, without a network."""

import gzip
from base64 import b64encode
from glob import escape
from pathlib import Path
from typing import Any

from visiontasks.core.errors import InputError
from visiontasks.core.geometry import MAX_PIXELS
from visiontasks.core.outputs import OutputFolder
from visiontasks.core.page import render
from visiontasks.export.runtime import VERSION, Runtime
from visiontasks.predict.networks import Network
from visiontasks.predict.onnx_network import OnnxNetwork
from visiontasks.targets import names_of

PAGE = Path(__file__).parent / "pages" / "page.html"
SHOWN = ("label", "labels", "value", "bbox", "mask", "objects")  # the keys of TARGETS in pages/targets.js
FEW = 12  # names of classes at the head of the page


def write_page(model: Path, path: Path, runtime: Runtime) -> int:
    """Writes one HTML file with an ONNX file that `export` wrote and onnxruntime-web in it.

    Returns:
        The size of the file in bytes.

    Raises:
        InputError: The model cannot be used in a page, or the path has a file that no export wrote.
    """
    check_page(path)
    network = OnnxNetwork(str(model))
    if strange := [key for key in network.keys if key not in SHOWN]:
        raise InputError(f"{model}: a page shows {', '.join(SHOWN)}; this model predicts {', '.join(strange)}.")
    page = render(
        PAGE,
        title=path.stem,
        about=about(network),
        version=VERSION,
        spec=page_spec(network),
        runtime=packed(runtime.script),
        wasm=packed(runtime.wasm),
        model=packed(model.read_bytes()),
    )
    with OutputFolder(path.parent, escape(path.name)).write(path.name) as part:
        part.write_text(page, "utf-8")
        return part.stat().st_size


def check_page(path: Path) -> None:
    """Raises an InputError if a path is not the name of an HTML file, or has a file that no export wrote."""
    if path.suffix != ".html":
        raise InputError(f"--output {path}: expected a name that ends with .html, which a browser opens.")
    OutputFolder(path.parent, escape(path.name))


def page_spec(network: Network) -> dict[str, Any]:
    """Returns what the scripts of the page need to know: names by key, sizes and the resize mode."""
    kept = {key: network.spec[key] for key in ("image_size", "resize", "crop_share") if key in network.spec}
    names = {key: list(names_of(network.spec, key)) for key in network.keys}
    return {**kept, "keys": list(network.keys), "names": names, "resizes": network.resizes, "max_pixels": MAX_PIXELS}


def about(network: Network) -> str:
    """Returns a sentence on what a model predicts."""
    names = list(dict.fromkeys(name for key in network.keys for name in names_of(network.spec, key)))
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"Predicts {', '.join(network.keys)}" + (f": {', '.join(names[:FEW])}{more}." if names else ".")


def packed(data: bytes) -> str:
    """Compresses data with gzip, the same for the same data, and returns it as base64."""
    return b64encode(gzip.compress(data, 9, mtime=0)).decode()
