"""Publishes a folder as one commit, after a check of everything in it.

Design choices:

- One commit. `HfApi.upload_folder` no longer promises that: with `hf_xet` installed it splits a folder into several
  commits. `create_commit` sends the data first and moves the branch last, so an interrupted push leaves it as it was.
- Private unless asked otherwise, and a repository that exists keeps its visibility. A public one is refused before
  anything is sent.
- The commit names the one that it was planned on, so that two pushes at the same time can't mix.
- Afterwards the repository is read back. Only what is complete gets the tag, and a tag is never moved.
- Pushing the same folder again makes no commit, so that a push that broke off is simply repeated.

Only `huggingface_hub` talks to the network. The address comes from HF_ENDPOINT and the token from HF_TOKEN or a login.
"""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Literal, cast

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from modeling_hfr_ame.data.manifest import CORRUPTED_FORMAT, is_stored_dataset
from modeling_hfr_ame.errors import ConfigError, DataError, HfrAmeError
from modeling_hfr_ame.hub.publishable_files import (
    MAX_FILE_BYTES,
    RUN_RECORD,
    PublishableFile,
    list_publishable_files,
)

RepoType = Literal["model", "dataset", "space"]
SPACE_RECORD: Final = "space.json"

MAIN: Final = "main"
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# An older push may have had more shards, which would be loaded beside the new ones, or results of other weights.
_REPLACED_PATTERNS: Final = ("*.parquet", "*.safetensors", "*.safetensors.index.json", ".eval_results/*")
# The client lets errors of its HTTP library through, which is another one in 1.x and 2.x; both bases are caught.
_HUB_ERRORS: Final = cast("tuple[type[Exception], ...]", (*HfHubHTTPError.__bases__, RuntimeError, ValueError))


@dataclass(frozen=True)
class PushReport:
    """What a push sent, or what it would send.

    Attributes:
        repo_id: `owner/name`.
        repo_type: Kind of the repository.
        files: Every file of the folder; one that the repository had already is among them.
        commit_sha: The commit that holds them; None after a dry run.
        commit_url: Its address; None after a dry run.
        pull_request_url: Address of the proposal; None unless one was asked for.
        private: Whether the repository is private; after a dry run, whether it has to be.
        tag: Name of the tag; None if none was asked for.
    """

    repo_id: str
    repo_type: RepoType
    files: tuple[PublishableFile, ...]
    commit_sha: str | None = None
    commit_url: str | None = None
    pull_request_url: str | None = None
    private: bool = True
    tag: str | None = None

    @property
    def total_bytes(self) -> int:
        """Size of all files in bytes."""
        return sum(file.size for file in self.files)

    def lines(self) -> list[str]:
        """Describes the push for a terminal: each file with its size, the sum, and where it went."""
        width = max(len(f"{file.size:,}") for file in self.files)
        lines = [f"{file.size:>{width},}  {file.path}" for file in self.files]
        lines.append(f"{len(self.files)} files, {self.total_bytes:,} bytes")
        place = f"{'private' if self.private else 'public'} {self.repo_type} repository {self.repo_id}"
        if self.commit_url is None:
            return [*lines, f"dry run: nothing was sent to the {place}"]
        lines.append(f"{place}: {self.pull_request_url or self.commit_url}")
        return [*lines, f"tag: {self.tag}"] if self.tag else lines


@dataclass(frozen=True)
class _Target:
    """Where a push goes, and how."""

    repo_id: str
    repo_type: RepoType
    private: bool
    revision: str
    tag: str | None
    create_pr: bool
    commit_message: str


