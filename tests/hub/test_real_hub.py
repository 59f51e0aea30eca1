"""One round trip, as one program: against the emulation always, and against the real Hub for who asks for it.

    HFR_AME_HUB_TEST_TOKEN=hf_… pytest tests/hub/test_real_hub.py

The token has to be allowed to write. A private repository is made in its account, and deleted at the end.
"""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.hub.conftest import REPOSITORY, RunClient
from tests.hub.loopback_hub import LoopbackHub

TOKEN_VARIABLE = "HFR_AME_HUB_TEST_TOKEN"
# A process of its own, because tests have no network.
ROUND_TRIP = """
import sys
from pathlib import Path
from huggingface_hub import HfApi, snapshot_download
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.hub.push import push_folder

folder, name = Path(sys.argv[1]), sys.argv[2]
api = HfApi()
repo_id = f"{api.whoami()['name']}/{name}"
try:
    report = push_folder(folder, repo_id, tag="v1")
    assert report.private and api.repo_info(repo_id).private
    assert len(api.list_repo_commits(repo_id)) == 2
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(api.list_repo_files(repo_id, revision="v1")) == names | {".gitattributes"}
    got = Path(snapshot_download(repo_id, revision="v1"))
    assert got.name == report.commit_sha
    assert all((got / name).read_bytes() == (folder / name).read_bytes() for name in names)
    assert push_folder(folder, repo_id).commit_sha == report.commit_sha
    try:
        push_folder(folder, repo_id, tag="v1")
    except DataError as error:
        assert "a tag stays where it is" in str(error)
    else:
        raise AssertionError("the tag was set twice")
    (folder / "README.md").write_text("# Changed\\n", encoding="utf-8")
    proposed = push_folder(folder, repo_id, create_pr=True)
    assert proposed.pull_request_url
    assert api.repo_info(repo_id).sha == report.commit_sha
finally:
    api.delete_repo(repo_id, missing_ok=True)
print("round trip complete")
"""


def test_round_trip_with_the_emulation(hub: LoopbackHub, run_client: RunClient, model_folder: Path) -> None:
    command = [sys.executable, "-c", ROUND_TRIP, str(model_folder), "hfr-ame-test"]
    assert run_client(*command).stdout.splitlines()[-1] == "round trip complete"
    assert hub.repositories == {}
    assert hub.unknown_requests == []


@pytest.mark.skipif(TOKEN_VARIABLE not in os.environ, reason=f"needs a token of the real Hub in {TOKEN_VARIABLE}")
def test_round_trip_with_the_real_hub(model_folder: Path, tmp_path: Path) -> None:
    name = f"hfr-ame-test-{uuid.uuid4().hex[:12]}"
    cleared = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    changes = {"HF_TOKEN": os.environ[TOKEN_VARIABLE], "HF_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", ROUND_TRIP, str(model_folder), name],
        env={**cleared, **changes},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "round trip complete"
