"""Gemini's batches on Vertex AI: requests in a file of the user's bucket, replies in files beside
it, a job between them.

Both are asked over HTTP with one token of the user's: the jobs (Vertex AI, v1,
projects.locations.batchPredictionJobs) and the objects of the bucket (JSON API of Cloud Storage,
v1). Replies come in any order; a reply repeats its request, and a label of the request is its name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from urllib.parse import quote

import orjson

from synth.core.errors import TeacherBusy, TeacherRefused, WrongUse
from synth.core.records import Fields, Values, ordered_json
from synth.teachers.base import Settings
from synth.teachers.batches import translated
from synth.teachers.batches.exchange import Exchange
from synth.teachers.batches.gemini import ENDS, PAGE, pages, status_of
from synth.teachers.batches.service import (
    MARK,
    MOST_LISTED,
    Ended,
    Outcome,
    Service,
    safe,
)
from synth.teachers.openai_chat import Target
from synth.teachers.wire.access import check_url
from synth.teachers.wire.batch_log import Pending
from synth.teachers.wire.bucket import Bucket, read_bucket
from synth.teachers.wire.replies import load_reply

# The names that litellm and Google's own clients read.
PROJECTS = ("VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT")
LOCATIONS = ("VERTEXAI_LOCATION", "GOOGLE_CLOUD_LOCATION")
STORAGE = "STORAGE_EMULATOR_HOST"
_PUBLIC_STORAGE = "https://storage.googleapis.com"
_LOCATION = "us-central1"
_GLOBAL = "global"
_JOBS = "batchPredictionJobs"
_REQUESTS = "requests.jsonl"
_LINES = ".jsonl"
# What a job that finds no room says, by google.rpc's code.
_EXHAUSTED = 8


class Vertex(Service):
    """Batches of `vertex_ai/gemini-...`."""

    keys = ("GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN")

    def __init__(self, model: str, settings: Settings) -> None:
        self.name = model.partition("/")[2]
        if not self.name.startswith("gemini"):
            raise WrongUse(
                f"--teacher {model}",
                "batches of another maker's model",
                "a model gemini-... where --batch asks Vertex AI",
                "Leave --batch out.",
            )
        self.location = _set(LOCATIONS) or _LOCATION
        project = _set(PROJECTS)
        if not project:
            raise WrongUse(
                f"--teacher {model}",
                "no project",
                f"{' or '.join(PROJECTS)} in the environment",
                f"Set it: export {PROJECTS[0]}=...",
            )
        self.path = (
            f"/projects/{safe(project)}/locations/{safe(self.location)}/{_JOBS}"
        )
        self.bucket: Bucket | None = None
        if settings.bucket is not None:
            self.bucket = read_bucket(settings.bucket)
        super().__init__(model, settings)
        self.storage = Exchange(
            self._storage(),
            self.authority(self.target.key),
            settings.timeout,
        )

    def reached(self, settings: Settings) -> Target:
        """The host of the location, and the token."""
        prefix = "" if self.location == _GLOBAL else f"{self.location}-"
        public = f"https://{prefix}aiplatform.googleapis.com/v1"
        named = replace(settings, api_base=settings.api_base or public)
        return super().reached(named)

    def _storage(self) -> Target:
        """Google's storage, or the one that its clients are told of; headers of a gateway stay
        away from it.
        """
        base = os.environ.get(STORAGE, "").strip() or _PUBLIC_STORAGE
        if "://" not in base:
            base = f"http://{base}"
        check_url(base, STORAGE)
        return self.target._replace(base=base.rstrip("/"), query="", headers={})

    def custom_id(self, batch: str, place: int, key: str) -> str:  # noqa: ARG002
        """The batch's name and a place in it: a label has 63 signs at most."""
        return f"{batch}-{place}"

    async def spoken(self, body: Fields) -> Fields:
        """The body of a request for content, which is that of Gemini's own API."""
        said = await translated.spoken(self._as_gemini(body))
        return said.body

    async def heard(self, body: bytes, asked: Fields | None) -> Fields:
        """The chat completion in a reply."""
        return await translated.heard(body, self._as_gemini(asked or {}))

    def _as_gemini(self, body: Fields) -> Fields:
        return {**body, "model": f"gemini/{self.name}"}

    def line(self, name: str, spoken: Fields) -> bytes:
        """One request of the file."""
        return ordered_json({"request": {**spoken, "labels": {MARK: name}}})

    async def prepare(self, batch: Pending, lines: Sequence[bytes]) -> str:
        """Puts the file into the bucket, under the batch's name: a second try writes it over."""
        if self.bucket is None:
            raise TeacherRefused("no_bucket", "no --batch-bucket was named")
        name = self.bucket.object(f"{MARK}-{batch.name}", _REQUESTS)
        await self.storage.ask(
            "POST",
            f"/upload/storage/v1/b/{safe(self.bucket.name)}/o",
            b"\n".join(lines),
            params={"uploadType": "media", "name": name},
            headers={"Content-Type": "application/x-ndjson"},
        )
        return self.bucket.url(name)

    async def create(self, batch: Pending, lines: Sequence[bytes]) -> str:  # noqa: ARG002
        """Creates the job of the file, under our name."""
        source = str(batch.trace)
        order = {
            "displayName": batch.name,
            "model": f"publishers/google/models/{self.name}",
            "inputConfig": {
                "instancesFormat": "jsonl",
                "gcsSource": {"uris": [source]},
            },
            "outputConfig": {
                "predictionsFormat": "jsonl",
                "gcsDestination": {
                    "outputUriPrefix": source.rpartition("/")[0]
                },
            },
        }
        made = await self.exchange.ask("POST", self.path, order, once=True)
        return _id(made)

    async def find(self, batch: Pending) -> str | None:
        """The job that carries our name."""
        params: Fields = {
            "filter": f'displayName="{batch.name}"',
            "pageSize": PAGE,
        }
        most = MOST_LISTED // PAGE
        async for page in pages(self.exchange, self.path, params, most):
            for job in page.get(_JOBS) or []:
                if job.get("displayName") == batch.name:
                    return _id(job)
        return None

    async def look(self, id_: str) -> Ended | None:
        """The job, once it has ended."""
        value = await self.exchange.ask("GET", f"{self.path}/{safe(id_)}")
        state = str(value.get("state")).rpartition("_STATE_")
        status = ENDS.get(state[2])
        if status is None:
            return None
        error = value.get("error") or {}
        code = error.get("code") or ""
        if code == _EXHAUSTED:
            code = "RESOURCE_EXHAUSTED"
        return Ended(status, value, str(code), str(error.get("message") or ""))

    async def cancel(self, id_: str) -> None:
        """Ends a job early."""
        with contextlib.suppress(TeacherRefused):
            await self.exchange.ask(
                "POST", f"{self.path}/{safe(id_)}:cancel", {}
            )

    async def outcomes(self, id_: str, ended: Ended) -> AsyncIterator[Outcome]:  # noqa: ARG002
        """Every reply in the files that the job left, each request once."""
        told = ended.value.get("outputInfo") or {}
        directory = str(told.get("gcsOutputDirectory") or "")
        if not directory:
            return
        place = read_bucket(directory, "the job's output")
        seen: set[str] = set()
        async for name in self._objects(place):
            path = f"{_of(place)}/{quote(name, safe='')}?alt=media"
            async for line in self.storage.lines(path):
                outcome = _outcome(load_reply(line)[0])
                if outcome.name not in seen:
                    seen.add(outcome.name)
                    yield outcome

    async def _objects(self, place: Bucket) -> AsyncIterator[str]:
        """Names of the files of lines below a folder."""
        params: Fields = {"prefix": f"{place.folder}/"}
        async for page in pages(self.storage, _of(place), params):
            for item in page.get("items") or []:
                name = str(item["name"])
                if name.endswith(_LINES):
                    yield name

    async def close(self) -> None:
        """Closes the connections to the jobs and to the bucket."""
        await super().close()
        await self.storage.close()


