"""What the code as a whole promises: which room imports which, what is never called, what is installed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "visiontasks").rglob("*.py"))

LAYERS = (  # a room imports from the layers before its own
    ("core",),
    ("targets",),
    ("losses", "data"),
    ("models",),
    ("tasks",),
    ("callbacks",),
    ("predict",),
    ("evaluate",),
    ("doctor",),
    ("inspect", "export"),
    ("report", "demo"),
    ("cli",),
)
ALLOWED_CALLS = {
    "torch.load": {"checkpoint.py"},
    "pickle": {"checkpoint.py"},  # its error
    "yaml.load": {"parser.py"},  # with a SafeLoader
}
NEVER = {
    *("eval", "exec", "compile", "__import__", "marshal", "shelve", "dill", "joblib", "cloudpickle"),
    *("cv2.imread", "os.system", "os.popen", "numpy.load", "np.load", "torch.hub", "torch.jit.load"),
    *("yaml.unsafe_load", "yaml.full_load", "extractall", "unpack_archive", "urlopen", "urlretrieve"),
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module_name(path: Path) -> str:
    """`visiontasks.core.images`; a package is its own `__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def room(module: str) -> str:
    return module.split(".")[1]


def imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Our modules that these statements import; `visiontasks.__version__` is none."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            if node.module == "visiontasks":
                yield from (f"visiontasks.{alias.name}" for alias in node.names if alias.name != "__version__")
            elif (node.module or "").startswith("visiontasks."):
                yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("visiontasks."))


def edges() -> set[tuple[str, str, str]]:
    """The importing file, its room, and the room that it imports."""
    found = set()
    for path in FILES:
        own = room(module_name(path))
        rooms = {room(module) for module in imports(ast.walk(tree(path)))} - {own}
        found |= {(module_name(path), own, other) for other in rooms}
    return found


def test_rooms_import_only_from_lower_layers() -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    folders = {path.name for path in (ROOT / "visiontasks").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == level.keys()
    assert [path.name for path in (ROOT / "visiontasks").glob("*.py")] == ["__init__.py", "__main__.py"]
    known = {edge for edge in edges() if edge[0] not in ("visiontasks.__init__", "visiontasks.__main__")}
    assert [edge for edge in known if level[edge[2]] >= level[edge[1]]] == []
    assert [edge for edge in known if {"data", "models"} == {edge[1], edge[2]}] == []
    assert [edge for edge in known if edge[1:] == ("tasks", "data")] == []


def test_rooms_are_few_and_loosely_coupled() -> None:
    pairs = {(own, other) for _, own, other in edges()}
    assert len({own for own, _ in pairs}) <= 15 + 1  # and the package itself
    assert len(pairs) <= 70


def test_no_module_needs_itself_to_be_imported() -> None:
    graph = {module_name(path): set(imports(tree(path).body)) for path in FILES}
    packages = {name.removesuffix(".__init__"): name for name in graph if name.endswith(".__init__")}
    TopologicalSorter({name: {packages.get(m, m) for m in found} for name, found in graph.items()}).prepare()


def test_files_are_short() -> None:
    assert [module_name(path) for path in FILES if len(path.read_text("utf-8").splitlines()) > 250] == []


def dotted(node: ast.AST) -> str:
    """The name `a.b.c` of an expression, or `?.c` where it begins with something else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def names_used(path: Path) -> set[str]:
    """Modules that a file imports, names that it takes from them and the functions that it calls, each as a, a.b ..."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            found.add(dotted(node))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.add(node.func.id)
    methods = {name.rpartition(".")[2] for name in found}
    return found | methods & {"extractall", "unpack_archive", "urlopen", "urlretrieve"}


def test_nothing_is_called_that_runs_or_trusts_a_file() -> None:
    violations = []
    for path in [*FILES, ROOT / "train.py"]:
        found = names_used(path)
        elsewhere = {name for name in found & ALLOWED_CALLS.keys() if path.name not in ALLOWED_CALLS[name]}
        violations += [(path.name, name) for name in sorted(found & NEVER | elsewhere)]
    assert violations == []


def test_no_program_is_started_through_a_shell() -> None:
    keywords = [node for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.keyword)]
    assert [ast.unparse(node) for node in keywords if node.arg == "shell"] == []


WRITERS = {"save": 0, "savefig": 0, "imwrite": 0, "savez": 0, "copy": 1, "copy2": 1, "copyfile": 1, "move": 1}
"""Functions that write a file, and the place of its path among their arguments."""
WRITTEN_ELSEWHERE = {
    ("graph.py", "program.save(str(path), external_data=False)"),  # to a part that the caller has opened
    ("graph.py", "torch.export.save(program, path, extra_files={SPEC: json.dumps(described)})"),
    ("checkpoint.py", "torch.save(content, noting)"),
    ("layers.py", "drawn.save(data, 'PNG', transparency=0)"),  # into memory
}


def written(node: ast.AST) -> str | None:
    """The path that an expression writes to; None if it writes none."""
    if isinstance(node, ast.Attribute) and node.attr in ("write_text", "write_bytes"):
        return ast.unparse(node.value)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or dotted(node.func) == "opened.save":
        return None  # the last is a method of inspect.py
    if node.func.attr != "open" and node.func.attr not in WRITERS:
        return None
    arguments, place = [ast.unparse(argument) for argument in node.args], WRITERS.get(node.func.attr)
    if node.func.attr == "open" and any(re.fullmatch("'[wax]b?'", argument) for argument in arguments):
        return ast.unparse(node.func.value)
    return arguments[place] if place is not None and place < len(arguments) else None


def parts(path: Path) -> set[str]:
    """The names of the new files that `atomic_write` or an output folder yields in a module."""
    items = [item for node in ast.walk(tree(path)) if isinstance(node, ast.With) for item in node.items]
    calls = [(item, item.context_expr) for item in items if isinstance(item.context_expr, ast.Call)]
    opened = [item for item, call in calls if dotted(call.func).rpartition(".")[2] in ("atomic_write", "write")]
    return {ast.unparse(item.optional_vars) for item in opened if item.optional_vars}


def test_every_file_is_written_completely_or_not_at_all() -> None:
    ours = ("files.py", "outputs.py", "lock.py")  # of core/, which keep this promise
    found = set()
    for path in FILES:
        known = parts(path)
        targets = [(written(node), node) for node in ast.walk(tree(path)) if path.name not in ours]
        found |= {(path.name, ast.unparse(node)) for target, node in targets if target and target not in known}
    assert found == WRITTEN_ELSEWHERE


INTERNAL = ("segmentation_models_pytorch.decoders", "segmentation_models_pytorch.base", "timm.layers.padding")
DOCUMENTED = {"_replace", "_asdict", "_fields"}  # of named tuples


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def private_imports(path: Path) -> set[str]:
    """Private names, and names from private or undocumented modules, that a file imports from a library."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = {name for name in found if not name.startswith("visiontasks.")}
    return {name for name in found if any(map(is_private, name.split("."))) or f"{name}.".startswith(INTERNAL)}


@cache
def our_private_names() -> tuple[set[str], set[str]]:
    """Those of functions, classes and annotated attributes; and, with them, those that are assigned to `self`."""
    nodes = [node for path in FILES for node in ast.walk(tree(path))]
    declared = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    declared |= {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
    stored = [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    return declared, declared | {node.attr for node in stored if dotted(node.value) == "self"}


def private_attributes(path: Path) -> set[str]:
    """Expressions such as `trainer._loop` whose private attribute is not one of ours.

    Of `self`, `cls` and `super()` any is ours that the package declares or assigns to `self`; of another object only
    what is declared, since libraries too have attributes with common names. Names of torch's operators are no access.
    """
    declared, own = our_private_names()
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and dotted(node.value) != "aten":
            ours = own if ast.unparse(node.value) in ("self", "cls", "super()") else declared | DOCUMENTED
            found |= set() if node.attr in ours else {ast.unparse(node)}
        elif isinstance(node, ast.Call) and dotted(node.func) in ("getattr", "setattr", "hasattr"):
            (name,) = [ast.literal_eval(arg) for arg in node.args[1:2] if isinstance(arg, ast.Constant)] or [""]
            found |= {ast.unparse(node)} if is_private(name) and name not in declared else set()
    return found


def test_only_compat_touches_private_parts_of_libraries() -> None:
    found = {module_name(path): private_imports(path) | private_attributes(path) for path in FILES}
    found = {name: parts for name, parts in found.items() if parts and room(name) != "cli"}  # cli/ subclasses parsers
    assert found.keys() == {"visiontasks.core.compat"}, found


def test_only_one_file_knows_weights_and_biases() -> None:
    library = {"wandb", "lightning.pytorch.loggers.WandbLogger"}
    ours = "visiontasks.callbacks.wandb"
    allowed = (ours, "visiontasks.core.moved", "visiontasks.core.compat")
    others = [path for path in FILES if module_name(path) not in allowed]
    found = {
        path.name for path in others if library & names_used(path) or "wandb" in path.read_text().replace(ours, "")
    }
    assert found == set()


def test_weights_are_read_as_data_only() -> None:
    calls = [node for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    readers = [node for node in calls if dotted(node.func) in ("torch.load", "load_state_dict")]
    options = [{keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords} for node in readers]
    assert readers
    assert [ast.unparse(n) for n, o in zip(readers, options, strict=True) if o.get("weights_only") != "True"] == []


@pytest.mark.parametrize(
    "code",
    [
        "import visiontasks",
        "from visiontasks.cli import main; main(['--help'])",
        "from visiontasks.cli import main; main([])",
        "from visiontasks.cli import main; main(['--version'])",
    ],
)
def test_starting_is_quick(code: str) -> None:
    code = f"import sys; sys.argv = ['visiontasks']; {code}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {"torch", "lightning", "timm", "numpy", "cv2", "albumentations", "jsonargparse"}
    assert not heavy & set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("package", "last_refused", "floor"),
    [("lightning", "2.6.5", "2.6.6"), ("torch", "2.10.0", "2.11"), ("pillow", "12.3.0", "13.0.0")],
)
def test_versions_with_known_holes_are_refused(package: str, last_refused: str, floor: str) -> None:
    requirements = [Requirement(line) for line in metadata.requires("visiontasks") or []]
    (allowed,) = [requirement.specifier for requirement in requirements if requirement.name == package]
    assert not allowed.contains(last_refused)
    assert allowed.contains(floor)
    assert allowed.contains(metadata.version(package).split("+")[0])


@pytest.mark.parametrize(
    "package", ["jsonargparse", "lightning", "pytorch-lightning", "segmentation-models-pytorch", "timm"]
)
def test_the_next_minor_version_of_what_we_reach_into_is_refused(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(line) for line in project["dependencies"]]
    (allowed,) = [requirement.specifier for requirement in requirements if requirement.name == package]
    installed = Version(metadata.version(package))
    assert allowed.contains(installed)
    assert not allowed.contains(f"{installed.major}.{installed.minor + 1}.0")
