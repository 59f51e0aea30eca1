"""No file of the package can unpickle with somebody else's machine."""

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

_UNPICKLERS = {"pickle", "_pickle", "cPickle", "pickletools", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
_FOLDERS = ("modeling_hfr_ame", "dataset_scripts", "examples")


def find_unpickling(source: str) -> list[str]:
    """Finds imports of unpicklers, torch.load in any mode that unpickles, and numpy files with objects."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in _UNPICKLERS]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in _UNPICKLERS else []
            found += ["torch.load" for alias in node.names if node.module == "torch" and alias.name == "load"]
        elif isinstance(node, ast.Attribute) and node.attr == "read_pickle":
            found.append("read_pickle of a library")
        elif isinstance(node, ast.Attribute) and node.attr == "load" and getattr(node.value, "id", "") == "torch":
            found.append("torch.load")
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append("allow_pickle")
    return found


@pytest.mark.parametrize(
    "snippet",
    [
        "import pickle",
        "def f():\n    from _pickle import load",
        "import joblib.numpy_pickle",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "from torch import load",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "pd.read_pickle(path)",
    ],
)
def test_rule_unpickling_is_caught(snippet: str) -> None:
    assert find_unpickling(snippet)


def test_rule_other_loading_passes() -> None:
    assert find_unpickling("np.load(path, allow_pickle=False)\njson.load(file)\nread_pickle(path)") == []


def test_package_never_unpickles() -> None:
    files = [path for folder in _FOLDERS for path in sorted(Path(REPOSITORY, folder).rglob("*.py"))]
    assert len(files) > 30
    assert {path.name: found for path in files if (found := find_unpickling(path.read_text(encoding="utf-8")))} == {}
