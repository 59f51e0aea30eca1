"""Reads the sources and holds the rules of docs/architecture.md; each rule is first shown to catch a violation."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "modeling_hfr_ame"
SOURCE_FOLDERS = (PACKAGE, "dataset_scripts", "examples", "benchmarks", "tests")

# A room imports only from rooms of a lower rank; equal rank means that neither imports the other.
ROOM_RANKS = {
    "closure": 0,
    "corruption": 1,
    "media": 1,
    "data": 2,
    "prompts": 3,
    "evaluation": 4,
    "prediction": 4,
    "training": 5,
    "widget": 5,
    "hub": 6,
    "cli": 7,
}
CLOSURE_LIBRARIES = {"torch", "numpy", "transformers", "huggingface_hub", "safetensors"}
FORBIDDEN_STEMS = {"utils", "helpers", "common", "misc"}
MAX_LINES = 600


def _python_files() -> list[Path]:
    return sorted(path for folder in SOURCE_FOLDERS for path in (REPOSITORY / folder).rglob("*.py"))


def _closure_files() -> list[Path]:
    return sorted(path for path in (REPOSITORY / PACKAGE).glob("*.py") if path.name != "__init__.py")


def _files_below(*folders: str) -> list[Path]:
    return [path for path in _python_files() if path.relative_to(REPOSITORY).parts[0] in folders]


def _collect(files: list[Path], rule: object) -> list[str]:
    assert callable(rule)
    return [
        f"{path.relative_to(REPOSITORY)}: {violation}"
        for path in files
        for violation in rule(path.relative_to(REPOSITORY), path.read_text(encoding="utf-8"))
    ]


def _room_of(module: str) -> str | None:
    """Names the room of a module of the package; None for the package itself, which may import everything."""
    parts = module.split(".")
    if len(parts) == 1:
        return None
    return parts[1] if parts[1] in ROOM_RANKS else "closure"


def _module_name(path: Path) -> tuple[str, str]:
    """Gives the dotted name of a file and of the package that its relative imports start from."""
    parts = path.with_suffix("").parts
    if parts[-1] == "__init__":
        return ".".join(parts[:-1]), ".".join(parts[:-1])
    return ".".join(parts), ".".join(parts[:-1])


def _imported_modules(path: Path, source: str) -> Iterator[tuple[int, str]]:
    """Yields line and absolute dotted name of everything imported, at any depth, as `module` or `module.name`."""
    _, package = _module_name(path)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in {"import_module", "__import__"}:
                yield node.lineno, str(node.args[0].value)


def find_direction_violations(path: Path, source: str) -> list[str]:
    """Finds imports that don't point to the left in docs/architecture.md, function-level imports included."""
    module, _ = _module_name(path)
    room = _room_of(module)
    if room is None:
        return []
    violations = []
    for line, target in _imported_modules(path, source):
        # A bare `import modeling_hfr_ame` takes no name: it registers the models with the Auto classes.
        if target.split(".")[0] != PACKAGE or target in (PACKAGE, f"{PACKAGE}.__version__"):
            continue
        found = _room_of(target)
        if found is None or not _is_file_or_room(target):
            violations.append(f"line {line}: {room} imports {target} through the package, which reaches every room")
        elif found != room and ROOM_RANKS[found] >= ROOM_RANKS[room]:
            violations.append(f"line {line}: {room} imports {target} of {found}, which isn't to its left")
    return violations


def _is_file_or_room(target: str) -> bool:
    first = target.split(".")[1]
    # A file in the snippets of the self-tests need not exist, so a deeper name counts as a module as well.
    return first in ROOM_RANKS or target.count(".") > 1 or (REPOSITORY / PACKAGE / f"{first}.py").is_file()


