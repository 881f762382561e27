"""onnxruntime-web, which runs ONNX files in a browser: fetched with npm, and checked before it is used."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from visiontasks.core.errors import InputError
from visiontasks.core.files import make_folder
from visiontasks.core.images import read_bytes

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # dist.integrity
SCRIPT, WASM = (f"package/dist/{name}" for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"))
LONGEST = 600  # seconds of npm


class Runtime(NamedTuple):
    """The two files of onnxruntime-web that run a model on the CPU: a JavaScript module and its WebAssembly."""

    script: bytes
    wasm: bytes


def read_runtime(archive: Path | None = None) -> Runtime:
    """Reads onnxruntime-web from its npm archive (.tgz), by default from the cache, to which npm fetches it once.

    The archive is never unpacked to a disk, and is used only if its SHA-512 is the known one.

    Raises:
        InputError: The archive is missing or another one, or npm is missing or fails.
    """
    path = archive or cache() / f"onnxruntime-web-{VERSION}.tgz"
    if archive is None and not path.is_file():
        _fetch(path)
    data = read_bytes(path)
    if (found := b64encode(hashlib.sha512(data).digest()).decode()) != SHA512:
        raise InputError(
            f"{path}: not the archive of {PACKAGE}: its SHA-512 is {found}, expected {SHA512}. Remove it, and get "
            f"the right one with `npm pack {PACKAGE}`."
        )
    with tarfile.open(fileobj=io.BytesIO(data)) as content:
        return Runtime(*(_member(content, name) for name in (SCRIPT, WASM)))


def cache() -> Path:
    """Returns the folder of files that are fetched once: `visiontasks` in $XDG_CACHE_HOME, by default ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visiontasks"


def _fetch(path: Path) -> None:
    npm = shutil.which("npm")
    other = f"Run `npm pack {PACKAGE}` on a machine with npm and network, and give the file with `--ort_web FILE`."
    if npm is None:
        raise InputError(
            f"--html needs {PACKAGE}, which npm fetches, and there is no npm. Install Node.js. Or: {other}"
        )
    print(f"Fetching {PACKAGE} (33 MB) with npm to {path.parent} ...", file=sys.stderr)
    make_folder(path.parent)
    with TemporaryDirectory(dir=path.parent) as folder:
        command = [npm, "pack", PACKAGE, "--ignore-scripts", "--loglevel=error", "--fetch-retries=1"]
        try:
            run = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST)
            fault = run.stderr.decode("utf-8", "replace").strip() if run.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            fault = str(error)
        found = Path(folder, path.name)
        if fault or not found.is_file():
            raise InputError(f"--html: npm cannot fetch {PACKAGE}: {fault or 'no file'}\n{other}")
        found.replace(path)


def _member(content: tarfile.TarFile, name: str) -> bytes:
    file = content.extractfile(name)
    assert file is not None
    return file.read()
