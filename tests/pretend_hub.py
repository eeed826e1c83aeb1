"""A hub without a network: repositories written into a cache of the hub's layout, and a server that hands them out.

`cache_repository` makes what `huggingface_hub` would have downloaded. `PretendHub` answers the few requests that the
library makes (information, file list, files), refuses as the real hub does, and can move branches.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

LARGE = (".safetensors", ".bin", ".gguf", ".parquet")
"""Files that the hub keeps in large-file storage: they are called by their SHA-256, others by their git digest."""


def commit_of(files: Mapping[str, bytes]) -> str:
    """A commit for this content: 40 hexadecimal digits."""
    return hashlib.sha1(repr(sorted((name, _blob(name, data)) for name, data in files.items())).encode()).hexdigest()


def files_of(directory: Path) -> dict[str, bytes]:
    """The files below a directory by their relative paths."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def _blob(name: str, data: bytes) -> str:
    if name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def cache_repository(
    cache: Path,
    repository: str,
    files: Mapping[str, bytes],
    kind: str = "model",
    branch: str | None = "main",
    listed: bool = True,
) -> str:
    """Put a repository into the hub's cache (blobs, a snapshot of links to them, refs); returns its commit.

    `listed`: with the list of the commit's files, which older versions of the hub's library do not write.
    """
    commit = commit_of(files)
    root = cache / f"{kind}s--{repository.replace('/', '--')}"
    for name, data in files.items():
        blob, link = root / "blobs" / _blob(name, data), root / "snapshots" / commit / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            blob.write_bytes(data)
        if not link.exists():
            link.symlink_to(os.path.relpath(blob, link.parent))
    if branch is not None:
        ref = root / "refs" / branch
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)
    if listed:
        listing = root / "trees" / f"{commit}.json"
        listing.parent.mkdir(parents=True, exist_ok=True)
        entries = {name: {"size": len(data), "blob_id": _blob(name, data)} for name, data in files.items()}
        listing.write_text(json.dumps({"format_version": 1, "files": entries}))
    return commit


@dataclass
class Repository:
    """A repository of the pretend hub."""

    commits: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def push(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Move a branch to a new commit with these files."""
        commit = commit_of(files)
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit


class PretendHub:
    """A server on this machine that answers as the hub does."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.token = "hf_tokenThatMayReadEverything"
        self.requests: list[str] = []
        """Method and path of every request, in order."""
        self.status: int | None = None
        """Every request is answered with this status, if it is set."""
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def repository(self, name: str, kind: str = "model", **properties: Any) -> Repository:
        """A new, empty repository."""
        return self.repositories.setdefault((kind, name), Repository(**properties))

    def downloads(self) -> list[str]:
        """The names of the files that were handed out."""
        return [path.split("/resolve/")[1].partition("/")[2] for path in self._paths("GET") if "/resolve/" in path]

    def _paths(self, method: str) -> list[str]:
        return [request.split(" ")[1] for request in self.requests if request.startswith(f"{method} ")]

    @contextmanager
    def running(self) -> Iterator["PretendHub"]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: PretendHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.status is not None:
            # A careless mirror that shows what it was sent.
            return self._refuse(self.hub.status, "", f"refused {self.headers.get('Authorization')}")
        if path.startswith("/api/"):
            _, _, kinds, owner, name, verb, *rest = path.split("/")
            kind, repository = kinds.removesuffix("s"), f"{owner}/{name}"
        else:
            kind = "dataset" if path.startswith("/datasets/") else "model"
            owner, name, verb, *rest = path.removeprefix("/datasets").split("/")[1:]
            repository = f"{owner}/{name}"
        found = self.hub.repositories.get((kind, repository))
        allowed = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        if found is None or (found.private and not allowed):
            return self._refuse(404 if allowed else 401, "RepoNotFound", "Repository not found")
        commit = found.branches.get(rest[0], rest[0])
        if commit not in found.commits:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {rest[0]}")
        files = found.commits[commit]
        if verb == "revision":
            siblings = [{"rfilename": file} for file in files]
            return self._json({"id": repository, "sha": commit, "siblings": siblings, "tags": []})
        if verb == "tree":
            return self._json([self._entry(file, data) for file, data in files.items()])
        file = "/".join(rest[1:])
        if found.gated and not allowed:
            status = 403 if self.headers.get("Authorization") else 401
            return self._refuse(status, "GatedRepo", "Access to this model is restricted.")
        if file not in files:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_blob(file, files[file])}"'}
        return self._send(200, files[file], headers, "application/octet-stream")

    def _entry(self, file: str, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": file, "size": len(data), "oid": _blob(file, data)}
        if file.endswith(LARGE):
            entry["lfs"] = {"oid": _blob(file, data), "size": len(data), "pointerSize": 130}
        return entry

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {}, "application/json")

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._send(status, json.dumps({"error": message}).encode(), headers, "application/json")

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], kind: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def environment(cache: Path, hub: PretendHub | None = None, token: str | None = None) -> dict[str, str]:
    """Environment variables of a process that finds this cache, and this hub (or none at all)."""
    settings = {
        "HF_HUB_CACHE": str(cache),
        "HF_TOKEN_PATH": str(cache / "no-token"),
        "HF_HUB_OFFLINE": "0" if hub else "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
    }
    return {**settings, **({"HF_ENDPOINT": hub.endpoint} if hub else {}), **({"HF_TOKEN": token} if token else {})}


def use(patch: pytest.MonkeyPatch, cache: Path, hub: PretendHub | None = None, token: str | None = None) -> None:
    """Let the hub's library in this process use this cache and this hub (or none at all)."""
    from huggingface_hub import constants

    for name, value in environment(cache, hub, token).items():
        patch.setenv(name, value)
    if token is None:
        patch.delenv("HF_TOKEN", raising=False)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    patch.setattr(constants, "HF_HUB_OFFLINE", hub is None)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    if hub is not None:
        patch.setattr(constants, "ENDPOINT", hub.endpoint)
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr("time.sleep", lambda seconds: None)  # the library waits before it tries again
