"""pyproject.toml, constraints.txt, the Makefile and the folders agree."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import modeling_hfr_ame

REPOSITORY = Path(__file__).resolve().parent.parent
CONSTRAINTS = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def installed(pyproject: dict[str, Any]) -> list[Requirement]:
    """What `make` asks pip for."""
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    added = [line for name in ("av", "demo", "browser", "dev") for line in extras[name]]
    return [Requirement(line) for line in (*project["dependencies"], *added)]


def _pins() -> dict[str, Version]:
    lines = [line for line in CONSTRAINTS.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(number) for name, number in (line.split("==") for line in lines)}


def test_constraints_hold_exact_public_versions_only() -> None:
    lines = [line for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
    assert lines[0].startswith("torch==")


def test_constraints_pin_every_dependency_within_its_bounds(installed: list[Requirement]) -> None:
    pins = _pins()
    outside = [str(need) for need in installed if not need.specifier.contains(pins[canonicalize_name(need.name)])]
    assert outside == []


def test_dependencies_all_have_a_lower_and_an_upper_bound(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    unbounded = [line for line in lines if "==" not in line and not (">=" in line and "<" in line)]
    assert unbounded == []


def test_package_list_is_every_folder_with_python_files(pyproject: dict[str, Any]) -> None:
    folders = {
        path.parent.relative_to(REPOSITORY).as_posix().replace("/", ".")
        for root in ("modeling_hfr_ame", "dataset_scripts")
        for path in (REPOSITORY / root).rglob("*.py")
    }
    assert folders == set(pyproject["tool"]["setuptools"]["packages"])


def test_packages_all_have_an_init_file(pyproject: dict[str, Any]) -> None:
    packages = pyproject["tool"]["setuptools"]["packages"]
    assert [name for name in packages if not (REPOSITORY / name.replace(".", "/") / "__init__.py").is_file()] == []


def test_version_is_the_same_everywhere(pyproject: dict[str, Any]) -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert pyproject["project"]["version"] == modeling_hfr_ame.__version__ == citation["version"]


def _needs_arguments(script: Path) -> bool:
    """Whether a script's parser has a required argument."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            is_optional = ast.literal_eval(node.args[0]).startswith("-") or options.get("nargs") in ("'*'", "'?'")
            if not is_optional or options.get("required") == "True":
                return True
    return False


def test_make_bench_leaves_out_exactly_the_benchmarks_that_need_arguments() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    [left_out] = re.findall(r"^BENCHMARKS := \$\(filter-out (.*?),", makefile, flags=re.MULTILINE)
    scripts = sorted((REPOSITORY / "benchmarks").glob("*.py"))
    assert "for script in $(BENCHMARKS)" in makefile
    assert left_out.split() == [f"benchmarks/{path.name}" for path in scripts if _needs_arguments(path)]
