"""The content of an emulated Hub: repositories as immutable trees by commit, and large files by their hash."""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LFS_SUFFIXES = (".safetensors", ".parquet", ".npy", ".png", ".wav", ".mp4")
LFS_BYTES = 10 * 1024**2


@dataclass(frozen=True)
class Blob:
    """One file: regular content lives here, large content in the folder of large files."""

    lfs: bool
    size: int
    oid: str
    content: bytes = b""


@dataclass
class Commit:
    sha: str
    parent: str | None
    message: str
    tree: dict[str, Blob]


@dataclass
class Repository:
    repo_id: str
    kind: str  # models, datasets or spaces
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[str, str] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def resolve(self, revision: str) -> Commit | None:
        """Finds a commit by branch, tag, pull request or its 40 hex digits."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.branches.get(name) or self.tags.get(name) or self.pull_requests.get(revision) or revision
        return self.commits.get(sha)

    def history(self, revision: str = "main") -> list[Commit]:
        """Lists the commits of a branch, newest first."""
        commits, commit = [], self.resolve(revision)
        while commit is not None:
            commits.append(commit)
            commit = self.commits.get(commit.parent or "")
        return commits

    def add_commit(self, parent: Commit | None, message: str, tree: dict[str, Blob]) -> Commit:
        content = repr((parent and parent.sha, message, sorted((path, blob.oid) for path, blob in tree.items())))
        sha = hashlib.sha1(f"{len(self.commits)}{content}".encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent and parent.sha, message, tree)
        return self.commits[sha]


def regular_blob(content: bytes) -> Blob:
    return Blob(False, len(content), hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(), content)


def is_large(path: str, size: int) -> bool:
    return path.endswith(LFS_SUFFIXES) or size > LFS_BYTES


def changed_tree(tree: dict[str, Blob], operations: list[dict[str, Any]], store: Path) -> dict[str, Blob]:
    """Applies the operations of a commit; raises KeyError for a large file whose content never arrived."""
    import base64

    changed = dict(tree)
    for operation in operations:
        kind, value = operation["key"], operation["value"]
        path = value["path"]
        if kind == "file":
            changed[path] = regular_blob(base64.b64decode(value["content"]))
        elif kind == "lfsFile":
            stored = store / value["oid"]
            if not stored.is_file():
                raise KeyError(value["oid"])
            changed[path] = Blob(True, stored.stat().st_size, value["oid"])
        elif kind == "deletedFile":
            del changed[path]
        elif kind == "deletedFolder":
            changed = {name: blob for name, blob in changed.items() if not name.startswith(path.rstrip("/") + "/")}
        else:
            raise ValueError(f"unknown operation {kind!r}")
    return changed


def tree_entries(tree: dict[str, Blob], folder: str, *, recursive: bool) -> list[dict[str, Any]] | None:
    """Describes the files, and the folders, below a folder; None if there is no such folder."""
    prefix = f"{folder}/" if folder else ""
    names = sorted(name for name in tree if name.startswith(prefix))
    if folder and not names:
        return None
    entries: dict[str, dict[str, Any]] = {}
    for name in names:
        parts = name[len(prefix) :].split("/")
        for depth in range(1, len(parts)):
            path = prefix + "/".join(parts[:depth])
            if recursive or depth == 1:
                entries[path] = {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}
        if recursive or len(parts) == 1:
            entries[name] = file_entry(name, tree[name])
    return list(entries.values())


def file_entry(path: str, blob: Blob) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": blob.size, "oid": blob.oid[:40]}
    return {**entry, "lfs": {"oid": blob.oid, "size": blob.size, "pointerSize": 134}} if blob.lfs else entry
