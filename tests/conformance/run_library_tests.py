"""Runs the library's tests and prints what came of each as JSON: `python run_library_tests.py OUT.json`.

A process of its own, as the library's test files change global state and print what they like. unittest and not
pytest, as a skip inside a subtest must not get lost.
"""

import json
import sys
import time
import unittest
from pathlib import Path
from typing import Any

from tests.conformance.library_test_classes import all_test_classes


class RecordingResult(unittest.TestResult):
    """Notes per test class and test: None if it passed, or why it was skipped or failed."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, dict[str, dict[str, str | None]]] = {}
        self.seconds: dict[str, float] = {}
        self._start = 0.0

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802  unittest's name
        super().startTest(test)
        self._start = time.perf_counter()
        self._note("passed", test, None)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().stopTest(test)
        self.seconds[test.id()] = round(time.perf_counter() - self._start, 3)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self._note("skipped", test, reason)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._note("failed", test, self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self._note("failed", test, self.errors[-1][1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note("failed", test, f"{subtest}: {err[1]}")

    def _note(self, kind: str, test: unittest.TestCase, text: str | None) -> None:
        # A skip in a subtest comes with the subtest; a failed set-up of a class with no test.
        test = getattr(test, "test_case", test)
        name = getattr(test, "_testMethodName", str(test))
        tests = self.outcomes.setdefault(type(test).__name__, {})
        worst = {"passed": 0, "skipped": 1, "failed": 2}
        if name not in tests or worst[kind] > worst[str(tests[name]["kind"])]:
            tests[name] = {"kind": kind, "text": text}


def main(out: Path) -> None:
    """Runs everything and writes the outcomes."""
    loader = unittest.TestLoader()
    suite = unittest.TestSuite(loader.loadTestsFromTestCase(cls) for cls in all_test_classes())
    result = RecordingResult()
    suite.run(result)
    out.write_text(json.dumps({"outcomes": result.outcomes, "seconds": result.seconds}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
