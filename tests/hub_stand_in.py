"""A stand-in for the hub's HTTP API, as far as repositories, trees, commits and large files go."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from aiohttp import web

# A file of this many bytes goes as a large one.
LARGE = 4096


class Hub:
    """Repositories in memory.

    Attributes:
        repos: name -> {"private": ..., "files": {path: bytes}}.
        commits: paths of each commit.
        uploads: hashes of large files that were sent.
        fail: (method, part of a path) -> statuses, of which the first is answered next.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, Any]] = {}
        self.commits: list[list[str]] = []
        self.uploads: list[str] = []
        self.large: dict[str, bytes] = {}
        self.fail: dict[tuple[str, str], list[int]] = {}
        self.keys: set[str] = set()
        self.url = ""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.keys.add(request.headers.get("Authorization", ""))
        for (method, part), statuses in self.fail.items():
            if request.method == method and part in path and statuses:
                return web.json_response(
                    {"error": "told to"}, status=statuses.pop(0)
                )
        body = await request.read()
        if path == "api/repos/create":
            return self._create(json.loads(body))
        if path == "api/validate-yaml":
            bad = "license: nonsense" in json.loads(body)["content"]
            errors = [{"message": "no such licence"}] if bad else []
            return web.json_response(
                {"errors": errors, "warnings": []}, status=400 if bad else 200
            )
        if path.startswith("upload/"):
            oid = path.rpartition("/")[2]
            assert hashlib.sha256(body).hexdigest() == oid
            self.large[oid] = body
            self.uploads.append(oid)
            return web.Response()
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        _, kind, owner, name, *rest = path.split("/")
        assert kind in ("datasets", "models")
        return self._of_repo(f"{owner}/{name}", rest, body)

    def _create(self, body: dict[str, Any]) -> web.Response:
        name = f"{body['organization']}/{body['name']}"
        private = body.get("private", body.get("visibility") == "private")
        self.repos[name] = {"private": private, "files": {}}
        return web.json_response({"url": f"{self.url}/{name}", "name": name})

    def _batch(self, body: dict[str, Any]) -> web.Response:
        objects = []
        for wanted in body["objects"]:
            told = dict(wanted)
            if wanted["oid"] not in self.large:
                href = f"{self.url}/upload/{wanted['oid']}"
                told["actions"] = {"upload": {"href": href}}
            objects.append(told)
        return web.json_response({"transfer": "basic", "objects": objects})

    def _of_repo(self, name: str, rest: list[str], body: bytes) -> web.Response:
        repo = self.repos.get(name)
        if repo is None:
            return web.json_response(
                {"error": "Repository not found"},
                status=404,
                headers={"X-Error-Code": "RepoNotFound"},
            )
        if rest[:1] == ["tree"]:
            return web.json_response([*map(_entry, repo["files"].items())])
        if rest[:1] == ["preupload"]:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["size"] >= LARGE else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return web.json_response({"files": files})
        if rest[:1] == ["commit"]:
            return self._commit(repo, body, f"{self.url}/{name}")
        told = {"id": name, "private": repo["private"], "siblings": []}
        return web.json_response({**told, "sha": "0" * 40, "tags": []})

    def _commit(
        self, repo: dict[str, Any], body: bytes, address: str
    ) -> web.Response:
        paths = []
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                content = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.large[value["oid"]]
            else:
                continue
            repo["files"][value["path"]] = content
            paths.append(value["path"])
        self.commits.append(paths)
        return web.json_response(
            {
                "success": True,
                "commitOid": "1" * 40,
                "commitUrl": f"{address}/commit/{'1' * 40}",
                "hookOutput": "",
            }
        )


def _entry(item: tuple[str, bytes]) -> dict[str, Any]:
    path, content = item
    named = f"blob {len(content)}\0".encode() + content
    blob = hashlib.sha1(named, usedforsecurity=False)
    told = {
        "type": "file",
        "path": path,
        "size": len(content),
        "oid": blob.hexdigest(),
    }
    if len(content) >= LARGE:
        oid = hashlib.sha256(content).hexdigest()
        told["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 134}
    return told
