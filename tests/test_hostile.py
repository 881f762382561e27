"""Nothing in a checkpoint, or in a config beside it, runs code: each payload would leave a file behind."""

from __future__ import annotations

import copy
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import visiontasks
from visiontasks.cli import main
from visiontasks.cli.opening import data_classes, open_data
from visiontasks.core.build import build
from visiontasks.core.errors import InputError
from visiontasks.losses import CrossEntropy, Focal, WeightedSum
from visiontasks.models import Backbone, LabelHead
from visiontasks.tasks import VisionTask
from visiontasks.tasks.checkpoint import VERSION_KEY
from visiontasks.tasks.restore import build_task, model_classes, restore_task

SPEC = {"class_names": ["a", "b"], "mask_names": [], "image_size": 32, "resize": "stretch"}
USERS_MODULE = """
from pathlib import Path
from visiontasks.models import LabelHead
from visiontasks.data import Shapes
import albumentations

def touch(*args, **kwargs):
    Path(CANARY).touch()

class Any_:
    def __init__(self, *args, **kwargs):
        touch()

class OwnHead(LabelHead, Any_):
    def __init__(self, channels, num_classes):
        touch()
        super().__init__(channels, num_classes)

class OwnSet(Shapes):
    def __init__(self, split):
        touch()
        super().__init__(split, count=16, size=32)

class OwnFlip(albumentations.HorizontalFlip):
    def __init__(self, p=0.5, **options):
        touch()
        super().__init__(p, **options)
"""
PATHS = [  # functions, classes that run something, and modules' attributes with trusted prefixes
    *("os.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "functools.partial", "pathlib.Path.touch"),
    *("torch.nn.parallel.distributed.os.system", "visiontasks.tasks.base.os.system", "torch.load", "torch.hub.load"),
    *(
        "visiontasks.tasks.checkpoint.subprocess.Popen",
        "visiontasks.models.backbone.timm.create_model",
        "antigravity.geohash",
    ),
    *("torch.optim.lr_scheduler.partial", "albumentations.load", "torch.nn.modules.module.functools.partial"),
    *(
        "imported.touch",
        "imported.Any_",
        "imported.OwnHead",
        "imported.OwnSet",
        "imported.OwnFlip",
        "never_imported.touch",
    ),
]
WRONG_PLACE = ["torch.optim.SGD", "torch.nn.ReLU", "visiontasks.losses.Focal", "visiontasks.models.Backbone"]
RIGHT_PLACE = [
    ("optimizer", WRONG_PLACE[0]),
    ("loss", WRONG_PLACE[2]),
    (0, WRONG_PLACE[2]),
    ("backbone", WRONG_PLACE[3]),
]
Where = tuple[str | int, ...]
LABEL: Where = ("heads", "label", "init_args")
OBJECTS: list[Where] = [  # places of objects in a description
    *(("optimizer",), ("schedule",), ("heads", "label"), (*LABEL, "loss"), (*LABEL, "loss", "init_args", "losses", 0)),
]
PLAIN: list[Where] = [  # places of something else
    *(("spec", "class_names"), ("spec", "more"), (*LABEL, "hidden"), (*LABEL, "pool"), ("loss_weights",), ("weights",)),
    *(("backbone", "init_args", "name"), ("backbone", "init_args", "normalization"), ("backbone_lr_ratio",)),
]


@pytest.fixture(scope="session")  # the module is imported once, so a worker that comes back must not write another one
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file that nothing may make; the modules `imported` and `never_imported` would."""
    folder = tmp_path_factory.mktemp("modules")
    path = folder / "canary"
    (folder / "imported.py").write_text(USERS_MODULE.replace("CANARY", repr(str(path))))
    (folder / "never_imported.py").write_text(f"open({str(path)!r}, 'w').close()\ndef touch(): pass\n")
    sys.path.append(str(folder))
    import_module("imported")
    yield path
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def good() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The description and the weights of a model that has everything."""
    head = partial(LabelHead, hidden=[4], loss=WeightedSum([CrossEntropy(), Focal()], [1.0, 1.0]))
    task = VisionTask(SPEC, Backbone("test_resnet", False), {"label": head}, {"label": 1.0})
    return dict(task.hparams), task.state_dict()


def changed(description: dict[str, Any], place: Where, value: Any) -> dict[str, Any]:
    """A description with another value somewhere in its `init_args`."""
    new = copy.deepcopy(description)
    part: Any = new["init_args"]
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return new


def objects(path: str, canary: Path) -> list[Any]:
    """The ways to name a class or function."""
    return [{"class_path": path, "init_args": {"command": f"touch {canary}"}}, {"class_path": path}, path, [path]]


def hostile_descriptions(good: dict[str, Any], canary: Path) -> Iterator[tuple[str, Any]]:
    """Every payload in every place, and descriptions of another form."""
    for path in [*PATHS, *WRONG_PLACE]:
        yield f"model {path}", {**good, "class_path": path}
        for place in (*OBJECTS, ("backbone",), ("heads",)):
            if (place[-1], path) not in RIGHT_PLACE:
                for number, value in enumerate(objects(path, canary)):
                    yield f"{place} {path} {number}", changed(good, place, value)
    for value in (None, "os.system", 3, [], ["os.system"], {}, {"init_args": {}}, {"class_path": ["os.system"]}):
        yield f"whole {value}", value
    for value in ("os.system", ["os.system"], 3, {"os.system": 1}, {1: 2}):
        yield f"init_args {value}", {**good, "init_args": value}
        yield (
            f"head {value}",
            changed(good, ("heads", "label"), {**good["init_args"]["heads"]["label"], "init_args": value}),
        )
    yield "dict_kwargs", {**good, "dict_kwargs": {"weights": "os.system"}}
    yield "instantiator", {**good, "_instantiator": "os.system"}
    yield "instantiator of arguments", changed(good, ("_instantiator",), "os.system")
    yield "tensor", changed(good, ("spec", "more"), torch.zeros(2))


def save(path: Path, description: Any, state: Any = None, spec: Any = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    about = {"version": "0.1.0", "spec": SPEC if spec is None else spec}
    lightning = {"pytorch-lightning_version": "2.6.6", "epoch": 0, "global_step": 0}
    torch.save({**lightning, VERSION_KEY: about, "state_dict": state or {}, "hyper_parameters": description}, path)
    return path


def save_deep(path: Path, levels: int = 10_000) -> Path:
    """A checkpoint whose description is that deep; pickle itself would not write it."""
    save(path.with_suffix(".plain"), "DEEP")
    with zipfile.ZipFile(path.with_suffix(".plain")) as plain, zipfile.ZipFile(path, "w") as deep:
        for name in plain.namelist():
            content = plain.read(name)
            if name.endswith("data.pkl"):
                start = content.index(b"X\x04\x00\x00\x00DEEP")
                content = content[:start] + b"]" * levels + b"a" * (levels - 1) + content[start + 9 + 2 :]
            deep.writestr(name, content)
    return path


def config(**data: Any) -> dict[str, Any]:
    dataset = {"class_path": "Shapes", "init_args": {"count": 16, "size": 32}}
    return {"data": {"dataset": dataset, "image_size": 32, "augment": "none", "batch_size": 4, **data}}


ENTRIES: dict[str, Callable[[str, str], list[str]]] = {  # each ends with an error after the checkpoint was opened, too
    "predict": lambda model, user: ["predict", model, "no.png", "--output", "out", "--device", "cpu"],
    "export": lambda model, user: ["export", model, "--output", "wrong.suffix"],
    "evaluate": lambda model, user: ["evaluate", model, "no.ckpt", "--device", "cpu"],
    "inspect": lambda model, user: ["inspect", "features", model, "--layer", "none"],
    "detect": lambda model, user: ["detect", model, "no.png", "--output", "out", "--device", "cpu"],
    "test": lambda model, user: ["test", "-c", user, "--ckpt_path", model],
    "fit": lambda model, user: ["fit", "-c", user, "--ckpt_path", model],
    "load": lambda model, user: ["load", model],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files of the errors that come after the checkpoint."""
    monkeypatch.chdir(tmp_path)
    for name in ("no.png", "no.ckpt"):
        (tmp_path / name).write_bytes(b"neither image nor checkpoint")
    return tmp_path


def error_of(args: list[str], capsys: pytest.CaptureFixture) -> str:
    """The message of a command, which must end with one."""
    if args[0] == "load":
        with pytest.raises(InputError) as refused:
            visiontasks.load(args[1], device="cpu")
        return str(refused.value)
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_no_description_of_a_model_runs_or_imports_anything(good: Any, canary: Path) -> None:
    description, _ = good
    accepted, count = [], 0
    for name, hostile in hostile_descriptions(description, canary):
        count += 1
        with suppress(InputError):
            build_task(hostile)
            accepted.append(name)
        assert not canary.exists(), name
    assert accepted == []
    assert count > 700
    assert not {"antigravity", "never_imported"} & sys.modules.keys()
    for path in PATHS[::3]:  # texts are only texts where a text is expected
        for place in PLAIN:
            for value in objects(path, canary)[1:]:
                with suppress(InputError):
                    build_task(changed(description, place, value))
                assert not canary.exists(), (place, value)


def test_every_command_refuses_hostile_checkpoints(
    good: Any, canary: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(config()))
    cases = list(hostile_descriptions(good[0], canary))
    chosen = [*cases[:: len(cases) // 45], *cases[-6:]]
    files = [save(folder / f"{number}.ckpt", hostile) for number, (_, hostile) in enumerate(chosen)]
    files.append(save_deep(folder / "deep.ckpt"))
    assert len(files) >= 50
    for entry, args in ENTRIES.items():
        for file in files:
            message = error_of(args(str(file), "config.yaml"), capsys)
            assert not canary.exists(), (entry, file)
            assert not any(after in message for after in ("no.png", "wrong.suffix", "no.ckpt", "--layer")), message


def test_every_command_opens_a_good_checkpoint(good: Any, folder: Path, capsys: pytest.CaptureFixture) -> None:
    """What the test before takes as refused is so for its content, and what is not needed is ignored."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config()))
    description = changed(good[0], ("weights",), "imported.touch")
    description = changed(description, ("backbone", "init_args", "pretrained"), "imported.touch")
    file = str(save(folder / "good.ckpt", description, good[1]))
    assert visiontasks.load(file, device="cpu").class_names == ["a", "b"]
    found = {entry: error_of(ENTRIES[entry](file, "config.yaml"), capsys) for entry in list(ENTRIES)[:5]}
    expected = {"predict": "no.png", "export": "wrong.suffix", "evaluate": "no.ckpt", "inspect": "--layer"}
    assert [entry for entry, text in expected.items() if text not in found[entry]] == []
    # its classes are not those of the config, and it has no state of an optimizer
    for entry, text in {"test": "class_names", "fit": "has no state of a fit that could go on"}.items():
        assert text in error_of(ENTRIES[entry](file, "config.yaml"), capsys)


def test_weights_to_start_from_are_read_as_data(
    good: Any, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    own = config() | {"model": {"class_path": "ClassificationTask", "init_args": {"backbone": {"name": "test_resnet"}}}}
    own["model"]["init_args"]["backbone"]["pretrained"] = False
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(own))
    evil = {"class_path": "imported.touch"}
    for spec in ("imported.touch", [evil], evil, {"class_names": evil}, {"class_names": "imported.touch"}, {}):
        file = save(tmp_path / "evil.ckpt", evil, {"imported.touch": evil}, spec)
        error_of(["fit", "-c", "config.yaml", "--model.weights", str(file)], capsys)
        assert not canary.exists()


def hostile_configs() -> Iterator[tuple[str, str, bool]]:
    """Name, text, and whether it must be refused; else the part is not read."""
    for path in PATHS:
        evil = {"class_path": path, "init_args": {"command": "touch canary", "split": "train"}}
        wrong = [evil, path, [evil], {"class_path": "Windows", "init_args": {"source": evil}}]
        wrong += [{"class_path": "ImageFolder", "init_args": {"root": "x", "splits": evil}}]
        yield from ((f"dataset {path} {i}", yaml.safe_dump(config(dataset=one)), True) for i, one in enumerate(wrong))
        steps = [[evil], [{"class_path": "OneOf", "init_args": {"transforms": [evil]}}], evil, path, [path]]
        steps += [[{"class_path": "HorizontalFlip", "init_args": {"p": evil}}]]
        yield from ((f"augment {path} {i}", yaml.safe_dump(config(augment=one)), True) for i, one in enumerate(steps))
        yield f"argument {path}", yaml.safe_dump(config(init_args=evil)), True
        yield f"data {path}", yaml.safe_dump({"data": evil}), True
        unread = {"model": evil, "trainer": {"callbacks": [evil], "logger": evil}, "imports": ["never_imported"]}
        yield f"unread {path}", yaml.safe_dump(config() | unread), False
    for text in ("[" * 10_000, "{a: " * 10_000, "data: os.system", "[os.system]", "data: [os.system]"):
        yield text[:20], text, True
    yield "tag", "data: !!python/object/apply:os.system ['touch canary']", True
    lines = [
        "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]",
        *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)),
    ]
    yield "aliases", "\n".join(lines), True
    yield "cycle", "data: &a {dataset: *a}", True


def test_every_command_refuses_hostile_configs_beside_a_checkpoint(
    good: Any, canary: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    model, place = str(save(folder / "good.ckpt", *good)), folder / "config.yaml"
    cases = list(hostile_configs())
    for name, text, refused in cases:
        place.write_text(text)
        with pytest.raises(InputError) if refused else nullcontext() as caught:
            open_data(place, beside=True)
        assert not caught or len(str(caught.value)) < 2000, name
        assert not canary.exists(), name
    chosen = [*cases[::9], *cases[-8:]]
    assert len(chosen) >= 40
    entries = ["export", "evaluate", "inspect"]
    for number, (name, text, refused) in enumerate(chosen):
        place.write_text(text)
        for entry in entries if text in (case[1] for case in cases[-8:]) else [entries[number % 3]]:  # one in turn
            message = error_of(ENTRIES[entry](model, ""), capsys)
            assert not canary.exists(), (entry, name)
            assert ("config.yaml" in message) == refused, (entry, name, message)
    assert not {"antigravity", "never_imported"} & sys.modules.keys()


class Prefixes(Mapping):
    """The rule that the tables replace: trusted prefixes, and whatever is imported already."""

    def __getitem__(self, path: str) -> Any:
        module, _, name = path.rpartition(".")
        while module not in sys.modules and "." in module:
            module, _, first = module.rpartition(".")
            name = f"{first}.{name}"
        if not path.startswith(("visiontasks.", "torch.")) and module not in sys.modules:
            raise KeyError(path)
        found = sys.modules[module]
        for part in name.split("."):
            found = getattr(found, part, None)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("table", [model_classes, data_classes, Prefixes])
def test_only_tables_of_classes_keep_all_payloads_out(table: Callable[[], Mapping], good: Any, canary: Path) -> None:
    resolved = [path for path in PATHS if table().get(path) is not None]
    if table is not Prefixes:
        assert resolved == []
        return
    assert {"torch.nn.parallel.distributed.os.system", "visiontasks.tasks.base.os.system", "os.system"} <= {*resolved}
    hostile = changed(good[0], ("heads", "label"), {"class_path": "imported.OwnHead"})
    build(hostile, VisionTask, Prefixes())
    assert canary.exists()
    canary.unlink()


def test_what_the_user_trusts_is_built(good: Any, canary: Path, tmp_path: Path) -> None:
    description = changed(good[0], ("heads", "label"), {"class_path": "imported.OwnHead"})
    module = sys.modules["imported"]
    path = str(save(tmp_path / "own.ckpt", description, build_task(description, [module]).state_dict()))
    for trust in ([module], [module.OwnHead]):
        assert type(restore_task(path, trust).heads["label"]) is module.OwnHead
        assert visiontasks.load(path, trust=trust, device="cpu").class_names == ["a", "b"]
    for trust in ([], [pytest], [module.OwnSet]):
        with pytest.raises(InputError, match=r"the class 'imported.OwnHead' .* pass `--imports imported`"):
            restore_task(path, trust)
    with pytest.raises(InputError, match=r"the class 'imported\.touch'"):
        build_task(changed(good[0], ("heads", "label"), {"class_path": "imported.touch"}), [module])
    canary.unlink()


def test_imports_name_the_users_own_modules(
    good: Any, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ownset_of_mine.py").write_text("from imported import OwnSet as Base\nclass OwnSet(Base): pass\n")
    own = config(dataset={"class_path": "ownset_of_mine.OwnSet"}) | {"imports": ["ownset_of_mine"]}
    net = {"backbone": {"name": "test_resnet", "pretrained": False}}
    own |= {"model": {"class_path": "ClassificationTask", "init_args": net}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    quiet = ["--trainer.max_epochs", "1", "--trainer.logger", "false", "--trainer.accelerator", "cpu"]
    main(["fit", "-c", "own.yaml", *quiet])
    (run,) = (tmp_path / "runs/own").iterdir()
    assert yaml.safe_load((run / "config.yaml").read_text())["imports"] == ["ownset_of_mine"]
    arguments = ["export", str(run / "last.ckpt"), "--output", "wrong.suffix"]
    assert "data.dataset: the class 'ownset_of_mine.OwnSet'" in error_of(arguments, capsys)
    assert "expected a name that ends with .onnx" in error_of([*arguments, "--imports", "ownset_of_mine"], capsys)
    assert "'no_such_module' cannot be imported" in error_of([*arguments, "--imports", "no_such_module"], capsys)
    canary.unlink()
