"""A server that speaks the two protocols of Vertex AI's batches: jobs, and the objects of a bucket."""

from __future__ import annotations

import json

from aiohttp import web

from tests.teachers.batch_servers import KEY, Gemini

BUCKET = "mine"
PARENT = "projects/mill/locations/europe-west4"


class Vertex(Gemini):
    """Jobs read their requests out of the bucket, and leave replies there in another order."""

    root = "/v1"
    teacher = "vertex_ai/gemini-2.5-flash"
    variable = "GOOGLE_OAUTH_ACCESS_TOKEN"
    options = {"batch_bucket": f"gs://{BUCKET}/runs"}
    # litellm asks Vertex AI with Google's package for keys.
    has_online = False

    def __init__(self, **how):
        super().__init__(**how)
        self.objects = {}
        # Whether the token has run out by the time the job is looked at.
        self.refused = False

    @property
    def environment(self):
        return {
            self.variable: KEY,
            "VERTEXAI_PROJECT": "mill",
            "VERTEXAI_LOCATION": "europe-west4",
            "STORAGE_EMULATOR_HOST": f"127.0.0.1:{self.port}",
        }

    def key_of(self, request):
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def routes(self, router):
        jobs = f"/v1/{PARENT}/batchPredictionJobs"
        router.add_post(jobs, self.create)
        router.add_get(jobs, self.listing)
        router.add_get(f"{jobs}/{{id}}", self.retrieve)
        router.add_post(f"{jobs}/{{id}}", self.cancel)
        objects = f"/storage/v1/b/{BUCKET}/o"
        router.add_post(f"/upload{objects}", self.upload)
        router.add_get(objects, self.names)
        router.add_get(f"{objects}/{{name}}", self.content_of)

    async def upload(self, request):
        assert request.query["uploadType"] == "media"
        name = request.query["name"]
        self.objects[name] = await request.read()
        return web.json_response({"name": name, "bucket": BUCKET})

    async def names(self, request):
        prefix = request.query["prefix"]
        found = sorted(n for n in self.objects if n.startswith(prefix))
        begin = int(request.query.get("pageToken") or 0)
        end = begin + 1
        more = {"nextPageToken": str(end)} if end < len(found) else {}
        items = [{"name": name} for name in found[begin:end]]
        return web.json_response({"items": items, **more})

    async def content_of(self, request):
        assert request.query["alt"] == "media"
        return web.Response(body=self.objects[request.match_info["name"]])

    async def retrieve(self, request):
        if self.refused:
            error = {"code": 401, "message": "old", "status": "UNAUTHENTICATED"}
            return web.json_response({"error": error}, status=401)
        return await super().retrieve(request)

    async def create(self, request):
        body = await request.json()
        assert body["model"] == "publishers/google/models/gemini-2.5-flash"
        assert body["inputConfig"]["instancesFormat"] == "jsonl"
        (source,) = body["inputConfig"]["gcsSource"]["uris"]
        file = self.objects[source.removeprefix(f"gs://{BUCKET}/")]
        requests = [json.loads(line)["request"] for line in file.splitlines()]
        lines = [
            (request["labels"]["potstill"], self.question(request), request)
            for request in requests
        ]
        assert max(len(name) for name, _, _ in lines) <= 63
        goal = body["outputConfig"]["gcsDestination"]["outputUriPrefix"]
        made = self.started(lines, name=body["displayName"], goal=goal)
        return self.answer_to_create(self.shown(made))

    def shown(self, batch):
        words = {"in_progress": "RUNNING", "completed": "SUCCEEDED"}
        state = words.get(batch["status"], batch["status"].upper())
        shown = {
            "name": f"{PARENT}/batchPredictionJobs/{batch['id']}",
            "displayName": batch["name"],
            "state": f"JOB_STATE_{state}",
        }
        if batch.get("results"):
            directory = f"{batch['goal']}/prediction-model"
            shown["outputInfo"] = {"gcsOutputDirectory": directory}
        if batch["status"] == "failed":
            code = 8 if self.reason == "RESOURCE_EXHAUSTED" else 3
            shown["error"] = {"code": code, "message": "why"}
        return shown

    def finish(self, batch, status):
        super().finish(batch, status)
        # What the end came before stands in no file.
        batch["results"] = [line for line in batch["results"] if line]
        lines = [json.dumps(line) for line in reversed(batch["results"])]
        goal = batch["goal"].removeprefix(f"gs://{BUCKET}/")
        folder = f"{goal}/prediction-model"
        self.objects[f"{folder}/predictions.jsonl"] = "\n".join(lines).encode()
        # What was there before the end, once more.
        self.objects[f"{folder}/incremental.jsonl"] = "\n".join(lines[:3]).encode()  # fmt: skip
        self.objects[f"{folder}/log.txt"] = b"no lines"

    async def listing(self, request):
        name = request.query["filter"].removeprefix("displayName=").strip('"')
        found = [b for b in self.newest_first() if b["name"] == name]
        jobs = [self.shown(batch) for batch in found]
        return web.json_response({"batchPredictionJobs": jobs})

    def outcome(self, name, question, body, fate):
        if fate == "expired":
            return None
        told = super().outcome(name, question, body, fate)
        line = {"request": body, "processed_time": "2026-11-28T12:00:00Z"}
        if "response" in told:
            return {**line, "status": "", "response": told["response"]}
        error = {**told["error"]}
        if isinstance(fate, int):
            error["code"] = fate
        said = json.dumps({"error": error})
        return {**line, "status": f"Bad Request: {said}", "response": {}}
