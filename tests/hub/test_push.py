"""A push of a folder, seen from the Hub's side: what arrives, what never moves, and what is said when it fails."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.hub.push import push_folder
from tests.hub.conftest import GUEST_TOKEN
from tests.hub.loopback_hub import LoopbackHub

ID = "someone/tiny"

pytestmark = pytest.mark.usefixtures("client")


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def was_written_to(hub: LoopbackHub) -> bool:
    return any(method in ("POST", "PUT", "DELETE") and "/api/models/" in path for method, path in hub.requests)


def test_push_makes_one_commit_in_a_private_repository_and_tags_it(hub: LoopbackHub, model_folder: Path) -> None:
    report = push_folder(model_folder, ID, tag="v1", commit_message="First")
    repository = hub.model(ID)
    assert repository.private
    assert [commit.message for commit in repository.history()] == ["First", "initial commit"]
    assert repository.tags == {"v1": report.commit_sha} == {"v1": repository.branches["main"]}
    sent = contents(model_folder)
    assert {path: hub.read(repository, path) for path in sent} == sent
    tree = repository.history()[0].tree
    assert set(tree) == {*sent, ".gitattributes"}
    assert [path for path, blob in tree.items() if blob.lfs] == ["model.safetensors"]
    assert {file.path: file.size for file in report.files} == {path: len(content) for path, content in sent.items()}
    assert (report.private, report.tag) == (True, "v1")
    assert report.commit_url == f"{hub.endpoint}/{ID}/commit/{report.commit_sha}"
    assert hub.unknown_requests == []


def test_dry_run_contacts_nobody_and_lists_every_file_with_its_size(
    hub: LoopbackHub, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    lines = push_folder(model_folder, ID, dry_run=True).lines()
    assert hub.requests == []
    assert hub.repositories == {}
    sent = contents(model_folder)
    assert {line.split()[1]: int(line.split()[0]) for line in lines[:-2]} == {name: len(sent[name]) for name in sent}
    assert lines[-2] == f"{len(sent)} files, {sum(map(len, sent.values()))} bytes"
    assert lines[-1] == f"dry run: nothing was sent to the private model repository {ID}"


def test_dry_run_refuses_what_a_push_refuses(hub: LoopbackHub, model_folder: Path) -> None:
    (model_folder / "README.md").unlink()
    with pytest.raises(DataError, match=r"needs a README\.md, its card"):
        push_folder(model_folder, ID, dry_run=True)


def test_same_folder_pushed_again_makes_no_commit(hub: LoopbackHub, model_folder: Path) -> None:
    first = push_folder(model_folder, ID)
    again = push_folder(model_folder, ID, tag="v1")
    assert again.commit_sha == first.commit_sha
    assert len(hub.model(ID).history()) == 2
    assert hub.model(ID).tags == {"v1": first.commit_sha}


def test_older_shards_and_results_are_removed_and_other_files_stay(hub: LoopbackHub, model_folder: Path) -> None:
    hub.create("models", ID, private=True)
    api = HfApi()
    for name in (
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        ".eval_results/old.yaml",
        "NOTES.md",
    ):
        api.upload_file(path_or_fileobj=b"old", path_in_repo=name, repo_id=ID)
    push_folder(model_folder, ID)
    assert set(hub.model(ID).history()[0].tree) == {*contents(model_folder), ".gitattributes", "NOTES.md"}


def test_branch_is_made_and_main_stays(hub: LoopbackHub, model_folder: Path) -> None:
    report = push_folder(model_folder, ID, revision="next")
    repository = hub.model(ID)
    assert repository.branches["next"] == report.commit_sha
    assert [commit.message for commit in repository.history()] == ["initial commit"]


def test_pull_request_of_a_guest_leaves_the_branch(
    hub: LoopbackHub, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = hub.create("models", ID, private=False)
    before = dict(repository.branches)
    monkeypatch.setenv("HF_TOKEN", GUEST_TOKEN)
    report = push_folder(model_folder, ID, private=False, create_pr=True)
    assert repository.branches == before
    assert repository.pull_requests == {"refs/pr/1": report.commit_sha}
    assert report.pull_request_url == f"{hub.endpoint}/{ID}/discussions/1"
    assert report.lines()[-1] == f"public model repository {ID}: {report.pull_request_url}"


def test_pull_request_to_a_missing_repository_makes_none(hub: LoopbackHub, model_folder: Path) -> None:
    with pytest.raises(DataError, match="a repository that exists, found no model repository 'someone/tiny'"):
        push_folder(model_folder, ID, create_pr=True)
    assert hub.repositories == {}


def test_change_by_somebody_else_during_the_push_is_kept_and_the_push_refused(
    hub: LoopbackHub, model_folder: Path
) -> None:
    repository = hub.create("models", ID, private=True)

    def change_first(oid: str) -> None:
        newest = repository.resolve("main")
        assert newest is not None
        repository.branches["main"] = repository.add_commit(newest, "of somebody else", newest.tree).sha

    hub.before_storing = change_first
    with pytest.raises(DataError, match=r"changed meanwhile .*; push again"):
        push_folder(model_folder, ID, tag="v1")
    assert [commit.message for commit in repository.history()] == ["of somebody else", "initial commit"]
    assert repository.tags == {}


def test_push_that_breaks_off_leaves_the_branch_and_can_be_repeated(hub: LoopbackHub, model_folder: Path) -> None:
    repository = hub.create("models", ID, private=True)
    before = dict(repository.branches)

    def break_off(oid: str) -> None:
        raise ConnectionError("the line went down")

    hub.before_storing = break_off
    with pytest.raises(DataError, match=r"must reach the Hub as a whole, .* push again"):
        push_folder(model_folder, ID, tag="v1")
    assert (repository.branches, repository.tags) == (before, {})
    hub.before_storing = lambda oid: None
    report = push_folder(model_folder, ID, tag="v1")
    assert repository.tags == {"v1": report.commit_sha}


def test_hub_that_is_gone_is_named(hub: LoopbackHub, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.create("models", ID, private=True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens at the discard port
    with pytest.raises(DataError, match=r"must reach the Hub as a whole, .* at http://127\.0\.0\.1:9 didn't take it"):
        push_folder(model_folder, ID)


def test_public_repository_is_refused_before_anything_is_sent(hub: LoopbackHub, model_folder: Path) -> None:
    hub.create("models", ID, private=False)
    with pytest.raises(DataError, match="must be private, found the public model repository 'someone/tiny'; make it"):
        push_folder(model_folder, ID)
    assert not was_written_to(hub)
    report = push_folder(model_folder, ID, private=False)
    assert not report.private


def test_private_repository_stays_private_when_public_is_allowed(hub: LoopbackHub, model_folder: Path) -> None:
    hub.create("models", ID, private=True)
    assert push_folder(model_folder, ID, private=False).private
    assert hub.model(ID).private


def test_public_repository_is_made_when_asked_for(hub: LoopbackHub, model_folder: Path) -> None:
    assert not push_folder(model_folder, ID, private=False).private
    assert not hub.model(ID).private


def test_tag_that_exists_is_never_moved_and_nothing_is_sent(hub: LoopbackHub, model_folder: Path) -> None:
    first = push_folder(model_folder, ID, tag="v1")
    (model_folder / "README.md").write_text("# Another\n", encoding="utf-8")
    hub.requests.clear()
    with pytest.raises(DataError, match=r"a tag stays where it is, .* has 'v1' already; choose another name"):
        push_folder(model_folder, ID, tag="v1")
    assert not was_written_to(hub)
    assert hub.model(ID).tags == {"v1": first.commit_sha}
    assert hub.model(ID).branches["main"] == first.commit_sha


def test_file_that_the_hub_leaves_out_is_noticed_and_no_tag_set(hub: LoopbackHub, model_folder: Path) -> None:
    hub.create("models", ID, private=True)
    HfApi().upload_file(path_or_fileobj=b"modeling_hfr_ame.py\n", path_in_repo=".gitignore", repo_id=ID)
    with pytest.raises(DataError, match=r"holds every file as it was sent, .* differs in modeling_hfr_ame\.py; see"):
        push_folder(model_folder, ID, tag="v1")
    assert hub.model(ID).tags == {}


def test_tag_that_fails_after_the_commit_says_that_the_commit_is_there(
    hub: LoopbackHub, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: HfApi, *args: object, **options: object) -> None:
        raise OSError("the line went down")

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "create_tag", fail)
        with pytest.raises(
            DataError, match=r"\(the line went down\); the commit [0-9a-f]{40} of 'someone/tiny' is there"
        ):
            push_folder(model_folder, ID, tag="v1")
    report = push_folder(model_folder, ID, tag="v1")
    assert hub.model(ID).tags == {"v1": report.commit_sha}
    assert len(hub.model(ID).history()) == 2


def test_card_that_the_hub_does_not_accept_is_refused_before_the_commit(hub: LoopbackHub, model_folder: Path) -> None:
    repository = hub.create("models", ID, private=True)
    (model_folder / "README.md").write_text("---\nlicense: [apache-2.0\n---\n# A model\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"valid card, .* doesn't accept this one \(.*not YAML"):
        push_folder(model_folder, ID)
    assert len(repository.history()) == 1


@pytest.mark.parametrize("owner", ["someone", "another"])
def test_token_without_rights_is_refused_by_name(
    hub: LoopbackHub, model_folder: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    hub.create("models", ID, private=owner == "another")
    monkeypatch.setenv("HF_TOKEN", GUEST_TOKEN)
    with pytest.raises(ConfigError, match=f"a token that may write to the model repository '{owner}/tiny' at http"):
        push_folder(model_folder, f"{owner}/tiny", private=False)


def test_no_token_says_how_to_get_one(
    hub: LoopbackHub, model_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(ConfigError, match="needs a token of the Hub, found none; run `hf auth login` or set HF_TOKEN"):
        push_folder(model_folder, ID)
    assert hub.requests == []


def test_offline_mode_is_named(hub: LoopbackHub, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="needs the network, found HF_HUB_OFFLINE=1"):
        push_folder(model_folder, ID)


@pytest.mark.parametrize("repo_id", ["tiny", "a/b/c", "someone/", "some one/tiny", "../tiny"])
def test_repository_without_an_owner_and_a_name_is_refused(model_folder: Path, repo_id: str) -> None:
    with pytest.raises(ConfigError, match="a repository is named owner/name, found"):
        push_folder(model_folder, repo_id, dry_run=True)


@pytest.mark.parametrize("options", [{"tag": "v1"}, {"revision": "next"}])
def test_pull_request_with_a_tag_or_branch_is_refused(model_folder: Path, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="goes to the branch main and gets no tag, found"):
        push_folder(model_folder, ID, create_pr=True, dry_run=True, **options)


@pytest.mark.parametrize(("name", "lacking"), [("model.safetensors", "the weights"), ("config.json", r"config\.json")])
def test_half_a_model_is_refused(model_folder: Path, name: str, lacking: str) -> None:
    (model_folder / name).unlink()
    with pytest.raises(DataError, match=f"configuration and safetensors weights, .* lacks {lacking}"):
        push_folder(model_folder, ID, dry_run=True)
