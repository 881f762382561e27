"""Every shipped config trains, tests and predicts, and every documented command runs (T1, A4, R7, R10).

A few steps each, on data written here; where the backbone is not the point it is a tiny one.
"""

import csv
import io
import json
import os
import pickle
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
import yaml
from PIL import Image

from visiontasks.cli import main
from visiontasks.cli.configs import find_config
from visiontasks.cli.parser import read_config
from visiontasks.cli.training import main as train
from visiontasks.core.files import read_csv

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path
    for path in (ROOT / "configs").rglob("*.yaml")
    if path.parent.name not in ("data", "studies", "sweeps") and path.name != "ddp.yaml"
)
FEW = [
    *("--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1", "--trainer.limit_test_batches", "1"),
    *("--trainer.enable_progress_bar", "false", "--trainer.logger", "false", "--trainer.accelerator", "cpu"),
    *("--data.batch_size", "4", "--trainer.enable_model_summary", "false"),
]
SMALL = ["--data.image_size", "32", "--data.train_size", "32"]
TINY = ["--model.backbone", "{name: test_resnet, pretrained: false}"]
BUNDLED = ("quickstart.yaml", "segmentation/camvid_deeplab.yaml", "localization/two_phases.yaml")  # keep their backbone


def name_of(config: Path) -> str:
    return config.relative_to(ROOT / "configs").as_posix()


def shrunk(config: Path) -> list[str]:
    """Arguments that make a config small: its head, loss, data and callbacks stay, and the backbones of the course."""
    content = read_config(config)
    args = [] if "fashion" in config.stem or "cifar10" in config.stem else [*SMALL]  # their images are small already
    if content["model"]["init_args"]["backbone"]["pretrained"] == "bundled" and name_of(config) not in BUNDLED:
        args += TINY
    counts = {"Windows": "source.count", "Shapes": "count", "Scenes": "count"}  # of generated pictures
    if part := counts.get(content["data"]["dataset"]["class_path"]):
        args += [f"--data.dataset.{part}", "8" if "." in part else "32"]
    return args


@pytest.fixture
def sets(once: Callable[[str, Callable[[Path], None]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose data/ holds a few images of every set that the configs read."""
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(once("sets", _write_sets))
    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", None]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": None})
    return tmp_path


def _write_sets(root: Path) -> None:
    rng = np.random.default_rng(0)

    def picture(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 30, 3), np.uint8)).save(path)

    for name in ("daisy", "roses"):
        for i in range(10):
            picture(root / "flowers5/train" / name / f"{i}.jpg")
            picture(root / "flowers5/val" / name / f"{i}.jpg")
            picture(root / "photos" / name / f"{i}.jpg")
    rows = [f"daisy/{i}.jpg,{i}" for i in range(10)]
    (root / "values.csv").write_text("\n".join(["path,value", *rows]))
    rows = [f"daisy/{i}.jpg,{('cat', 'cat; outdoors', 'outdoors', '')[i % 4]}" for i in range(10)]
    (root / "labels.csv").write_text("\n".join(["path,label", *rows]))
    _write_boxes(root / "raccoon", picture)
    _write_boxes(root / "boxes", picture)
    _write_pets(root / "pets3/oxford-iiit-pet", picture, rng)
    _write_masks(root, picture, rng)
    _write_cifar10(root / "cifar-10-batches-py", rng)
    _write_fashion_mnist(root / "FashionMNIST/raw", rng)


def _write_masks(root: Path, picture, rng: np.random.Generator) -> None:
    """A folder of images and one of masks, and CamVid's folders."""
    places = [("masks/images", "masks/masks", 2)]
    places += [(f"camvid/{split}", f"camvid/{split}annot", 12) for split in ("train", "val", "test")]
    for images, masks, classes in places:
        (root / masks).mkdir(parents=True)
        for i in range(10):
            picture(root / images / f"{i}.jpg")
            _write_mask(root / masks / f"{i}.png", rng.integers(0, classes, (24, 30)))


def _write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8)).save(path)


def _write_pets(root: Path, picture, rng: np.random.Generator) -> None:
    lists = {"trainval.txt": [], "test.txt": []}
    for name, breed, species in (("Abyssinian", 1, 1), ("american_bulldog", 2, 2)):
        for i in range(12):
            picture(root / "images" / f"{name}_{i}.jpg")
            _write_mask(root / "annotations/trimaps" / f"{name}_{i}.png", rng.integers(1, 4, (24, 30)))
            lists["trainval.txt" if i < 8 else "test.txt"].append(f"{name}_{i} {breed} {species} 1")
    for name, lines in lists.items():
        (root / "annotations" / name).write_text("\n".join(lines))

    _write_annotations(root / "annotations/xmls", sorted((root / "images").glob("*_[0-7].jpg")))


def _write_boxes(root: Path, picture) -> None:
    """The same boxes as XML files, as COCO, as a table and in the layout of YOLO."""
    images = [root / "images" / f"{i}.jpg" for i in range(12)]
    for image in images:
        picture(image)
    _write_annotations(root / "annotations", images)
    rows = [(image.name, "cat" if i % 2 else "dog") for i, image in enumerate(images)]
    table = ["path,label,xmin,ymin,xmax,ymax", *(f"{name},{label},3,4,20,18" for name, label in rows)]
    (root / "boxes.csv").write_text("\n".join(table))
    coco = {
        "images": [{"id": i, "file_name": name} for i, (name, _) in enumerate(rows)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": len(label), "bbox": [3, 4, 17, 14]}
            for i, (_, label) in enumerate(rows)
        ],
        "categories": [{"id": 3, "name": "animal"}],
    }
    (root / "boxes.json").write_text(json.dumps(coco))
    (root / "data.yaml").write_text("train: images\nnames: [dog, cat]\n")
    (root / "labels").mkdir()
    for image, (_, label) in zip(images, rows, strict=True):
        (root / "labels" / f"{image.stem}.txt").write_text(f"{int(label == 'cat')} 0.3 0.3 0.4 0.3\n")


def _write_annotations(folder: Path, images: list[Path]) -> None:
    folder.mkdir(parents=True)
    for image in images:
        name = "dog" if image.stem[0].islower() else "cat"
        box = "<xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>18</ymax>"
        node = f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"
        (folder / f"{image.stem}.xml").write_text(node)


def _write_cifar10(root: Path, rng: np.random.Generator) -> None:
    root.mkdir(parents=True)
    batch = {"data": rng.integers(0, 255, (40, 3072), np.uint8), "labels": [i % 10 for i in range(40)]}
    for name in ("data_batch_1", "test_batch"):
        (root / name).write_bytes(pickle.dumps(batch))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))