def find_closure_violations(path: Path, source: str) -> list[str]:
    """Finds what would break a file that transformers copied into a model repository."""
    tree = ast.parse(source)
    guarded = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try) for inner in ast.walk(node)}
    violations, relative_lines = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            relative_lines.add(node.lineno)
            if node.level > 1 or node.module is None or "." in node.module:
                violations.append(f"line {node.lineno}: a relative import has the form `from .sibling import name`")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for top in (name.split(".")[0] for name in names):
                if top == PACKAGE:
                    violations.append(f"line {node.lineno}: imports {PACKAGE} by its absolute name")
                elif top not in sys.stdlib_module_names | CLOSURE_LIBRARIES and id(node) not in guarded:
                    violations.append(f"line {node.lineno}: imports {top} outside try:")
    # transformers finds relative imports by a regular expression over the text, docstrings and comments included.
    for number, line in enumerate(source.splitlines(), start=1):
        if re.match(r"\s*(from|import)\s+\.", line) and number not in relative_lines:
            violations.append(f"line {number}: text that looks like a relative import")
    return violations


def find_name_violations(path: Path, source: str) -> list[str]:
    """Finds files and folders whose name says nothing about what they hold."""
    return [f"{part} says nothing about the content" for part in path.with_suffix("").parts if part in FORBIDDEN_STEMS]


def find_length_violations(path: Path, source: str) -> list[str]:
    """Finds files that are too long."""
    length = len(source.splitlines())
    return [f"{length} lines, at most {MAX_LINES}"] if length > MAX_LINES else []


