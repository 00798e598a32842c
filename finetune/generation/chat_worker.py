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
from copy import copy
from typing import TYPE_CHECKING

from transformers import StoppingCriteriaList

from finetune.core.rows import JsonObject
from finetune.data import prompts
from finetune.data.prompts import Template
from finetune.generation import sampling
from finetune.generation.confidence import said_logits, sure_of
from finetune.generation.continuations import end_tokens, prompt_length
from finetune.generation.listening import Heard, Listener
from finetune.generation.ways import PLAIN, Ways, behind, written
from finetune.students import load as student

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.core.tensors import RowLabels, TokenIds

# Requests generated side by side at most.
BATCH = 32
# Seconds to wait for company before a batch starts.
GATHER = 0.02


class Answerer:
    """One model with its tokenizer, on the best device that is there; a student is asked as it was
    trained.

    Args:
        path: the model.
        ways: how it decodes beside what a body says.
        sure: whether each choice says how sure the student is of it, as `confidence`.
    """

    template: Template = "auto"
    ways: Ways = PLAIN
    sure: bool = False

    def __init__(
        self, path: str, *, ways: Ways = PLAIN, sure: bool = False
    ) -> None:
        import torch  # noqa: PLC0415

        self.torch = torch
        model, self.tokenizer = student.load_student(path)
        self.model = model.to(
            "cuda" if torch.cuda.is_available() else "cpu"
        ).eval()
        self.template = prompts.of_student(path)
        self.ways = ways
        self.sure = sure
        ways.check(self.model)

    def beside(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
    ) -> Answerer:
        """One of another model that is open already, which decodes as usual."""
        other = copy(self)
        other.model = model
        other.tokenizer = tokenizer
        other.template = prompts.of_student(name)
        other.ways = PLAIN
        other.sure = False
        return other

    def text(self, body: JsonObject) -> str:
        """The prompt: by the model's chat template, or the messages one after the other where it
        has none or was trained without.
        """
        return self._asked(body)[0]

    def _asked(self, body: JsonObject) -> tuple[str, bool]:
        return prompts.rendered(
            body["messages"], self.tokenizer, self.template, body.get("tools")
        )

    def ids(self, body: JsonObject) -> list[int]:
        """Token ids of the prompt, one or more: of its messages, of its text (`prompt`), or as the
        body gives them (`ids`).
        """
        ids: list[int] = body.get("ids") or []
        if "messages" in body and not ids:
            text, special = self._asked(body)
            ids = self._spelt(text, special=special)
        elif "prompt" in body and not ids:
            ids = self._spelt(str(body["prompt"]), special=True)
        # Something must stand before the first token that is said.
        return ids or [student.start_of(self.tokenizer)]

    def _spelt(self, text: str, *, special: bool) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=special)[
            "input_ids"
        ]
        return ids

    def answer(
        self,
        bodies: Sequence[JsonObject],
        listeners: Sequence[Listener] = (),
    ) -> list[JsonObject]:
        """One chat completion per body; the bodies share their sampling. Half as many at once where
        memory runs out.

        Args:
            bodies: OpenAI chat bodies.
            listeners: one a body, who hear its text while it is written; () for none.
        """
        try:
            return self._generate(bodies, listeners)
        except self.torch.OutOfMemoryError:
            if len(bodies) == 1:
                raise
            half = len(bodies) // 2
            return [
                *self.answer(bodies[:half], listeners[:half]),
                *self.answer(bodies[half:], listeners[half:]),
            ]

    def _generate(
        self, bodies: Sequence[JsonObject], listeners: Sequence[Listener]
    ) -> list[JsonObject]:
        prompts = [self.ids(body) for body in bodies]
        if (seed := bodies[0].get("seed")) is not None:
            self.torch.manual_seed(seed)
        start = prompt_length(self.model, prompts)
        options = sampling.options(bodies[0], self.tokenizer, start)
        if listeners:
            heard = Heard(listeners)
            options["stopping_criteria"] = StoppingCriteriaList([heard])
        generated = self._written(bodies, prompts, options)
        return [
            self._completion(body, self.torch.tensor(prompt).to(ids), ids)
            for body, prompt, ids in zip(
                bodies, prompts, generated, strict=True
            )
        ]

    def _written(
        self,
        bodies: Sequence[JsonObject],
        prompts: Sequence[list[int]],
        options: JsonObject,
    ) -> TokenIds:
        """What stands behind the prompts: nothing where a body wants no token."""
        if bodies[0].get("max_tokens") == 0:
            nothing: TokenIds = self.torch.zeros(
                (len(bodies), 0),
                dtype=self.torch.long,
                device=self.model.device,
            )
            return nothing
        amateurs = [self.ids(self._misled(body)) for body in bodies]
        return written(
            self.model,
            self.tokenizer,
            prompts,
            ways=self.ways,
            amateurs=amateurs,
            **options,
        )

    def _misled(self, body: JsonObject) -> JsonObject:
        """The body behind wrong examples; itself where there is no contrast, or no text."""
        field = "messages" if "messages" in body else "prompt"
        if not self.ways.contrast or field not in body:
            return body
        rest = {name: value for name, value in body.items() if name != "ids"}
        return {**rest, field: behind(self.ways.contrast, body[field])}

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
        if body.get("echo"):
            choice["echo"] = self._echo(body, prompt)
        if self.sure:
            choice["confidence"] = sure_of(self.model, prompt, completion)
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

    def _echo(self, body: JsonObject, prompt: RowLabels) -> JsonObject:
        """The prompt again: its text, its first token, and log-probabilities of those behind."""
        top = body.get("top_logprobs") or 0
        wanted = bool(body.get("logprobs"))
        return {
            "text": self.tokenizer.decode(prompt, skip_special_tokens=True),
            "first": self.tokenizer.convert_ids_to_tokens(int(prompt[0])),
            "logprobs": self._logprobs(prompt[:1], prompt[1:], top)
            if wanted
            else [],
        }

    def _length(self, generated: list[int]) -> int | None:
        """Tokens before the first end token; None where there is none."""
        ends = self.ends
        for count, token in enumerate(generated):
            if token in ends:
                return count
        return None

    @property
    def ends(self) -> set[int]:
        """What ends a text, and what fills up behind it."""
        return {
            *end_tokens(self.model, self.tokenizer),
            self.tokenizer.pad_token_id,
        } - {None}

    def _logprobs(
        self, prompt: RowLabels, completion: RowLabels, top: int
    ) -> list[JsonObject]:
        """Natural log-probabilities of the tokens as the model gives them (temperature 1), by one
        pass over the whole text.
        """
        if not len(completion):
            return []
        table = (
            said_logits(self.model, prompt, completion).float().log_softmax(-1)
        )
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
