"""transformers' own tests of models, configurations, feature extractors and processors, run on ours.

`make conformance` runs this; it needs an index of packages once, for the library's source distribution.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers

from tests.conformance.library_source import SourceUnavailableError, cache_folder, provide_archive, unpack_tests
from tests.conformance.model_cases import CASES
from tests.conformance.skips import SKIPS, stated_reasons

pytestmark = pytest.mark.conformance
REPOSITORY = Path(__file__).resolve().parents[2]

Outcomes = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Test class → test → its kind (passed, skipped or failed) and text."""
    version = transformers.__version__
    try:
        archive = provide_archive(version, cache_folder())
    except SourceUnavailableError as error:
        pytest.skip(f"needs the source distribution of transformers {version}, which can't be had: {error}")
    folder = unpack_tests(archive, version, tmp_path_factory.mktemp("library"))
    out = folder / "outcomes.json"
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.run_library_tests", str(out)],
        env=os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: Outcomes = json.loads(out.read_text(encoding="utf-8"))["outcomes"]
    return found


def test_library_tests_have_no_failure(outcomes: Outcomes) -> None:
    failed = [
        f"{class_name}.{name}\n{outcome['text']}"
        for class_name, tests in outcomes.items()
        for name, outcome in tests.items()
        if outcome["kind"] == "failed"
    ]
    assert not failed, "\n".join(failed)


def test_library_tests_run_for_every_model_extractor_and_processor(outcomes: Outcomes) -> None:
    expected = {f"{case.name}{kind}" for case in CASES for kind in ("ModelTest", "ConfigTest")}
    assert outcomes.keys() == expected | {"AudioFeatureExtractorTest", "VisionFeatureExtractorTest", "ProcessorTest"}
    num_passed = {
        class_name: sum(outcome["kind"] == "passed" for outcome in tests.values())
        for class_name, tests in outcomes.items()
    }
    # Guards against a harness that runs next to nothing; the numbers are somewhat below what 5.23 has.
    least = {"ModelTest": 80, "ConfigTest": 1, "ExtractorTest": 10, "ProcessorTest": 20}
    for class_name, number in num_passed.items():
        assert any(class_name.endswith(kind) and number >= floor for kind, floor in least.items()), num_passed


def test_library_tests_skip_exactly_what_is_listed_with_a_reason(outcomes: Outcomes) -> None:
    assert SKIPS.keys() <= outcomes.keys()
    unlisted, unneeded = [], []
    for class_name, tests in outcomes.items():
        reasons = stated_reasons(class_name)
        skipped = {name for name, outcome in tests.items() if outcome["kind"] == "skipped"}
        unlisted += [
            f"{class_name}.{name}: {tests[name]['text']}"
            for name in sorted(skipped)
            if not any(re.fullmatch(pattern, name) for pattern in reasons)
        ]
        unneeded += [
            f"{class_name}.{name or pattern}"
            for pattern in reasons
            for name in [test for test in tests if re.fullmatch(pattern, test)] or [""]
            if name not in skipped
        ]
    assert not unlisted, "state a reason in skips.py:\n" + "\n".join(unlisted)
    assert not unneeded, "not skipped, remove from skips.py:\n" + "\n".join(unneeded)