def _set(variables: Sequence[str]) -> str:
    """What the first of some variables says that is set."""
    values = (os.environ.get(name, "").strip() for name in variables)
    return next(filter(None, values), "")


def _of(place: Bucket) -> str:
    """The path of a bucket's objects."""
    return f"/storage/v1/b/{safe(place.name)}/o"


def _id(job: Values) -> str:
    """The job's id, without the collection before it."""
    name = str(job.get("name") or "")
    _, found, id_ = name.partition(f"/{_JOBS}/")
    if not found or not id_:
        raise TeacherBusy("invalid_reply", f"no job in {name!r:.80}")
    return id_


def _outcome(line: Values) -> Outcome:
    request = line.get("request") or {}
    labels = request.get("labels") or {}
    name = str(labels.get(MARK))
    response = line.get("response")
    said = str(line.get("status") or "")
    if response and not said:
        return Outcome(name, 200, orjson.dumps(response))
    error = error_in(said)
    body = orjson.dumps({"error": error})
    return Outcome(name, status_of(error.get("code")), body)


def error_in(said: str) -> Fields:
    """The error in the status of a line: words, mostly with JSON behind them.

    >>> error_in('Bad Request: {"error": {"code": 400, "message": "no"}}')
    {'code': 400, 'message': 'no'}
    >>> error_in("Internal error")
    {'message': 'Internal error'}
    """
    start = said.find("{")
    try:
        read = orjson.loads(said[start:])
    except orjson.JSONDecodeError:
        read = None
    if start >= 0 and isinstance(read, dict):
        error = read.get("error")
        return error if isinstance(error, dict) else {**read}
    return {"message": said}
