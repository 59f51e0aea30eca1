"""The running page, asked by the unmodified client and by hand."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from modeling_hfr_ame import ConfigError
from modeling_hfr_ame.data.synthetic_clips import SyntheticClip
from modeling_hfr_ame.media import MediaLimits
from modeling_hfr_ame.widget import ClipScorer, WidgetSettings, open_widget
from tests.widget.page_server import REPOSITORY, PageServer


def _get(url: str) -> tuple[str, Any]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode(), answer.headers


def _post(url: str, content: dict[str, Any]) -> str:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_endpoint_gives_the_predictors_numbers(
    page_server: PageServer, scorer: ClipScorer, talker: SyntheticClip
) -> None:
    answers = page_server.call(
        [
            {"recording": {"file": str(talker.path)}, "text": "the end is wonderful", "corruption": "drop-0.5"},
            {"text": "the end is wonderful"},
        ]
    )
    clip = scorer.read(talker.path, text="the end is wonderful")
    expected = scorer.describe(clip, scorer.compare(clip, "drop-0.5"))
    assert answers[0]["result"]["clean"]["score"] == pytest.approx(expected["clean"]["score"], abs=1e-6)
    assert answers[0]["result"]["corrupted"]["score"] == pytest.approx(expected["corrupted"]["score"], abs=1e-6)
    assert answers[0]["result"]["clip"]["states"] == expected["clip"]["states"]
    assert answers[1]["result"]["change"] == 0


def test_endpoint_answers_mistakes_with_their_sentence(page_server: PageServer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a film")
    nothing, recipe, media = page_server.call(
        [{}, {"text": "good", "corruption": "rot-3"}, {"recording": {"file": str(broken)}}]
    )
    assert nothing["error"].startswith("there must be something to score")
    assert "found 'rot-3'" in recipe["error"]
    assert "broken.mp4 can't be decoded" in media["error"]
    assert "Traceback" not in nothing["error"] + recipe["error"] + media["error"] + page_server.log


@pytest.mark.parametrize("path", ["http://127.0.0.1:1/clip.mp4", "https://example.org/clip.mp4", "/etc/hostname"])
def test_endpoint_reads_neither_addresses_nor_the_servers_files(page_server: PageServer, path: str) -> None:
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    started = _post(f"{page_server.url}gradio_api/call/predict", {"data": [file, None, None, "clean", 0]})
    answer, _ = _get(f"{page_server.url}gradio_api/call/predict/{json.loads(started)['event_id']}")
    assert answer.startswith("event: error")
    assert "only uploaded files are read" in answer or "was not uploaded by a user" in answer
    assert page_server.foreign_connections == []


def test_endpoint_is_the_only_one_that_is_offered(page_server: PageServer) -> None:
    described = json.loads(_get(f"{page_server.url}gradio_api/info")[0])
    assert list(described["named_endpoints"]) == ["/predict"]
    assert described["unnamed_endpoints"] == {}


def test_upload_above_the_limit_is_refused(page_server: PageServer) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n' + bytes(3 * 2**20)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{page_server.url}gradio_api/upload", body + b"\r\n--x--\r\n", form)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with refused.value as answer:
        assert answer.code == 413


def test_page_loads_from_its_own_server_alone(page_server: PageServer) -> None:
    page, headers = _get(page_server.url)
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?://[^"]+)"', page)
    assert [each for each in loaded if not each.startswith(page_server.url)] == []
    assert "fonts.googleapis" not in page
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    config = json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", page).group(1))  # type: ignore[union-attr]
    assert config["analytics_enabled"] is False
    assert config["stylesheets"] == []


def test_page_listens_on_loopback_and_reaches_nowhere_else(page_server: PageServer) -> None:
    assert page_server.url.startswith("http://127.0.0.1:")
    assert page_server.foreign_connections == []


def test_files_of_a_visitor_go_with_the_server(run_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio_client", reason="Gradio is not installed; install hfr-ame[demo]")
    with PageServer(run_folder, tmp_path, "--no_examples") as server:
        words = tmp_path / "words.txt"
        words.write_text("not a clip", encoding="utf-8")
        server.call([{"recording": {"file": str(words)}}])
        assert any(server.temporary.rglob("words.txt"))
        assert server.stop(signal.SIGTERM) == 0
        assert list(server.temporary.iterdir()) == []


def test_share_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["gradio_app.py", "--model", "somewhere", "--share"])
    with pytest.raises(ValueError, match="Some specified arguments are not used"):
        runpy.run_path(str(REPOSITORY / "examples" / "gradio_app.py"), run_name="__main__")


def test_page_without_gradio_says_what_to_install(scorer: ClipScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with (
        pytest.raises(ConfigError, match="the page needs Gradio, which is not installed"),
        open_widget(scorer.predictor),
    ):
        pass
    assert "GRADIO_TEMP_DIR" not in os.environ


@pytest.mark.slow
def test_taken_port_is_explained(page_server: PageServer, run_folder: Path, tmp_path: Path) -> None:
    taken = page_server.url.rstrip("/").rpartition(":")[2]
    with (
        pytest.raises(AssertionError, match=f"error: the page needs a free port, {taken} is taken"),
        PageServer(run_folder, tmp_path, "--no_examples", "--port", taken),
    ):
        pass


@pytest.mark.slow
def test_own_faults_are_shown_without_their_details(page_server: PageServer) -> None:
    code = """
import sys
from modeling_hfr_ame.widget import page
def fail(): raise KeyError("/secret/path")
try:
    page._readable(fail)()
except page.gr.Error as error:
    assert "an error of its own" in error.message, error.message
    assert "secret" not in error.message
    sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert "/secret/path" in done.stderr  # the server's log has it


def test_settings_refuse_a_limit_below_zero() -> None:
    with pytest.raises(ConfigError, match="max_upload_mb must be positive, found 0"):
        WidgetSettings(max_upload_mb=0)


def test_settings_only_tighten_the_limits_of_decoding() -> None:
    limits = WidgetSettings(max_upload_mb=1, max_duration_s=1e6).limit(MediaLimits())
    assert limits.max_file_bytes == 2**20
    assert limits.max_duration_s == MediaLimits().max_duration_s