def _write_fashion_mnist(root: Path, rng: np.random.Generator) -> None:
    root.mkdir(parents=True)
    for part in ("train", "t10k"):
        images, labels = rng.integers(0, 255, (40, 28, 28), np.uint8), np.arange(40, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (root / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())


def fit(config: Path) -> Any:
    cli = train("fit", ["-c", str(config), *FEW, *shrunk(config), "--trainer.max_epochs", "1"])
    assert cli.trainer.global_step > 0
    return cli


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_config_fits(config: Path, sets: Path) -> None:
    cli = fit(config)
    assert "train/loss" in cli.trainer.callback_metrics
    if "val/loss" not in cli.trainer.callback_metrics:  # it validates after several epochs
        cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    assert {"val/loss", cli.model.monitor} <= cli.trainer.callback_metrics.keys()
    (run,) = (sets / "runs" / config.stem).iterdir()
    assert (run / "last.ckpt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_config_fits_tests_and_predicts(config: Path, sets: Path) -> None:
    cli = fit(config)
    (run,) = (sets / "runs" / config.stem).iterdir()
    cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    figures = cli.trainer.callback_metrics
    split = cli.datamodule.test_split
    assert {f"{split}/loss", cli.model.monitor.replace("val", split)} <= figures.keys()
    image = next((sets / "data/flowers5/val").rglob("*.jpg"))
    main(["predict", str(run / "last.ckpt"), str(image), "--output", str(sets / "out"), "--device", "cpu"])
    rows = read_csv(sets / "out/predictions.csv")
    assert {row["path"] for row in rows} == {str(image)}
    assert len(rows) == 1 or "objects" in cli.model.heads


def test_configs_say_their_command_and_are_short() -> None:
    wrong = []
    for config in [*CONFIGS, ROOT / "configs/ddp.yaml"]:
        text = config.read_text("utf-8")
        says = f"visiontasks fit -c configs/{name_of(config)}" in text or config.stem == "ddp"
        short = text.startswith("# ") and len(text.splitlines()) <= 30
        wrong += [] if says and short and yaml.safe_load(text) else [name_of(config)]
    assert wrong == []


STUDIES = sorted((ROOT / "configs/studies").glob("*.yaml"))
SHRUNK_STUDIES = {"bridges": [*TINY, *SMALL], "normalization": ["--data.image_size", "16"]}  # whitening 32: 10 s


@pytest.mark.parametrize(
    "study",
    [pytest.param(path, marks=pytest.mark.slow) for path in STUDIES],
    ids=lambda path: path.name,
)
def test_study_runs_all_its_steps(study: Path, sets: Path) -> None:
    main(["study", str(study), *FEW, *SHRUNK_STUDIES.get(study.stem, []), "--trainer.max_epochs", "1"])
    with (sets / "runs" / study.stem / "results.csv").open() as file:
        steps = dict.fromkeys(row["step"] for row in csv.DictReader(file))
    assert list(steps) == list(yaml.safe_load(study.read_text("utf-8"))["steps"])


SWEEPS = sorted((ROOT / "configs/sweeps").glob("*.yaml"))


@pytest.mark.parametrize("end", [0, -1], ids=["lowest", "highest"])
@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda path: path.stem)
def test_what_a_sweep_runs_is_a_fit(sweep: Path, end: int, sets: Path) -> None:
    """The agent's command, with the parameters as W&B writes them in place of `${args}`."""
    content = yaml.safe_load(sweep.read_text("utf-8"))
    parameters = {
        name: part["values"][end] if "values" in part else part[("min", "max")[end]]
        for name, part in content["parameters"].items()
    }
    start, *middle, last = content["command"]
    assert (start, middle[:2], last) == ("${env}", ["python", "${program}"], "${args}")
    assert (ROOT / content["program"]).is_file()
    args = [str(ROOT / part) if part.startswith("configs/") else part for part in middle[2:]]
    args += [f"--{name}={value}" for name, value in parameters.items()]
    main([*args, *FEW, *TINY, *SMALL, "--trainer.max_epochs", "1"])
    (run,) = (sets / "runs").glob("*/*")
    written = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    assert written["data"]["augment"] == parameters["data.augment"]
    assert written["model"]["init_args"]["optimizer"]["init_args"]["lr"] == parameters["model.optimizer.lr"]
    with (run / "metrics.csv").open() as file:
        assert content["metric"]["name"] in (csv.DictReader(file).fieldnames or [])


# What the pages say

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTED = r"fit -c configs/\S+|study (configs/)?\S+\.yaml|init photos|fit -c (photos|classification/folder).yaml"
TESTED += r"|configs( --copy \S+)?|doctor .*|demo .*|export .*--html.*"
"""Tested above, in test_init.py, test_installed.py, test_doctor.py, test_demo.py and test_export_html.py."""
FOLDERS = {
    "classification/folder": "photos",
    "detection/voc": "boxes",
    "localization/voc": "boxes",
    "segmentation/folder": "masks",
}
FITS = ("fit", "probe", "preview", "lr_find")
TRAINED = {  # what a page cannot know, on models that are trained already
    **dict.fromkeys(("CHECKPOINT", "MODEL", "OTHER_MODEL", "RUN", "best.ckpt", "last.ckpt"), "all/last.ckpt"),
    **{
        "SEGMENTER": "mask/last.ckpt",
        "DETECTOR": "detector/last.ckpt",
        "LIST.txt": "list.txt",
        "VIDEO.mp4": "clip.mp4",
        "DIR": "out",
        "CONFIG": "all/config.yaml",
    },
}
EXPORTED = {"best.onnx": "all.onnx", "PROGRAM.pt2": "all.pt2"}


def commands(text: str) -> list[str]:
    """The commands of a page, in its blocks and between its lines."""
    text = text.replace("\\\n", " ")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0] for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(visiontasks [a-z_]+ [^`]+)`", text)
    parts = (re.split(r"\b(?:visiontasks|train\.py) ", line, maxsplit=1) for line in lines)
    return [part[1].strip() for part in parts if len(part) == 2]


def page_commands() -> list[Any]:
    """Every command of the pages, one each, but those tested above; of several machines what one process runs.

    Those that are not in the README, which is the first page, are slow.
    """
    found: dict[str, Path] = {}
    for page in PAGES:
        for command in commands(page.read_text("utf-8")):
            found.setdefault(re.sub(r"runs/\S+/TIME/best.ckpt", "best.ckpt", command), page)
    left = {command: page for command, page in found.items() if not re.fullmatch(TESTED, command)}
    slow = pytest.mark.slow
    return [pytest.param(command, marks=() if page == PAGES[0] else slow) for command, page in left.items()]


def test_the_pages_name_every_study_and_only_configs_that_are_tested_here() -> None:
    found = [command.split() for page in PAGES for command in commands(page.read_text("utf-8"))]
    names = {part for command in found for part in command if part.startswith("configs/")}
    tested = {*CONFIGS, *STUDIES, ROOT / "configs/ddp.yaml"}
    assert names <= {path.relative_to(ROOT).as_posix() for path in tested}
    assert {path.relative_to(ROOT).as_posix() for path in STUDIES} <= names
    assert len(page_commands()) > 50


@pytest.fixture
def same_environment() -> Iterator[None]:
    """What DDP leaves, gone."""
    saved = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(saved)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture
def places(
    sets: Path,
    shapes_checkpoints: dict[str, Path],
    detector_checkpoint: Path,
    write_video: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    same_environment: None,
) -> dict[str, str]:
    """What stands for the words in capitals; the working directory holds trained models and photos."""
    photos = sorted(shapes_checkpoints["photos"].iterdir())
    Path("list.txt").write_text("\n".join(map(str, photos)))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(str(photos[0]).encode())))
    write_video(Path("clip.mp4"))
    for model in ("all", "mask", "label"):
        shutil.copytree(shapes_checkpoints[model].parent, model)
    shutil.copytree(detector_checkpoint.parent, "detector")
    folder = str(photos[0].parent)
    return {**TRAINED, **dict.fromkeys(("PHOTOS", "SOME_PHOTOS", "IMAGES..."), folder), "PHOTO": str(photos[0])}


