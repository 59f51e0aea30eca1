"""The doctor on machines we don't have: broken libraries are small files on PYTHONPATH, or a table of probe answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modeling_hfr_ame.cli import app, doctor

Answers = dict[str, dict[str, Any]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Answers:
    """Replaces the probes by a table, program to facts, of a healthy machine; a test changes what it is about."""
    table: Answers = {
        doctor.DEVICE_PROBE: {"status": "ok", "version": "2.13.0", "cuda": [], "cuda_bf16": False, "mps": False},
        doctor.CACHE_PROBE: {"status": "ok", "folder": str(tmp_path / "cache" / "hub")},
        doctor.TRANSFORMERS_PROBE: {"status": "ok"},
        doctor.MODELS_PROBE: {"status": "ok", "models": []},
        doctor.DECODING_PROBE: {"status": "ok", "samples": 8000},
        doctor.FEATURES_PROBE: {"status": "ok", "folder": str(tmp_path / "features")},
        doctor.TORCHVISION_PROBE: {"status": "missing"},
        **{program: {"status": "ok", "version": "1.0"} for program in doctor.DECODER_PROBES.values()},
        doctor.DECODER_PROBES["torchcodec"]: {"status": "missing"},
    }
    monkeypatch.setattr(doctor, "probe", lambda program: dict(table[program]))
    return table


def _put_library(folder: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_probe_library_that_imports_gives_its_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put_library(tmp_path, "torchvision", "__version__ = '9.9'\nprint('noise')", monkeypatch)
    assert doctor.probe(doctor.TORCHVISION_PROBE) == {"status": "ok", "version": "9.9"}


def test_probe_absent_library_is_missing() -> None:
    assert doctor.probe("import no_such_library; facts = {}") == {"status": "missing"}


def test_probe_library_that_raises_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put_library(tmp_path, "torchvision", "raise RuntimeError('operator nms does not exist')", monkeypatch)
    expected = {"status": "broken", "error": "RuntimeError: operator nms does not exist"}
    assert doctor.probe(doctor.TORCHVISION_PROBE) == expected


def test_probe_library_whose_dependency_is_absent_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put_library(tmp_path, "torchvision", "import no_such_library", monkeypatch)
    assert doctor.probe(doctor.TORCHVISION_PROBE)["status"] == "broken"


def test_probe_library_that_ends_the_process_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put_library(tmp_path, "torchvision", "import os; os.abort()", monkeypatch)
    found = doctor.probe(doctor.TORCHVISION_PROBE)
    assert found["status"] == "broken"
    assert "the import ended the process with code -6" in found["error"]


def test_probe_hanging_library_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE_TIMEOUT_S", 0.5)
    assert doctor.probe("import time; time.sleep(60); facts = {}")["status"] == "broken"


def test_probe_error_hides_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = doctor.probe(f"import os; raise OSError({str(tmp_path / 'lib.so')!r})")
    assert found["error"] == "OSError: ~/lib.so"


def test_probe_ignores_files_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no_such_library.py").touch()
    monkeypatch.chdir(tmp_path)
    assert doctor.probe("import no_such_library; facts = {}") == {"status": "missing"}


def test_report_healthy_machine_has_no_advice(answers: Answers) -> None:
    report = doctor.collect_report()
    assert report["advice"] == []
    assert "  - nothing to do" in doctor.format_report(report).splitlines()


@pytest.mark.parametrize(
    ("program", "facts", "advice"),
    [
        (doctor.TORCHVISION_PROBE, {"status": "broken", "error": "nms"}, "pip uninstall torchvision"),
        (doctor.DEVICE_PROBE, {"status": "missing"}, "torch can't be imported; reinstall"),
        (doctor.TRANSFORMERS_PROBE, {"status": "broken", "error": "e"}, "transformers can't be imported"),
        (doctor.DECODER_PROBES["PyAV"], {"status": "missing"}, r"pip install 'hfr-ame\[av\]'"),
        (doctor.DECODER_PROBES["OpenCV"], {"status": "ok", "face_cascade": False}, "no Haar cascades"),
        (doctor.DECODER_PROBES["torchcodec"], {"status": "broken", "error": "e"}, "torchcodec is installed but"),
        (doctor.DECODING_PROBE, {"status": "broken", "error": "e"}, "Decoding in a process of its own fails"),
    ],
)
def test_report_trouble_gives_one_advice(answers: Answers, program: str, facts: dict[str, Any], advice: str) -> None:
    answers[program] = facts
    [sentence] = doctor.collect_report()["advice"]
    assert re.search(advice, sentence)


def test_report_torchvision_that_breaks_transformers_gives_one_advice(answers: Answers) -> None:
    answers[doctor.TORCHVISION_PROBE] = {"status": "broken", "error": "nms"}
    answers[doctor.TRANSFORMERS_PROBE] = {"status": "broken", "error": "nms"}
    assert len(doctor.collect_report()["advice"]) == 1


def test_report_names_cached_models_and_cuts_a_long_list(answers: Answers) -> None:
    answers[doctor.MODELS_PROBE] = {"status": "ok", "models": [[f"org/model-{index:02d}", 90.5] for index in range(14)]}
    lines = doctor.format_report(doctor.collect_report()).splitlines()
    assert re.fullmatch(r"  org/model-00 +90\.5 MB", lines[lines.index("Models in the cache") + 1])
    assert "  and 2 more" in lines


def test_report_folder_that_can_not_be_written_gives_advice(answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answers[doctor.FEATURES_PROBE]["folder"] = str(tmp_path / "file")
    report = doctor.collect_report()
    assert report["folders"]["Features"]["writable"] is False
    assert re.search("Features can't be written .*; free it or choose another folder", report["advice"][0])


def test_probes_of_cache_and_decoding_work_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="decoding needs PyAV")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert doctor.probe(doctor.MODELS_PROBE) == {"status": "ok", "models": []}
    assert doctor.probe(doctor.DECODING_PROBE) == {"status": "ok", "samples": 8000}


def test_report_cache_below_a_file_is_not_writable(answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    report = doctor.collect_report()
    assert report["cache"]["writable"] is False
    assert "set HF_HOME" in report["advice"][0]


def test_report_cache_in_the_home_folder_is_shortened(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert doctor.collect_report()["cache"]["folder"] == str(Path("~", "cache", "hub"))


def test_report_nothing_installed_is_still_printed(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in answers:
        answers[program] = {"status": "missing"}
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    text = doctor.format_report(doctor.collect_report())
    assert re.search(r"no-such-package +not installed", text)
    assert "torch missing" in text


def test_report_offline_flags_are_on_or_off(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "true")
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    offline = doctor.collect_report()["offline"]
    assert offline["HF_HUB_OFFLINE"] is True
    assert offline["TRANSFORMERS_OFFLINE"] is False


def test_command_on_this_machine_finds_torch() -> None:
    import torch

    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["devices"]["version"] == torch.__version__
    assert report["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert report["offline"]["HF_HUB_OFFLINE"] is True


def test_command_text_holds_no_colour_codes(answers: Answers) -> None:
    result = CliRunner().invoke(app, ["doctor"], color=True)
    assert result.exit_code == 0
    assert result.stdout.startswith("Python ")
    assert "\x1b" not in result.stdout
