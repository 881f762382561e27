"""Every shipped config trains, tests and predicts, for a few steps on data written here (T1, A4, R7, R10)."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
import yaml
from PIL import Image

from visiontasks.cli import main

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path
    for path in (ROOT / "configs").rglob("*.yaml")
    if path.parent.name not in ("data", "studies", "sweeps") and path.name != "ddp.yaml"
)
FEW = [
    *("--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1", "--trainer.limit_test_batches", "1"),
    *("--trainer.enable_progress_bar", "false", "--trainer.logger", "false", "--trainer.accelerator", "cpu"),
    *("--data.batch_size", "4"),
]
SMALL = ["--data.image_size", "32", "--data.train_size", "32"]


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose data/ holds a few images of every set that the configs read."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)

    def picture(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 30, 3), np.uint8)).save(path)

    for name in ("daisy", "roses"):
        for i in range(10):
            picture(tmp_path / "data/flowers5/train" / name / f"{i}.jpg")
            picture(tmp_path / "data/flowers5/val" / name / f"{i}.jpg")
            picture(tmp_path / "data/photos" / name / f"{i}.jpg")
    rows = [f"daisy/{i}.jpg,{i}" for i in range(10)]
    (tmp_path / "data/values.csv").write_text("\n".join(["path,value", *rows]))
    _write_boxes(tmp_path / "data/raccoon", picture)
    _write_boxes(tmp_path / "data/boxes", picture)
    _write_pets(tmp_path / "data/pets3/oxford-iiit-pet", picture, rng)
    _write_masks(tmp_path / "data", picture, rng)
    _write_cifar10(tmp_path / "data/cifar-10-batches-py", rng, monkeypatch)
    _write_fashion_mnist(tmp_path / "data/FashionMNIST/raw", rng)
    return tmp_path


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
    """The same boxes as XML files, as COCO and as a table."""
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


def _write_annotations(folder: Path, images: list[Path]) -> None:
    folder.mkdir(parents=True)
    for image in images:
        name = "dog" if image.stem[0].islower() else "cat"
        box = "<xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>18</ymax>"
        node = f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"
        (folder / f"{image.stem}.xml").write_text(node)


def _write_cifar10(root: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir(parents=True)
    cifar = torchvision.datasets.CIFAR10
    batch = {"data": rng.integers(0, 255, (40, 3072), np.uint8), "labels": [i % 10 for i in range(40)]}
    for name in ("data_batch_1", "test_batch"):
        (root / name).write_bytes(pickle.dumps(batch))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr(cifar, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", None]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": None})


def _write_fashion_mnist(root: Path, rng: np.random.Generator) -> None:
    root.mkdir(parents=True)
    for part in ("train", "t10k"):
        images, labels = rng.integers(0, 255, (40, 28, 28), np.uint8), np.arange(40, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (root / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.relative_to(ROOT / "configs").as_posix())
def test_config_fits_tests_and_predicts(config: Path, sets: Path) -> None:
    few = FEW if config.parent.name == "course" else [*FEW, *SMALL]  # its images are small already
    text = config.read_text("utf-8")
    if "class_path: Scenes" in text:
        few = [*few, "--data.dataset.source.count", "8"]
    elif "class_path: Shapes" in text:
        few = [*few, "--data.dataset.count", "32"]
    main(["fit", "-c", str(config), *few, "--trainer.max_epochs", "1"])
    (run,) = (sets / "runs" / config.stem).iterdir()
    checkpoint = str(run / "last.ckpt")
    main(["test", "-c", str(config), *few, "--ckpt_path", checkpoint])
    image = next((sets / "data/flowers5").rglob("*.jpg"))
    main(["predict", checkpoint, str(image), "--output", str(sets / "out"), "--device", "cpu"])
    assert len((sets / "out/predictions.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("config", [*CONFIGS, ROOT / "configs/ddp.yaml"], ids=lambda path: path.name)
def test_config_says_its_command_and_is_short(config: Path) -> None:
    text = config.read_text("utf-8")
    assert (
        f"visiontasks fit -c configs/{config.relative_to(ROOT / 'configs').as_posix()}" in text or config.stem == "ddp"
    )
    assert text.startswith("# ")
    assert len(text.splitlines()) <= 30
    assert yaml.safe_load(text)


@pytest.mark.parametrize("study", sorted((ROOT / "configs/studies").glob("*.yaml")), ids=lambda path: path.name)
def test_study_runs_all_its_steps(study: Path, sets: Path) -> None:
    main(["study", str(study), *FEW, "--trainer.max_epochs", "1"])
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
    net = ["--model.backbone", "{name: test_resnet, pretrained: false}"]
    main([*args, *FEW, *net, *SMALL, "--trainer.max_epochs", "1"])
    (run,) = (sets / "runs").glob("*/*")
    written = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    assert written["data"]["augment"] == parameters["data.augment"]
    assert written["model"]["init_args"]["optimizer"]["init_args"]["lr"] == parameters["model.optimizer.lr"]
    with (run / "metrics.csv").open() as file:
        assert content["metric"]["name"] in (csv.DictReader(file).fieldnames or [])


PAGE = (ROOT / "docs/course.md").read_text("utf-8")
COMMANDS = re.findall(r"`(visiontasks [^`]+)`", PAGE)
# what a page cannot know, and a quarter of a gigabyte that every checkpoint would have
INSTEAD = {"PATH": "data/photos", "PHOTOS": "data/flowers5/val", "[4096, 4096]": "[16, 16]"}


def test_the_pages_plain_commands_are_those_that_are_tested_here() -> None:
    plain = {command.split()[-1] for command in COMMANDS if re.fullmatch(r"visiontasks fit -c \S+", command)}
    assert plain <= {path.relative_to(ROOT).as_posix() for path in CONFIGS}
    studies = {command.split()[2] for command in COMMANDS if command.startswith("visiontasks study ")}
    assert studies == {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs/studies").glob("*.yaml")}


@pytest.mark.parametrize(
    "command",
    [command for command in dict.fromkeys(COMMANDS) if not re.fullmatch(r"visiontasks (fit -c|study) \S+", command)],
)
def test_the_pages_other_commands_run(command: str, sets: Path) -> None:
    command = re.sub(r"(--model\.backbone\.pretrained) \S+", r"\1 false", command)
    name, *args = [INSTEAD.get(part, part) for part in shlex.split(command)[1:]]
    if name == "predict":
        main([name, *args, "--device", "cpu"])
        assert (sets / "predictions/predictions.csv").is_file()
        return None
    if name in ("inspect", "detect"):
        return _run_on_a_checkpoint([name, *args], sets)
    args[1] = str(ROOT / args[1])
    size = [] if "/course/" in args[1] else ["--data.image_size", "96"]
    size = ["--data.image_size", "16"] if "zca" in args else size  # a matrix of 3072 rows takes ten seconds
    steps = ["--trainer.max_steps", "14" if name == "lr_find" else "2"]
    main([name, *args, *FEW, *size, *steps])
    (run,) = (sets / "runs" / Path(args[1]).stem).iterdir()
    assert any(run.glob("*.ckpt" if name == "fit" else "*.png"))
    return None


def _run_on_a_checkpoint(args: list[str], sets: Path) -> None:
    """Runs a command on a model that was trained for two steps, or on the config that it names."""
    config = "classification/flowers5" if args[0] == "inspect" else "course/sliding"
    net = ["--model.backbone", "{name: test_resnet, pretrained: false}", "--trainer.callbacks", "null"]
    net += ["--data.dataset.source.count", "8"] if args[0] == "detect" else []
    main(["fit", "-c", str(ROOT / f"configs/{config}.yaml"), *FEW, *net, "--data.image_size", "32"])
    (checkpoint,) = (sets / "runs").glob("*/*/last.ckpt")
    steps = ["--steps", "2"] if args[1] in ("maximize", "attack") else []
    place = {"CHECKPOINT": str(checkpoint)}
    main([*(str(ROOT / part) if part.endswith(".yaml") else place.get(part, part) for part in args), *steps])
    folder = "detections" if args[0] == "detect" else "runs/*/*/inspect" if "CHECKPOINT" in args else "runs/*/*"
    assert any(path.suffix in (".png", ".csv") for path in sets.glob(f"{folder}/*"))


# README.md, docs/predict.md and docs/export.md

PAGES = [ROOT / "README.md", ROOT / "docs/predict.md", ROOT / "docs/export.md"]
FITS = ("fit", "probe", "preview", "lr_find")
FOLDERS = {"classification/folder": "photos", "localization/voc": "boxes", "segmentation/folder": "masks"}
TESTED = r"fit -c configs/\S+|study STUDY\.yaml|detect .*"  # above


def page_commands() -> list[str]:
    """Every command of the pages, one each, but those tested above; of several machines what one process runs."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8").replace("\\\n", " ")
        blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line.split("  #")[0] for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`(visiontasks [a-z_]+ [^`]+)`", text)
        parts = (re.split(r"\b(?:visiontasks|train\.py) ", line, maxsplit=1) for line in lines)
        found += [part[1].strip() for part in parts if len(part) == 2]
    return [command for command in dict.fromkeys(found) if not re.fullmatch(TESTED, command)]


@pytest.fixture
def same_environment() -> Iterator[None]:
    """What DDP leaves, gone."""
    saved = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(saved)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("command", page_commands())
def test_the_commands_of_the_other_pages_run(
    command: str,
    sets: Path,
    shapes_checkpoints: dict[str, Path],
    exported: dict[str, Path],
    same_environment: None,
    write_video: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, *args = shlex.split(command)
    if "--help" in args:
        with pytest.raises(SystemExit, match="0"):
            main([name, *args])
        return
    photos = sorted(shapes_checkpoints["photos"].iterdir())
    Path("list.txt").write_text("\n".join(map(str, photos)))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(str(photos[0]).encode())))
    write_video(Path("clip.mp4"))
    for model in ("all", "mask"):
        shutil.copytree(shapes_checkpoints[model].parent, model)
    config = "configs/classification/flowers5.yaml" if name in FITS else "all/config.yaml"
    root = next((folder for part, folder in FOLDERS.items() if part in command), "")
    places = {
        **dict.fromkeys(("CHECKPOINT", "MODEL", "OTHER_MODEL", "best.ckpt", "last.ckpt"), "all/last.ckpt"),
        **dict.fromkeys(("PHOTOS", "SOME_PHOTOS", "IMAGES..."), str(photos[0].parent)),
        **{"SEGMENTER": "mask/last.ckpt", "PHOTO": str(photos[0]), "LIST.txt": "list.txt", "VIDEO.mp4": "clip.mp4"},
        **{"best.onnx": str(exported["all.onnx"]), "PROGRAM.pt2": str(exported["all.pt2"]), "DIR": "predictions"},
        **{"CONFIG": config, "PATH_TO_PHOTOS": f"data/{root}"},
    }
    args = [places.get(part, part).replace("PHOTOS/", f"{photos[0].parent}/") for part in args]
    args = [re.sub(r"^runs/.*/TIME/best.ckpt$", "all/last.ckpt", part) for part in args]
    args = [str(ROOT / part) if part.startswith("configs/") else part for part in args]
    if name in FITS:
        net = ["--model.backbone", "{name: test_resnet, pretrained: false}", *SMALL]
        steps = ["--trainer.max_steps", "14" if name == "lr_find" else "2"] if name in ("fit", "lr_find") else []
        one = ["--trainer.devices", "1", "--trainer.num_nodes", "1"]
        main([name, *args, *FEW, *net, *steps, *one])
        assert any((sets / "runs").rglob("*.*"))
        return
    if name in ("test", "validate"):
        args += ["--trainer.logger", "false", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    elif name == "export":
        args += ["--max_drop", "100"] if {"--int8", "--resize"} & set(args) else []
    elif name == "evaluate":
        args += ["--draws", "10"]
    main([name, *args])
    folder = {"predict": "predictions", "evaluate": "all/evaluation", "inspect": "all/inspect", "export": "all"}
    assert any(path.is_file() for path in (sets / folder.get(name, "runs")).rglob("*"))