def push_run(
    source: str | Path,
    repo_id: str,
    *,
    results: Sequence[str | Path] = (),
    model_name: str | None = None,
    dataset_id: str | None = None,
    repo_type: RepoType | None = None,
    **options: Any,
) -> PushReport:
    """Publishes a trained run with its card, a folder that was exported from one, or a dataset.

    Args:
        source: A run folder, which is exported to a temporary folder first; a repository folder; or a stored or
            corrupted dataset.
        repo_id: `owner/name`.
        results: Files of results, as `hfr-ame evaluate` writes them, for the card of a run; none: the card says that
            nothing was measured.
        model_name: What the results call the run's model; None: as in `build_card`.
        dataset_id: `owner/name` of the run's dataset, for the card; None: its local name.
        repo_type: Kind of the repository; None reads it off the folder.
        **options: As in `push_folder`.

    Returns:
        What was sent.

    Raises:
        DataError: As `push_folder`, and where the run can't be exported.
        ConfigError: As `push_folder`.
    """
    folder = Path(source)
    check_repo_id(repo_id)
    if not _is_run(folder):
        if results or model_name or dataset_id:
            raise ConfigError(
                "results, and the names of the model and the dataset, go into the card of a run, and "
                f"{str(folder)!r} is no run and keeps its README.md; leave them out, or pass the run"
            )
        return push_folder(folder, repo_id, repo_type=repo_type or _recognise(folder), **options)
    if repo_type not in (None, "model"):
        raise ConfigError(f"a run is published as a model, found the kind {repo_type!r}; leave it out")
    # They load torch, which a dataset doesn't need.
    from modeling_hfr_ame.evaluation.run_folders import find_runs
    from modeling_hfr_ame.hub.card import build_card
    from modeling_hfr_ame.hub.export import export_run

    with tempfile.TemporaryDirectory(prefix="hfr-ame-export-") as temporary:
        exported = export_run(folder, Path(temporary) / "repository")
        run = find_runs(folder)[0].folder
        build_card(run, results, name=model_name, repository=repo_id, dataset_id=dataset_id).write(exported)
        return push_folder(exported, repo_id, repo_type="model", **options)


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    repo_type: RepoType = "model",
    private: bool = True,
    revision: str | None = None,
    tag: str | None = None,
    create_pr: bool = False,
    dry_run: bool = False,
    commit_message: str | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> PushReport:
    """Publishes a folder as one commit.

    Files of the repository that the folder lacks stay, apart from weights, results and Parquet files, which are
    replaced as a whole.

    Args:
        folder: The content, complete; see `list_publishable_files` for what it may hold.
        repo_id: `owner/name`; the repository is made if there is none.
        repo_type: Kind of the repository.
        private: Whether the repository must be private. It never changes the visibility of one that exists.
        revision: Branch to commit to, made from `main` if there is none; None is `main`.
        tag: Name for the commit; None sets none.
        create_pr: Proposes the commit to the owner of an existing repository instead of changing a branch.
        dry_run: Checks everything, sends nothing and doesn't contact the Hub.
        commit_message: None names the package.
        max_file_bytes: Size of the largest file allowed.

    Returns:
        What was sent, or would be.

    Raises:
        ConfigError: The options contradict each other, no token is set, or the Hub refuses access.
        DataError: The folder holds something that isn't published, the repository is public although it must be
            private, the tag exists already, or what the Hub holds afterwards isn't the folder.
    """
    check_repo_id(repo_id)
    if create_pr and (tag or revision not in (None, MAIN)):
        raise ConfigError(
            f"a pull request goes to the branch main and gets no tag, found revision {revision!r} and tag {tag!r}; "
            "leave both out, and tag after the merge"
        )
    path = Path(folder)
    files = list_publishable_files(path, max_file_bytes=max_file_bytes)
    _check_complete(path, repo_type, files)
    if dry_run:
        return PushReport(repo_id, repo_type, files, private=private, tag=tag)
    message = commit_message or f"Publish {repo_id.partition('/')[2]} with hfr-ame"
    target = _Target(repo_id, repo_type, private, revision or MAIN, tag, create_pr, message)
    if constants.is_offline_mode():
        raise ConfigError("a push needs the network, found HF_HUB_OFFLINE=1; unset it, or pass --dry-run")
    if get_token() is None:
        raise ConfigError("a push needs a token of the Hub, found none; run `hf auth login` or set HF_TOKEN")
    return _send(path, files, target)


