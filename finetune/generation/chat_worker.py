"""A local model that answers requests: the worker behind `--teacher local/PATH`.

`python -m finetune.generation.chat_worker PATH` reads one JSON object a line, `{"id": 1, "body":
{OpenAI chat body}}`, and writes one a line: `{"id": 1, "reply": {chat completion}}` or `{"id": 1,
"error": {"kind": ..., "message": ...}}`; the first line says `{"ready": true}`, and a line
`{"begun": [1, 2]}` says which requests are generated next. Requests that wait together are
generated together.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data import prompts
from finetune.data.prompts import Template
from finetune.generation import sampling
from finetune.generation.continuations import (
    continuations,
    end_tokens,
    prompt_length,
)
from finetune.students import load as student

if TYPE_CHECKING:
    from finetune.core.tensors import Logits, RowLabels, RowLogits

# Requests generated side by side at most.
BATCH = 32
# Seconds to wait for company before a batch starts.
GATHER = 0.02


class Answerer:
    """One model with its tokenizer, on the best device that is there; a student is asked as it was
    trained.
    """

    template: Template = "auto"

    def __init__(self, path: str) -> None:
        import torch  # noqa: PLC0415

        self.torch = torch
        model, self.tokenizer = student.load_student(path)
        self.model = model.to(
            "cuda" if torch.cuda.is_available() else "cpu"
        ).eval()
        self.template = prompts.of_student(path)

    def text(self, body: JsonObject) -> str:
        """The prompt: by the model's chat template, or the messages one after the other where it
        has none or was trained without.
        """
        return self._asked(body)[0]

    def _asked(self, body: JsonObject) -> tuple[str, bool]:
        return prompts.rendered(
            body["messages"], self.tokenizer, self.template, body.get("tools")
        )

    def answer(self, bodies: Sequence[JsonObject]) -> list[JsonObject]:
        """One chat completion per body; the bodies share their sampling. Half as many at once where
        memory runs out.
        """
        try:
            return self._generate(bodies)
        except self.torch.OutOfMemoryError:
            if len(bodies) == 1:
                raise
            half = len(bodies) // 2
            return [*self.answer(bodies[:half]), *self.answer(bodies[half:])]

    def _generate(self, bodies: Sequence[JsonObject]) -> list[JsonObject]:
        asked = [self._asked(body) for body in bodies]
        special = asked[0][1]
        encoded = self.tokenizer(
            [text for text, _ in asked], add_special_tokens=special
        )["input_ids"]
        # Something must stand before the first token that is said.
        prompts = [ids or [student.start_of(self.tokenizer)] for ids in encoded]
        if (seed := bodies[0].get("seed")) is not None:
            self.torch.manual_seed(seed)
        start = prompt_length(self.model, prompts)
        generated = continuations(
            self.model,
            prompts,
            pad=self.tokenizer.pad_token_id,
            **sampling.options(bodies[0], self.tokenizer, start),
        )
        return [
            self._completion(body, self.torch.tensor(prompt).to(ids), ids)
            for body, prompt, ids in zip(
                bodies, prompts, generated.ids, strict=True
            )
        ]

    def _completion(
        self, body: JsonObject, prompt: RowLabels, generated: RowLabels
    ) -> JsonObject:
        """A chat completion of one row of token ids; the padding behind its end is cut off."""
        length = self._length(generated.tolist())
        completion = generated[:length]
        text = self.tokenizer.decode(completion, skip_special_tokens=True)
        stops = [text.find(stop) for stop in body.get("stop") or []]
        cut = min((at for at in stops if at >= 0), default=None)
        finish = "stop" if length is not None or cut is not None else "length"
        choice: JsonObject = {
            "index": 0,
            "message": {"role": "assistant", "content": text[:cut]},
            "finish_reason": finish,
        }
        if body.get("logprobs"):
            choice["logprobs"] = {
                "content": self._logprobs(
                    prompt, completion, body.get("top_logprobs") or 0
                )
            }
        count = {
            "prompt_tokens": len(prompt),
            "completion_tokens": len(completion) + (length is not None),
        }
        return {
            "object": "chat.completion",
            "model": body["model"],
            "choices": [choice],
            "usage": count,
        }

    def _length(self, generated: list[int]) -> int | None:
        """Tokens before the first end token; None where there is none."""
        ends = self._ends()
        for count, token in enumerate(generated):
            if token in ends:
                return count
        return None

    def _ends(self) -> set[int]:
        """What ends a text, and what fills up behind it."""
        return {
            *end_tokens(self.model, self.tokenizer),
            self.tokenizer.pad_token_id,
        } - {None}

    def _logits(self, prompt: RowLabels, completion: RowLabels) -> RowLogits:
        """[tokens said, V], each row before its token."""
        logits: Logits
        with self.torch.no_grad():
            if self.model.config.is_encoder_decoder:
                logits = self.model(
                    input_ids=prompt[None], labels=completion[None]
                ).logits
                return logits[0]
            whole = self.torch.cat([prompt, completion])
            logits = self.model(input_ids=whole[None]).logits
            return logits[0, len(prompt) - 1 : -1]

    def _logprobs(
        self, prompt: RowLabels, completion: RowLabels, top: int
    ) -> list[JsonObject]:
        """Natural log-probabilities of the tokens as the model gives them (temperature 1), by one
        pass over the whole text.
        """
        if not len(completion):
            return []
        table = self._logits(prompt, completion).float().log_softmax(-1)
        chosen = table.gather(1, completion[:, None])[:, 0].tolist()
        best = table.topk(min(top, table.shape[1]), dim=-1) if top else None
        out = []
        for n, (token, logprob) in enumerate(
            zip(completion.tolist(), chosen, strict=True)
        ):
            pairs = (
                zip(
                    best.indices[n].tolist(),
                    best.values[n].tolist(),
                    strict=True,
                )
                if best
                else ()
            )
            out.append(
                {
                    **self._token(token, logprob),
                    "top_logprobs": [self._token(*pair) for pair in pairs],
                }
            )
        return out

    def _token(self, token: int, logprob: float) -> JsonObject:
        text = self.tokenizer.convert_ids_to_tokens(token)
        return {"token": text, "token_id": token, "logprob": round(logprob, 6)}


def _shared(request: JsonObject) -> str:
    """What requests of one batch must share."""
    return json.dumps([request["body"].get(name) for name in sampling.FIELDS])


def batches(
    waiting: queue.Queue[JsonObject | None],
) -> Iterator[list[JsonObject]]:
    """Requests that wait together and share their sampling, until the input ends."""
    held: list[JsonObject] = []
    ended = False
    while held or not ended:
        while not ended and len(held) < BATCH:
            try:
                request = waiting.get(timeout=GATHER) if held else waiting.get()
            except queue.Empty:
                break
            ended = request is None
            held += [request] if request else []
        if held:
            first = _shared(held[0])
            together = [r for r in held if _shared(r) == first][:BATCH]
            held = [r for r in held if r not in together]
            yield together


def _read(waiting: queue.Queue[JsonObject | None]) -> None:
    for line in sys.stdin:
        waiting.put(json.loads(line))
    waiting.put(None)


def _failed(kind: str, why: str) -> JsonObject:
    return {"error": {"kind": kind, "message": why}}


def main(path: str) -> None:
    """Answers until the input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not get between the replies

    def say(value: JsonObject) -> None:
        out.write(json.dumps(value) + "\n")
        out.flush()

    try:
        answerer = Answerer(path)
    except Exception as error:  # noqa: BLE001 - the parent says it to the user
        say(_failed("model", f"{type(error).__name__}: {error}"))
        return
    say({"ready": True})
    waiting: queue.Queue[JsonObject | None] = queue.Queue()
    threading.Thread(target=_read, args=(waiting,), daemon=True).start()
    for together in batches(waiting):
        say({"begun": [request["id"] for request in together]})
        try:
            bodies = [request["body"] for request in together]
            replies = [{"reply": reply} for reply in answerer.answer(bodies)]
        except Exception as error:  # noqa: BLE001 - one bad request must not end the others
            why = f"{type(error).__name__}: {error}"[:300]
            replies = [_failed("generation", why)] * len(together)
        for request, reply in zip(together, replies, strict=True):
            say({"id": request["id"], **reply})


if __name__ == "__main__":
    main(sys.argv[1])