@pytest.mark.parametrize("command", page_commands())
def test_the_commands_of_the_pages_run(command: str, places: dict[str, str], exported: Any) -> None:
    name, *args = shlex.split(command)
    if {"--help", "--help_all"} & {*args}:
        with pytest.raises(SystemExit, match="0"):
            main([name, *args])
    elif name in FITS:
        _run_a_fit(name, args)
    elif name == "detect":
        _run_on_windows([name, *args], places)
    else:
        files = {word: str(exported[file]) for word, file in EXPORTED.items() if word in args}
        _run_on_shapes(name, args, {**places, **files})


def _run_on_shapes(name: str, args: list[str], places: dict[str, str]) -> None:
    """Runs a command on a model that is trained already; it leaves a file."""
    if name == "export" or args[0] in ("attack", "maximize"):
        places["CHECKPOINT"] = "label/last.ckpt"
    args = [places.get(part, part).replace("PHOTOS/", f"{places['PHOTOS']}/") for part in args]
    args = [re.sub(r"^runs/.*/TIME/best.ckpt$", "all/last.ckpt", part) for part in args]
    args = [str(ROOT / part) if part.startswith("configs/") else part for part in args]
    if name in ("test", "validate"):
        args += ["--trainer.logger", "false", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    elif name == "export":
        args += ["--max_drop", "100"] if {"--int8", "--resize"} & set(args) else []
    elif name == "evaluate":
        args += ["--draws", "10"]
    elif args[0] in ("attack", "maximize"):
        args += ["--steps", "2"]
    before = set(Path().rglob("*"))
    main([name, *args])
    assert any(path.is_file() for path in set(Path().rglob("*")) - before)


def _run_a_fit(name: str, args: list[str]) -> None:
    """A few steps of a config, with what the command says of it; a network that it names is a real one."""
    args = [{"[4096, 4096]": "[16, 16]"}.get(part, part) for part in args]  # a quarter of a gigabyte
    args = ["false" if before.endswith("backbone.pretrained") else part for before, part in pairwise(["", *args])]
    folder = next((folder for part, folder in FOLDERS.items() if any(part in arg for arg in args)), "photos")
    data = {
        "PATH": f"data/{folder}",
        "PATH_TO_PHOTOS": f"data/{folder}",
        "CONFIG": "configs/classification/flowers5.yaml",
    }
    args = [data.get(part, part) for part in args]
    config = ROOT / args[1] if args[1].startswith("configs/") else find_config(args[1])
    args = [str(ROOT / part) if part.startswith("configs/") else part for part in args]
    named, small = "--model.backbone.name" in args, config.stem.startswith("cifar10")
    size = shrunk(config) if small or not named else ["--data.image_size", "96"]
    size = ["--data.image_size", "16"] if "zca" in args else size  # a matrix of 3072 rows takes ten seconds
    steps = {"fit": ["--trainer.max_steps", "2"], "lr_find": ["--trainer.max_steps", "14"]}.get(name, [])
    one = ["--trainer.devices", "1", "--trainer.num_nodes", "1"]
    main([name, *args[:2], *FEW, *size, *steps, *args[2:], *one])
    (run,) = Path("runs").glob(f"{config.stem}*/*")
    assert any(run.glob("*.ckpt" if name in ("fit", "probe") else "*.png"))


def _run_on_windows(args: list[str], places: dict[str, str]) -> None:
    """Runs a command that needs a model of windows, on one that was trained for two steps."""
    config = ROOT / "configs/course/sliding.yaml"
    main(["fit", "-c", str(config), *FEW, *shrunk(config), "--trainer.callbacks", "null"])
    (checkpoint,) = Path("runs").glob("*/*/last.ckpt")
    places["CHECKPOINT"] = str(checkpoint)
    main(args := [places.get(part, part) for part in args])
    assert any(path.suffix == ".csv" for path in Path(args[args.index("--output") + 1]).iterdir())