def check_repo_id(repo_id: str) -> None:
    """Checks the name of a repository before hours go into its content.

    Raises:
        ConfigError: It isn't `owner/name`.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise ConfigError(f"a repository is named owner/name, found {repo_id!r}; name both")


def _is_run(folder: Path) -> bool:
    # An exported repository keeps the record, without its folders, and has a handler for endpoints.
    recorded = (folder / RUN_RECORD).is_file() or any(folder.glob(f"seed-*/{RUN_RECORD}"))
    return recorded and not (folder / "handler.py").is_file()


def _recognise(folder: Path) -> RepoType:
    if (folder / SPACE_RECORD).is_file():
        return "space"
    return "dataset" if is_stored_dataset(folder) or is_stored_dataset(folder, CORRUPTED_FORMAT) else "model"


def _check_complete(folder: Path, repo_type: RepoType, files: tuple[PublishableFile, ...]) -> None:
    if repo_type != "model":
        return
    names = {file.path for file in files}
    configured = bool(names & {"config.json", "adapter_config.json"})
    if not configured or not any(name.endswith(".safetensors") for name in names):
        raise DataError(
            f"a model repository holds a configuration and safetensors weights, {str(folder)!r} lacks "
            f"{'the weights' if configured else 'config.json'}; pass a run folder, or export the run again"
        )


@contextmanager
def _explained(target: _Target) -> Iterator[None]:
    """Turns what the client raises until the commit into errors that say what to do."""
    try:
        yield
    except HfrAmeError:
        raise
    except _HUB_ERRORS as error:
        reason = _reason(error)
        status = getattr(getattr(error, "response", None), "status_code", None)
        where = f"the {target.repo_type} repository {target.repo_id!r} at {constants.ENDPOINT}"
        if status in (401, 403, 404):
            raise ConfigError(
                f"a push needs a token that may write to {where}, and the Hub refused ({reason}); "
                "check the name and the rights of the token, or propose the change with --create-pr"
            ) from error
        if status in (409, 412):
            raise DataError(
                f"a push builds on the state it started from, and {where} changed meanwhile ({reason}); push again"
            ) from error
        if isinstance(error, ValueError):
            raise DataError(
                f"the Hub takes a push with valid names and a valid card, and {where} doesn't accept this one "
                f"({reason}); correct what it names"
            ) from error
        raise DataError(
            f"a push must reach the Hub as a whole, and {where} didn't take it ({reason}); the branch moves with the "
            "last request only; push again"
        ) from error


@contextmanager
def _explained_after(target: _Target, commit_sha: str) -> Iterator[None]:
    """Says that the commit is there, whatever the client raises while it is checked and tagged."""
    try:
        yield
    except HfrAmeError:
        raise
    except _HUB_ERRORS as error:
        raise DataError(
            f"a push ends with a check and its tag, and the Hub didn't let that happen ({_reason(error)}); the commit "
            f"{commit_sha} of {target.repo_id!r} is there, without the tag; push again"
        ) from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error.__cause__ or error).split())


def _send(folder: Path, files: tuple[PublishableFile, ...], target: _Target) -> PushReport:
    api = HfApi(library_name="hfr-ame")
    where: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": target.repo_type}
    with _explained(target):
        private = _open_repository(api, target)
        if target.tag:
            _check_tag_is_new(api, target)
        parent, present = _read_branch(api, target)
        # huggingface_hub collects the operations, so that one call is one commit, whatever the size.
        commit = api.create_commit(
            **where,
            operations=[
                *(CommitOperationDelete(path) for path in _stale_files(present, files)),
                *(CommitOperationAdd(file.path, folder / file.path) for file in files),
            ],
            commit_message=target.commit_message,
            revision=None if target.create_pr else target.revision,
            create_pr=target.create_pr,
            parent_commit=parent,
        )
    with _explained_after(target, commit.oid):
        _check_arrived(api, files, target, commit.oid)
        if target.tag:
            api.create_tag(**where, tag=target.tag, revision=commit.oid)
    return PushReport(
        target.repo_id,
        target.repo_type,
        files,
        commit_sha=commit.oid,
        commit_url=commit.commit_url,
        pull_request_url=commit.pr_url,
        private=private,
        tag=target.tag,
    )


def _stale_files(present: set[str], files: tuple[PublishableFile, ...]) -> list[str]:
    gone = present - {file.path for file in files}
    return [path for path in sorted(gone) if any(fnmatch(path, pattern) for pattern in _REPLACED_PATTERNS)]


def _open_repository(api: HfApi, target: _Target) -> bool:
    """Makes the repository if there is none; returns whether it is private."""
    where: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": target.repo_type}
    try:
        api.repo_info(**where)
    except RepositoryNotFoundError as error:
        if target.create_pr:
            raise DataError(
                f"a pull request proposes a change to a repository that exists, found no {target.repo_type} repository "
                f"{target.repo_id!r} that this token can read; push without --create-pr to make it"
            ) from error
        sdk = "gradio" if target.repo_type == "space" else None
        api.create_repo(**where, private=target.private, exist_ok=True, space_sdk=sdk)
    # Read back, since a repository that exists keeps its visibility and an organisation may have rules of its own.
    private = bool(api.repo_info(**where).private)
    if target.private and not private:
        raise DataError(
            f"the upload must be private, found the public {target.repo_type} repository {target.repo_id!r}; "
            "make it private, choose another name, or pass --public"
        )
    return private


def _check_tag_is_new(api: HfApi, target: _Target) -> None:
    refs = api.list_repo_refs(target.repo_id, repo_type=target.repo_type)
    if any(ref.name == target.tag for ref in refs.tags):
        raise DataError(
            f"a tag stays where it is, since readers pin it, and {target.repo_id!r} has {target.tag!r} already; "
            "choose another name"
        )


def _read_branch(api: HfApi, target: _Target) -> tuple[str, set[str]]:
    """Gives the newest commit of the branch and its files; makes the branch if there is none."""
    where: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": target.repo_type}
    try:
        info = api.repo_info(**where, revision=target.revision)
    except RevisionNotFoundError:
        api.create_branch(**where, branch=target.revision)
        info = api.repo_info(**where, revision=target.revision)
    sha = str(info.sha)
    return sha, set(api.list_repo_files(**where, revision=sha))


def _check_arrived(api: HfApi, files: tuple[PublishableFile, ...], target: _Target, commit_sha: str) -> None:
    tree = api.list_repo_tree(target.repo_id, repo_type=target.repo_type, revision=commit_sha, recursive=True)
    sizes = {entry.path: entry.size for entry in tree if hasattr(entry, "size")}
    wrong = [file.path for file in files if sizes.get(file.path) != file.size]
    if wrong:
        raise DataError(
            f"after a push the commit holds every file as it was sent, {commit_sha} of {target.repo_id!r} differs in "
            f"{', '.join(wrong)}; see whether a .gitignore of the repository leaves them out, and push again"
        )
