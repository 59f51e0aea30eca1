"""The emulation against clients that don't know it is one: huggingface_hub and its command line, in new processes."""

import json
import re
from pathlib import Path

from huggingface_hub import HfApi, constants

from tests.hub.conftest import GUEST_TOKEN, RunClient
from tests.hub.loopback_hub import LoopbackHub

LARGE = bytes(range(256)) * 40


def test_command_line_upload_and_download_return_the_same_bytes(
    hub: LoopbackHub, run_client: RunClient, model_folder: Path, tmp_path: Path
) -> None:
    (model_folder / "large.npy").write_bytes(LARGE)
    run_client("hf", "upload", "someone/tiny", str(model_folder), ".", "--private")
    run_client("hf", "download", "someone/tiny", "--local-dir", str(tmp_path / "got"))
    for path in model_folder.rglob("*.*"):
        if path.is_file():
            assert (tmp_path / "got" / path.relative_to(model_folder)).read_bytes() == path.read_bytes()
    repository = hub.model("someone/tiny")
    assert repository.private
    tree = repository.history()[0].tree
    assert {path for path, blob in tree.items() if blob.lfs} == {"large.npy", "model.safetensors"}
    assert hub.unknown_requests == []


def test_download_by_commit_tag_branch_and_pull_request_gives_each_its_content(
    hub: LoopbackHub, run_client: RunClient
) -> None:
    code = """
from huggingface_hub import HfApi, hf_hub_download
api = HfApi()
api.create_repo("someone/tiny", private=True)
def put(text, **options):
    return api.upload_file(path_or_fileobj=text, path_in_repo="a.txt", repo_id="someone/tiny", **options)
first = put(b"one")
api.create_tag("someone/tiny", tag="v1")
api.create_branch("someone/tiny", branch="next")
put(b"two", revision="next")
proposed = put(b"three", create_pr=True)
put(b"four")
for revision in (first.oid, "v1", "next", proposed.pr_revision, "main", None):
    print(revision and len(revision), open(hf_hub_download("someone/tiny", "a.txt", revision=revision)).read())
refs = api.list_repo_refs("someone/tiny", include_pull_requests=True)
print([ref.name for ref in refs.branches], [ref.name for ref in refs.tags], [ref.ref for ref in refs.pull_requests])
print([commit.title for commit in api.list_repo_commits("someone/tiny")][-1])
"""
    lines = run_client(code=code).stdout.splitlines()
    assert lines == [
        "40 one",
        "2 one",
        "4 two",
        "9 three",
        "4 four",
        "None four",
        "['main', 'next'] ['v1'] ['refs/pr/1']",
        "initial commit",
    ]
    assert hub.unknown_requests == []


def test_cache_with_the_server_gone_still_gives_the_pinned_revision(
    hub: LoopbackHub, run_client: RunClient, model_folder: Path
) -> None:
    run_client("hf", "upload", "someone/tiny", str(model_folder), ".", "--private")
    read = """
from huggingface_hub import hf_hub_download
print(open(hf_hub_download("someone/tiny", "config.json", revision="main")).read())
"""
    online = run_client(code=read).stdout
    hub.stop()
    assert run_client(code=read, HF_HUB_OFFLINE="1").stdout == online
    assert json.loads(online) == {"model_type": "hfr_ame"}


def test_private_repository_is_missing_for_others(hub: LoopbackHub, run_client: RunClient) -> None:
    hub.create("models", "someone/tiny", private=True)
    code = """
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
try:
    HfApi().repo_info("someone/tiny")
except RepositoryNotFoundError:
    print("missing")
"""
    assert run_client(code=code, HF_TOKEN=GUEST_TOKEN).stdout == "missing\n"


def test_range_request_returns_only_the_range(hub: LoopbackHub, client: None) -> None:
    repository = hub.create("models", "someone/tiny", private=False)
    HfApi().upload_file(path_or_fileobj=LARGE, path_in_repo="a.npy", repo_id="someone/tiny")
    from huggingface_hub.utils import get_session

    address = f"{constants.ENDPOINT}/someone/tiny/resolve/main/a.npy"
    answer = get_session().get(address, headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, LARGE[10:20])
    assert answer.headers["Content-Range"] == f"bytes 10-19/{len(LARGE)}"
    assert hub.read(repository, "a.npy") == LARGE


def test_unknown_address_is_recorded(hub: LoopbackHub, client: None) -> None:
    from huggingface_hub.utils import get_session

    assert get_session().get(f"{hub.endpoint}/api/spaces-search?q=x").status_code == 404
    assert hub.unknown_requests == [("GET", "/api/spaces-search?q=x")]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", hub.endpoint)
