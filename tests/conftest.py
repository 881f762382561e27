"""Small sets of images, written where a test wants them; no network, one thread."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["WANDB_MODE"] = "offline"

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

torch.set_num_threads(1)

COLORS = {"blue": (30, 60, 220), "green": (40, 200, 60), "red": (220, 50, 40)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that open a page in a browser."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium, headless, with a camera that shows a test picture."""
    api = pytest.importorskip("playwright.sync_api")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("Chromium is not installed")
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", *camera])
        yield opened
        opened.close()


@pytest.fixture
def slow_camera() -> str:
    """A script after which a page gets the camera late, as from a person who thinks about it; `cameras()` returns the
    state of each one that it got, `live` or `ended`."""
    return """(() => {
      const streams = [], ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
      window.cameras = () => streams.flatMap(stream => stream.getTracks()).map(track => track.readyState)
      navigator.mediaDevices.getUserMedia = async wanted => {
        await new Promise(done => setTimeout(done, 400))
        streams.push(await ask(wanted))
        return streams.at(-1)
      }
    })()"""


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """New weights are the same whichever tests ran before in this process."""
    torch.manual_seed(0)


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Writes a noisy image of one color and returns its path."""

    def write(path: Path, color: tuple[int, int, int] = (128, 128, 128), size: tuple[int, int] = (40, 32)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = sum(map(ord, path.name))
        noise = np.random.default_rng(seed).normal(0, 25, (size[1], size[0], 3))
        Image.fromarray((np.array(color) + noise).clip(0, 255).astype(np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def write_video() -> Callable[..., list[int]]:
    """Writes a video and returns the gray of each of its frames."""
    import av

    def write(path: Path, count: int = 10, turned: bool = False) -> list[int]:
        """Frames of one gray each, 20 apart, whose left half is 15 brighter; returns the grays."""
        grays = [20 * number for number in range(count)]
        with av.open(path, "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 32, "yuv420p", 2_000_000
            for gray in grays:
                image = np.full((32, 64, 3), gray, np.uint8)
                image[:, :32] += 15
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
            container.mux(stream.encode())
        if turned:  # as a telephone held upright: by the matrix in the track's header
            content = bytearray(path.read_bytes())
            place = content.index(b"tkhd") + 4 + 40
            one, minus = (1 << 16).to_bytes(4, "big"), (-(1 << 16)).to_bytes(4, "big", signed=True)
            content[place : place + 20] = bytes(4) + one + bytes(4) + minus + bytes(4)
            path.write_bytes(content)
        return grays

    return write


@pytest.fixture
def class_folders(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """train, val and test with a folder for each of three colors: 8, 3 and 3 images a class."""
    root = tmp_path / "colors"
    for split, count in (("train", 8), ("val", 3), ("test", 3)):
        for name, color in COLORS.items():
            for i in range(count):
                write_image(root / split / name / f"{split}-{name}-{i}.jpg", color)
    return root


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real sets; the test is skipped where it is absent."""
    for folder in (Path("data"), Path(__file__).parents[2] / "shared" / "data"):
        if folder.is_dir():
            return folder
    pytest.skip("no folder of real image sets")


@pytest.fixture(scope="session")
def readme_code() -> Callable[[str], str]:
    """The first block of a language in README.md."""

    def block(language: str) -> str:
        text = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")
        return text.split(f"```{language}\n", 1)[1].split("```", 1)[0]

    return block


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, Callable[[Path], None]], Path]:
    """Fills a folder once for all processes: the first one that asks for it, while the others wait."""
    base = tmp_path_factory.getbasetemp()
    root = base if worker_id == "master" else base.parent

    def folder(name: str, fill: Callable[[Path], None]) -> Path:
        path, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir()
                fill(path)
                done.touch()
        return path

    return folder


@pytest.fixture(scope="session")
def shapes_checkpoints(once: Callable[[str, Callable[[Path], None]], Path]) -> dict[str, Path]:
    """Checkpoints of models of small Shapes: `label`, `bbox` and `mask` by `all`, masks alone by `mask`, and
    labels alone by `label`, the smallest.

    Beside each there is the `config.yaml` that tells its data, and in `photos/` 12 images of several sizes.
    """
    root = once("shapes", _train_on_shapes)
    return {"photos": root / "photos", **{name: root / name / "last.ckpt" for name in ("all", "mask", "label")}}


