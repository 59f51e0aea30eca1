"""An emulation of the Hugging Face Hub's HTTP interface on 127.0.0.1, for tests of the unmodified client.

It answers what huggingface_hub 2.4, transformers 5.23 and datasets 5.2 ask for with HF_HUB_DISABLE_XET=1: repositories,
commits, branches, tags, pull requests, LFS uploads and downloads. It isn't the Hub: no Xet, no quotas, no gating, no
dataset server, and only the errors that a test here needs. Whatever it doesn't know is answered 404 and listed in
`unknown_requests`.
"""

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.hub.hub_repositories import (
    Blob,
    Commit,
    Repository,
    changed_tree,
    file_entry,
    is_large,
    regular_blob,
    tree_entries,
)

_API = re.compile(r"/api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/([a-z-]+)(?:/([^/]+)(?:/(.*))?)?)?")
_BATCH = re.compile(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_RESOLVE = re.compile(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_STORE = re.compile(r"/large-files/([0-9a-f]{64})")


class LoopbackHub:
    """A server with its repositories; use it as a context manager.

    Args:
        folder: Where large files go.
        tokens: User name by access token.

    Attributes:
        requests: (method, path) of everything asked for, in order.
        unknown_requests: Those that the emulation has no answer for.
        before_storing: Called with the hash before a large file is stored; an exception refuses the file with 403.
    """

    def __init__(self, folder: Path, tokens: dict[str, str]) -> None:
        self.store = folder
        self.tokens = tokens
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.unknown_requests: list[tuple[str, str]] = []
        self.before_storing: Callable[[str], None] = lambda oid: None
        folder.mkdir(parents=True, exist_ok=True)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "LoopbackHub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Takes the server off the network; the repositories stay readable from Python."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def model(self, repo_id: str) -> Repository:
        return self.repositories["models", repo_id]

    def dataset(self, repo_id: str) -> Repository:
        return self.repositories["datasets", repo_id]

    def create(self, kind: str, repo_id: str, *, private: bool) -> Repository:
        repository = Repository(repo_id, kind, private)
        first = repository.add_commit(None, "initial commit", {".gitattributes": regular_blob(b"")})
        repository.branches["main"] = first.sha
        self.repositories[kind, repo_id] = repository
        return repository

    def read(self, repository: Repository, path: str, revision: str = "main") -> bytes:
        """Gives the content of a file."""
        commit = repository.resolve(revision)
        assert commit is not None
        return self.content(commit.tree[path])

    def content(self, blob: Blob) -> bytes:
        return (self.store / blob.oid).read_bytes() if blob.lfs else blob.content


def _handler_for(hub: LoopbackHub) -> type["_Handler"]:
    return type("Handler", (_Handler,), {"hub": hub})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub
    user: str | None
    query: dict[str, list[str]]
    body: bytes

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the terminal quiet; `requests` is the log."""

    def do_GET(self) -> None:  # the name that http.server looks for
        url = urlsplit(self.path)
        self.hub.requests.append((self.command, unquote(url.path)))
        self.query = parse_qs(url.query, keep_blank_values=True)
        self.user = self.hub.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        self.body = self._read_body()
        for pattern, answer in (
            (_STORE, self._store_large_file),
            (_BATCH, self._answer_batch),
            (_RESOLVE, self._answer_resolve),
            (_API, self._answer_api),
        ):
            match = pattern.fullmatch(url.path)
            if match:
                return answer(*(part and unquote(part) for part in match.groups()))
        return self._answer_account(url.path)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, code: int, content: Any = b"", **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/octet-stream" if body is content else "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, code: int, message: str, **headers: str) -> None:
        self._send(code, {"error": message}, X_Error_Message=message, **headers)

    def _unknown(self) -> None:
        self.hub.unknown_requests.append((self.command, self.path))
        self._refuse(404, "the loopback Hub has no answer for this")

    # Repositories are looked up in one place, so that rights are checked in one place.

    def _open(self, kind: str | None, repo_id: str, *, write: bool = False) -> Repository | None:
        repository = self.hub.repositories.get((kind or "models", repo_id))
        owner = repo_id.partition("/")[0]
        if repository is None or (repository.private and self.user != owner):
            self._refuse(401, "Repository not found", X_Error_Code="RepoNotFound")
            return None
        if write and self.user != owner:
            self._refuse(403, f"you have no right to write to {repo_id}")
            return None
        return repository

    def _commit_of(self, repository: Repository, revision: str) -> Commit | None:
        commit = repository.resolve(revision)
        if commit is None:
            self._refuse(404, f"Invalid rev id: {revision}", X_Error_Code="RevisionNotFound")
        return commit

    def _answer_account(self, path: str) -> None:
        if path == "/api/whoami-v2" and self.user:
            self._send(200, {"name": self.user, "type": "user", "orgs": [], "auth": {"type": "access_token"}})
        elif path == "/api/whoami-v2":
            self._refuse(401, "Invalid credentials in Authorization header")
        elif path == "/api/agent-harnesses":
            self._send(200, {"standardEnvVars": [], "harnesses": {}})
        elif path == "/api/validate-yaml":
            self._validate_card(json.loads(self.body)["content"])
        elif path == "/api/repos/create":
            self._create_repository(json.loads(self.body))
        elif path == "/api/repos/delete":
            self._delete_repository(json.loads(self.body))
        else:
            self._unknown()

    def _validate_card(self, card: str) -> None:
        parts = card.split("---\n")
        try:
            yaml.safe_load(parts[1] if card.startswith("---\n") and len(parts) > 2 else "")
        except yaml.YAMLError as error:
            self._send(400, {"errors": [{"message": f"not YAML: {error}"}], "warnings": []})
        else:
            self._send(200, {"errors": [], "warnings": []})

    def _create_repository(self, asked: dict[str, Any]) -> None:
        owner = asked.get("organization") or self.user
        kind = f"{asked.get('type') or 'model'}s"
        repo_id = f"{owner}/{asked['name']}"
        prefix = "" if kind == "models" else f"{kind}/"
        if self.user is None or owner != self.user:
            self._refuse(403, f"you have no right to create {repo_id}")
        elif (kind, repo_id) in self.hub.repositories:
            self._send(409, {"error": "You already created this repo", "url": f"{self.hub.endpoint}/{prefix}{repo_id}"})
        else:
            # Since 2.x the client asks for a visibility; 1.x for a private repository.
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.hub.create(kind, repo_id, private=private)
            self._send(200, {"url": f"{self.hub.endpoint}/{prefix}{repo_id}", "name": repo_id})

    def _delete_repository(self, asked: dict[str, Any]) -> None:
        kind, repo_id = f"{asked.get('type') or 'model'}s", f"{asked.get('organization') or self.user}/{asked['name']}"
        if self._open(kind, repo_id, write=True) is not None:
            del self.hub.repositories[kind, repo_id]
            self._send(200, {})

    def _answer_api(self, kind: str, repo_id: str, route: str | None, revision: str | None, rest: str | None) -> None:
        writes = self.command == "POST" and route in ("preupload", "commit", "tag", "branch")
        repository = self._open(kind, repo_id, write=writes and "create_pr" not in self.query)
        if repository is None:
            return
        with repository.lock:
            if route == "refs":
                return self._send_refs(repository)
            if route == "branch" and self.command == "POST":
                return self._create_branch(repository, revision or "")
            commit = self._commit_of(repository, revision or "main")
            if commit is None:
                return
            answers: dict[str | None, Callable[[], None]] = {
                None: lambda: self._send_info(repository, commit),
                "revision": lambda: self._send_info(repository, commit),
                "tree": lambda: self._send_tree(commit, rest or ""),
                "paths-info": lambda: self._send_paths(commit),
                "commits": lambda: self._send_history(repository, commit),
                "preupload": lambda: self._send_upload_modes(commit),
                "commit": lambda: self._commit(repository, commit, revision or "main"),
                "tag": lambda: self._create_tag(repository, commit),
            }
            answers.get(route, self._unknown)()

    def _send_info(self, repository: Repository, commit: Commit) -> None:
        info = {
            "id": repository.repo_id,
            "modelId": repository.repo_id,
            "sha": commit.sha,
            "private": repository.private,
        }
        siblings = [{"rfilename": path} for path in sorted(commit.tree)]
        counts = {"tags": [], "downloads": 0, "likes": 0, "gated": False, "disabled": False}
        self._send(200, {**info, **counts, "author": repository.repo_id.partition("/")[0], "siblings": siblings})

    def _send_tree(self, commit: Commit, folder: str) -> None:
        recursive = self.query.get("recursive", [""])[0].lower() in ("true", "1")
        entries = tree_entries(commit.tree, folder.rstrip("/"), recursive=recursive)
        if entries is None:
            self._refuse(404, f"{folder} does not exist", X_Error_Code="EntryNotFound")
        else:
            self._send(200, entries)

    def _send_paths(self, commit: Commit) -> None:
        form = "urlencoded" in self.headers.get("Content-Type", "")
        asked = parse_qs(self.body.decode())["paths"] if form else json.loads(self.body)["paths"]
        found = []
        for path in asked:
            if path in commit.tree:
                found.append(file_entry(path, commit.tree[path]))
            elif tree_entries(commit.tree, path, recursive=False):
                found.append({"type": "directory", "path": path, "size": 0, "oid": "0" * 40})
        self._send(200, found)

    def _send_history(self, repository: Repository, commit: Commit) -> None:
        date = "2026-01-01T00:00:00.000Z"
        history = repository.history(commit.sha)
        self._send(
            200, [{"id": c.sha, "title": c.message, "message": "", "date": date, "authors": []} for c in history]
        )

    def _send_refs(self, repository: Repository) -> None:
        def describe(refs: dict[str, str], prefix: str) -> list[dict[str, str]]:
            return [{"name": name, "ref": prefix + name, "targetCommit": sha} for name, sha in refs.items()]

        refs = {
            "branches": describe(repository.branches, "refs/heads/"),
            "tags": describe(repository.tags, "refs/tags/"),
        }
        self._send(200, {**refs, "converts": [], "pullRequests": describe(repository.pull_requests, "")})

    def _create_tag(self, repository: Repository, commit: Commit) -> None:
        tag = json.loads(self.body)["tag"]
        if tag in repository.tags:
            return self._refuse(409, "Tag reference exists already")
        repository.tags[tag] = commit.sha
        return self._send(200, {})

    def _create_branch(self, repository: Repository, branch: str) -> None:
        start = json.loads(self.body or b"{}").get("startingPoint") or "main"
        commit = self._commit_of(repository, start)
        if commit is not None and branch in repository.branches:
            self._refuse(409, "Reference already exists")
        elif commit is not None:
            repository.branches[branch] = commit.sha
            self._send(200, {})

    def _send_upload_modes(self, commit: Commit) -> None:
        ignored = self.hub.content(commit.tree[".gitignore"]).decode().split() if ".gitignore" in commit.tree else []
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_large(file["path"], file["size"]) else "regular",
                "shouldIgnore": file["path"] in ignored,
                "oid": commit.tree[file["path"]].oid if file["path"] in commit.tree else None,
            }
            for file in json.loads(self.body)["files"]
        ]
        self._send(200, {"files": files})

    def _answer_batch(self, kind: str | None, repo_id: str) -> None:
        if self._open(kind, repo_id) is None:
            return
        objects = []
        for asked in json.loads(self.body)["objects"]:
            known = (self.hub.store / asked["oid"]).is_file()
            upload = {"actions": {"upload": {"href": f"{self.hub.endpoint}/large-files/{asked['oid']}"}}}
            objects.append({**asked, **({} if known else upload)})
        self._send(200, {"transfer": "basic", "objects": objects})

    def _store_large_file(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self._refuse(400, "the content has another sha256 than its address")
        try:
            self.hub.before_storing(oid)
        except Exception as error:  # whatever the test raises is a refusal
            return self._refuse(403, str(error))
        partial = self.hub.store / f"{oid}.{threading.get_ident()}"
        partial.write_bytes(self.body)
        shutil.move(partial, self.hub.store / oid)
        return self._send(200)

    def _commit(self, repository: Repository, parent: Commit, revision: str) -> None:
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, parent.sha):
            return self._refuse(412, "A commit has happened since. Please refresh and try again.")
        try:
            tree = changed_tree(parent.tree, lines[1:], self.hub.store)
        except KeyError as error:
            return self._refuse(400, f"not there: {error}")
        prefix = "" if repository.kind == "models" else f"{repository.kind}/"
        address = f"{self.hub.endpoint}/{prefix}{repository.repo_id}"
        commit = repository.add_commit(parent, header["summary"], tree)
        pull_request = None
        if "create_pr" in self.query:
            number = len(repository.pull_requests) + 1
            repository.pull_requests[f"refs/pr/{number}"] = commit.sha
            pull_request = f"{address}/discussions/{number}"
        else:
            repository.branches[revision] = commit.sha
        answer = {"success": True, "commitOid": commit.sha, "commitUrl": f"{address}/commit/{commit.sha}"}
        return self._send(200, {**answer, "pullRequestUrl": pull_request, "hookOutput": ""})

    def _answer_resolve(self, kind: str | None, repo_id: str, revision: str, path: str) -> None:
        repository = self._open(kind, repo_id)
        commit = repository and self._commit_of(repository, revision)
        if commit is None:
            return
        blob = commit.tree.get(path)
        if blob is None:
            self._refuse(404, "Entry not found", X_Error_Code="EntryNotFound", X_Repo_Commit=commit.sha)
            return
        content = self.hub.content(blob)
        headers = {"X_Repo_Commit": commit.sha, "ETag": f'"{blob.oid}"', "Accept_Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X_Linked_ETag": f'"{blob.oid}"', "X_Linked_Size": str(blob.size)}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if span and self.command == "GET":
            first, last = int(span[1]), min(int(span[2] or blob.size), blob.size - 1)
            headers["Content_Range"] = f"bytes {first}-{last}/{blob.size}"
            self._send(206, content[first : last + 1], **headers)
        else:
            self._send(200, content, **headers)