def find_private_name_violations(path: Path, source: str) -> list[str]:
    """Finds private names that a script takes from the package, by import or by attribute."""
    violations = []
    for line, target in _imported_modules(path, source):
        parts = target.split(".")
        if parts[0] == PACKAGE and any(_is_private(part) for part in parts):
            violations.append(f"line {line}: imports the private name {target}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and getattr(node.value, "id", "") != "self":
            violations.append(f"line {node.lineno}: uses the private attribute {node.attr}")
    return violations


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


@pytest.mark.parametrize(
    ("path", "snippet"),
    [
        ("corruption/text.py", "from ..data.schema import rows"),
        ("corruption/text.py", "from ..media import decoding"),
        ("data/schema.py", "def load():\n    from modeling_hfr_ame.training import trainer"),
        ("data/schema.py", "import modeling_hfr_ame.evaluation.metrics"),
        ("data/schema.py", "import importlib\nimportlib.import_module('modeling_hfr_ame.training')"),
        ("data/__init__.py", "from ..training import main"),
        ("evaluation/runner.py", "from .. import training"),
        ("hub/card.py", "from ..cli import app"),
        ("prompts/store.py", "from ..training import main"),
        ("data/stored.py", "from ..prompts import PromptStore"),
        ("prediction/files.py", "from ..evaluation import metrics"),
        ("errors.py", "from .data import schema"),
        ("data/schema.py", "from modeling_hfr_ame import HfrAmeProcessor"),
    ],
)
def test_direction_rule_import_to_the_right_is_caught(path: str, snippet: str) -> None:
    assert len(find_direction_violations(Path(PACKAGE, path), snippet)) == 1


@pytest.mark.parametrize(
    ("path", "snippet"),
    [
        ("corruption/text.py", "from ..errors import InputError\nfrom .protocol import plan"),
        ("data/schema.py", "from ..corruption import SampleKey\nfrom ..media.decoding import decode"),
        ("prediction/predictor.py", "from ..data import clip_features\nfrom ..media import MediaLimits"),
        ("cli/train.py", "from ..training import main\nfrom .. import data\nfrom .. import __version__"),
        ("__init__.py", "from .training import main"),
        ("evaluation/runner.py", "import modeling_hfr_ame"),
        ("prompts/store.py", "from ..data.stored import load_stored_dataset\nfrom ..media import decode_audio"),
        ("training/run.py", "from ..prompts import PromptStore"),
        ("modeling_outputs.py", "from .errors import InputError\nimport torch"),
    ],
)
def test_direction_rule_import_to_the_left_passes(path: str, snippet: str) -> None:
    assert find_direction_violations(Path(PACKAGE, path), snippet) == []


@pytest.mark.parametrize(
    "snippet",
    [
        "from . import errors",
        "from ..errors import InputError",
        "from .data.schema import rows",
        "from modeling_hfr_ame.errors import InputError",
        "def load():\n    import modeling_hfr_ame",
        "import scipy",
        "def load():\n    from scipy import fft",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import datasets",
        '"""Write\n\n    from .errors import InputError\n"""',
        "# comment\n'''\nimport .errors\n'''",
    ],
)
def test_closure_rule_violation_is_caught(snippet: str) -> None:
    assert len(find_closure_violations(Path(PACKAGE, "fusion.py"), snippet)) == 1


def test_closure_rule_allowed_imports_pass() -> None:
    snippet = (
        '"""Says `from .errors import InputError` inside a line."""\n'
        "import math\nimport torch\nfrom transformers import PreTrainedModel\n"
        "from .errors import (\n    InputError,\n)\n"
        "try:\n    import soundfile\nexcept ImportError:\n    soundfile = None\n"
    )
    assert find_closure_violations(Path(PACKAGE, "fusion.py"), snippet) == []


@pytest.mark.parametrize("path", ["data/utils.py", "helpers/masks.py", "tests/common.py", "misc/__init__.py"])
def test_name_rule_empty_name_is_caught(path: str) -> None:
    assert len(find_name_violations(Path(path), "")) == 1


@pytest.mark.parametrize(("num_lines", "num_violations"), [(MAX_LINES, 0), (MAX_LINES + 1, 1)])
def test_length_rule_long_file_is_caught(num_lines: int, num_violations: int) -> None:
    assert len(find_length_violations(Path("a.py"), "x = 1\n" * num_lines)) == num_violations


@pytest.mark.parametrize(
    "snippet",
    [
        "from modeling_hfr_ame.data import _read_rows",
        "from modeling_hfr_ame._version import number",
        "def f():\n    from modeling_hfr_ame.data._parquet import rows",
        "from modeling_hfr_ame import data\ndata._read_rows()",
    ],
)
def test_private_name_rule_private_name_is_caught(snippet: str) -> None:
    assert len(find_private_name_violations(Path("examples/train.py"), snippet)) == 1


def test_private_name_rule_public_names_pass() -> None:
    snippet = (
        "from modeling_hfr_ame import __version__\nfrom modeling_hfr_ame.data import read_manifest\n"
        "class A:\n    def f(self):\n        return self._x, type(self).__name__\n"
    )
    assert find_private_name_violations(Path("examples/train.py"), snippet) == []


def test_sources_are_found() -> None:
    files = {path.relative_to(REPOSITORY).as_posix() for path in _python_files()}
    assert {"modeling_hfr_ame/errors.py", "modeling_hfr_ame/cli/__init__.py", "tests/test_architecture.py"} <= files
    assert "errors.py" in {path.name for path in _closure_files()}


def test_rooms_folders_all_have_a_rank() -> None:
    folders = {path.parent.name for path in (REPOSITORY / PACKAGE).glob("*/*.py")}
    assert folders <= ROOM_RANKS.keys(), "a new room needs its place in docs/architecture.md and in ROOM_RANKS"


def test_package_imports_point_to_the_left() -> None:
    assert _collect(_files_below(PACKAGE), find_direction_violations) == []


def test_closure_files_are_all_named_in_the_contract() -> None:
    contract = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [path.name for path in _closure_files() if f"`{path.name}`" not in contract] == []


def test_closure_files_can_travel() -> None:
    assert _collect(_closure_files(), find_closure_violations) == []


def test_file_names_say_what_files_hold() -> None:
    assert _collect(_python_files(), find_name_violations) == []


def test_files_are_not_too_long() -> None:
    assert _collect(_python_files(), find_length_violations) == []


def test_scripts_use_public_names_only() -> None:
    assert _collect(_files_below("examples", "dataset_scripts"), find_private_name_violations) == []