def _train_on_shapes(root: Path) -> None:
    from functools import partial

    import yaml
    from lightning.pytorch import Trainer, seed_everything

    from visiontasks.callbacks import ClosedFormStart
    from visiontasks.data import Shapes, VisionDataModule
    from visiontasks.losses import CrossEntropy
    from visiontasks.models import Backbone, BoxHead, LabelHead, SMPHead
    from visiontasks.tasks import VisionTask

    (root / "photos").mkdir()
    for number in range(12):
        image = Shapes("test", count=48, size=(40, 64, 48)[number % 3]).image(number)
        Image.fromarray(image[: 40 + number]).save(root / "photos" / f"{number:02d}.png")
    dataset = {"class_path": "Shapes", "init_args": {"count": 48, "size": 48}}
    config = {"data": {"dataset": dataset, "image_size": 48, "augment": "none", "batch_size": 16}}
    data = VisionDataModule(partial(Shapes, count=48, size=48), image_size=48, augment="none", batch_size=16)
    mask = partial(SMPHead, decoder="Unet", width=0.125, loss=CrossEntropy(class_weights="inverse"))
    both = {"label": LabelHead, "bbox": partial(BoxHead, grid=3, hidden=0)}
    for name, heads in (("all", {**both, "mask": mask}), ("mask", {"mask": mask}), ("label", {"label": LabelHead})):
        (root / name).mkdir()
        (root / name / "config.yaml").write_text(yaml.safe_dump(config))
        seed_everything(0, verbose=False)
        optimizer = partial(torch.optim.AdamW, lr=3e-3)
        net, epochs = ("cifar10_convnet", 1) if name == "label" else ("test_resnet", 8)
        task = VisionTask(data.spec, Backbone(net, False), heads, optimizer=optimizer)
        closed = [key for key in heads if key != "mask"]
        start = [ClosedFormStart(heads=closed)] if closed else []
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        trainer = Trainer(
            accelerator="cpu", max_epochs=epochs, logger=False, callbacks=start, default_root_dir=root, **quiet
        )
        trainer.fit(task, data)
        trainer.save_checkpoint(root / name / "last.ckpt")


@pytest.fixture(scope="session")
def detector_checkpoint(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A detector that finds most of the shapes of small scenes, with the `config.yaml` that tells its data."""
    return once("detector", _train_on_scenes) / "last.ckpt"


def _train_on_scenes(root: Path) -> None:
    from functools import partial

    import yaml
    from lightning.pytorch import Trainer, seed_everything

    from visiontasks.data import Scenes, VisionDataModule
    from visiontasks.models import Backbone, DetectionHead
    from visiontasks.tasks import DetectionTask

    scenes = {"count": 48, "size": 64, "most": 3, "objects": "all", "empty": 0.2, "radii": [0.15, 0.3], "difficulty": 0}
    dataset = {"class_path": "Scenes", "init_args": scenes}
    config = {"data": {"dataset": dataset, "image_size": 64, "augment": "none", "batch_size": 8}}
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    seed_everything(0, verbose=False)
    data = VisionDataModule(partial(Scenes, **scenes), image_size=64, batch_size=8, augment="none")
    backbone, optimizer = Backbone("test_resnet", False, batch_norm="train"), partial(torch.optim.AdamW, lr=1e-2)
    task = DetectionTask(data.spec, backbone, partial(DetectionHead, width=16), optimizer)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(
        accelerator="cpu", max_epochs=12, check_val_every_n_epoch=12, logger=False, default_root_dir=root, **quiet
    )
    trainer.fit(task, data)
    trainer.save_checkpoint(root / "last.ckpt")


class Exported:
    """What is exported from `shapes_checkpoints`, by file name: `all.onnx`, `mask.pt2`, `all.onnx.json` ..."""

    def __init__(self, once: Callable[[str, Callable[[Path], None]], Path], checkpoints: dict[str, Path]) -> None:
        self._once, self._checkpoints = once, checkpoints

    def __getitem__(self, file: str) -> Path:
        from visiontasks.cli import main

        name, kind = file.split(".")[:2]

        def write(folder: Path) -> None:
            path = str(folder / f"{name}.{kind}")
            main(["export", str(self._checkpoints[name]), "--format", kind, "--output", path, "--images", "0"])

        return self._once(f"exported-{name}-{kind}", write) / file


@pytest.fixture(scope="session")
def exported(once: Callable[[str, Callable[[Path], None]], Path], shapes_checkpoints: dict[str, Path]) -> Exported:
    """Both models of `shapes_checkpoints` in both formats, each made when it is first asked for."""
    return Exported(once, shapes_checkpoints)


@pytest.fixture(scope="session")
def time_limit() -> Callable[[int], AbstractContextManager]:
    """A context that raises a TimeoutError after a number of seconds."""

    @contextmanager
    def limit(seconds: int) -> Iterator[None]:
        def stop(number: int, frame: object) -> None:
            raise TimeoutError(f"longer than {seconds} s")

        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(seconds)
        try:
            yield
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    return limit
