"""A simulation of a teacher, for demos and tests: it answers sample problems and writes queries,
rightly or plausibly wrongly.

No model is involved. Each kind of fault comes at a stated rate; the same request with the same seed
brings the same reply, in process and over HTTP. As a critic it judges such chains with stated error
rates.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from synth.answers.equal import number
from synth.core import registry
from synth.core.errors import TeacherRefused, WrongUse, did_you_mean
from synth.core.records import Request, in_text
from synth.teachers.base import Reply, Settings, Teacher, chat_reply
from synth.teachers.simulation import harbours
from synth.teachers.simulation.word_problems import Problem, chain, read_problem
from synth.verifiers.arithmetic_steps import ArithmeticSteps


@dataclass(frozen=True)
class Rates:
    """Probabilities (0 to 1) of each fault of the simulated teacher.

    Args:
        systematic: forgets the carry or the borrow of a step that needs one (8 + 5 = 3, 12 - 7 =
            15).
        slip: any other step is off by one or two; a query is about another thing than its passage.
        lucky: a right answer with a wrong step: one step is wrong and the next makes up for it.
        no_marker: the answer is not announced.
        cut_off: the reply ends in the middle, with finish_reason length.
        off_format: the answer is announced in other words than asked for, without a number.
        miss: as a critic: accepts a wrong chain, or a passage that does not answer.
        false_alarm: as a critic: rejects a right one.
        seed: another seed, another teacher.
    """

    systematic: float = 0.0
    slip: float = 0.08
    lucky: float = 0.0
    no_marker: float = 0.04
    cut_off: float = 0.04
    off_format: float = 0.0
    miss: float = 0.05
    false_alarm: float = 0.05
    seed: int = field(default=0)


PRESETS = {
    "carry": Rates(systematic=0.6),
    "slips": Rates(slip=0.3),
    "mixed": Rates(systematic=0.1, slip=0.1, lucky=0.05, off_format=0.03),
    "critic": Rates(),
    "perfect": Rates(
        slip=0.0,
        no_marker=0.0,
        cut_off=0.0,
        miss=0.0,
        false_alarm=0.0,
    ),
}


class Simulated(Teacher):
    r"""The simulation under a preset's name: carry, slips, mixed, critic, perfect.

    Args:
        model: PRESET, or PRESET:rate=value,... to change rates, e.g.
            `carry:systematic=0.45,seed=7`.
        settings: its seed is added to the preset's.

    Example:
        >>> Simulated("perfect", Settings()).solve(Problem(8, (("+", 5),)), random.Random(0))
        ('first 8 + 5 = 13 .\n#### 13', 'stop')
    """

    family = "simulated"

    def __init__(self, model: str, settings: Settings) -> None:
        self.model = model
        spec = registry.parse_spec(model, "--teacher")
        name = spec.pop("name")
        if name not in PRESETS:
            raise WrongUse(
                "--teacher",
                f"simulated/{name}",
                "a preset of the simulation",
                did_you_mean(name, PRESETS),
            )
        names = [f.name for f in fields(Rates)]
        for key, value in spec.items():
            if (
                key not in names
                or isinstance(value, bool | str)
                or not (key == "seed" or 0 <= value <= 1)
            ):
                raise WrongUse(
                    "--teacher",
                    f"{key}={value!r}",
                    "a rate from 0 to 1",
                    did_you_mean(key, names),
                )
        self.rates = replace(PRESETS[name], **spec)
        self.seed = self.rates.seed + settings.seed

    async def ask(self, request: Request) -> Reply:
        """The reply; the draw index counts as part of the question."""
        return self.answer(
            [in_text(m["content"]) for m in request.messages], request.draw
        )

    def answer(self, messages: list[str], draw: int) -> Reply:
        """The reply to a prompt, as solver or, where an explanation is to be judged, as critic."""
        prompt = "\n".join(messages)
        rng = random.Random(
            hashlib.sha256(
                f"{self.seed} {draw} {prompt}".encode("utf-8", "replace")
            ).digest()
        )
        question = _question(messages)
        judged = _JUDGED.search(question)
        faults = {
            "slip": self.rates.slip,
            "miss": self.rates.miss,
            "false_alarm": self.rates.false_alarm,
        }
        if (
            text_of_library := harbours.reply(question, rng, **faults)
        ) is not None:
            text = text_of_library
            finish = "stop"
        else:
            text, finish = (
                self.judge(judged, rng)
                if judged
                else self._solve_prompt(question, rng)
            )
        return chat_reply(
            text,
            finish_reason=finish,
            model=f"simulated/{self.model}",
            prompt_tokens=len(prompt.split()),
            completion_tokens=len(text.split()),
        )

    def _solve_prompt(self, prompt: str, rng: random.Random) -> tuple[str, str]:
        problem = read_problem(prompt[max(0, prompt.rfind("Q: ")) :])
        if problem is None:
            raise TeacherRefused(
                "not_simulated",
                "the simulation only answers the demos' prompts",
            )
        return self.solve(problem, rng)

    def solve(self, problem: Problem, rng: random.Random) -> tuple[str, str]:
        """(text, finish_reason) of one attempt at a problem."""
        results = (
            self._lucky(problem, rng)
            if rng.random() < self.rates.lucky
            else self._results(problem, rng)
        )
        text = chain(problem, results)
        fate = rng.random()
        for rate, ending in (
            (self.rates.cut_off, "cut"),
            (self.rates.no_marker, "none"),
            (self.rates.off_format, "words"),
        ):
            if fate < rate:
                return _spoilt(text, ending, rng)
            fate -= rate
        return f"{text}\n#### {results[-1]}", "stop"

    def _results(self, problem: Problem, rng: random.Random) -> list[int]:
        """What the teacher computes at each step, from its own previous result."""
        out = []
        value = problem.start
        for sign, step in problem.steps:
            value = self._compute(value, sign, step, rng)
            out.append(value)
        return out

    def _compute(
        self, value: int, sign: str, step: int, rng: random.Random
    ) -> int:
        right = value + step if sign == "+" else value - step
        tens = value // 10 * 10
        forgets = (
            tens + (value % 10 + step) % 10
            if sign == "+"
            else tens + (value % 10 - step) % 10
        )
        if forgets != right and rng.random() < self.rates.systematic:
            return forgets
        if rng.random() < self.rates.slip:
            return max(0, right + rng.choice((-2, -1, 1, 2)))
        return right

    def _lucky(self, problem: Problem, rng: random.Random) -> list[int]:
        """A wrong step somewhere before the end, and the right result at the end."""
        results = problem.values()
        results[rng.randrange(len(results) - 1) if len(results) > 1 else 0] += (
            rng.choice((1, 2))
        )
        results[-1] = problem.values()[-1]
        return results

    def judge(
        self, judged: re.Match[str], rng: random.Random
    ) -> tuple[str, str]:
        """(text, finish_reason) of one verdict; the truth first, then the critic's errors."""
        rationale = judged.group("rationale")
        answer = judged.group("answer").strip()
        wrong = [
            e.text
            for e in ArithmeticSteps().equations(rationale)
            if not e.right
        ]
        ends = re.findall(r"=\s*(-?\d+)", rationale)
        right = not wrong and bool(ends)
        if right:
            right = number(ends[-1]) == number(answer)
        accepts = right ^ (
            rng.random()
            < (self.rates.false_alarm if right else self.rates.miss)
        )
        if rng.random() < self.rates.no_marker:
            return (
                "It seems fine to me." if accepts else "Something is off here.",
                "stop",
            )
        why = "Every step holds."
        if not accepts:
            step = wrong[0] if wrong else rationale[-40:].strip()
            why = f"The step {step} does not hold."
        return (
            f"<critique>{why}</critique>\n<verdict>{'yes' if accepts else 'no'}</verdict>",
            "stop",
        )


_JUDGED = re.compile(
    r"===== (?P<fence>\w+) EXPLANATION =====\n(?P<rationale>.*?)\n"
    r"===== (?P=fence) STATED ANSWER =====\n"
    r"(?P<answer>.*?)\n===== (?P=fence) END =====",
    re.DOTALL,
)


def _question(messages: Sequence[str]) -> str:
    """The message that puts the question: the last one, or the one before a reply that is asked for
    again.
    """
    *_, last = messages
    is_question = (
        _JUDGED.search(last) or harbours.is_about(last) or read_problem(last)
    )
    if is_question or len(messages) < 3:
        return last
    return messages[-3]


def _spoilt(text: str, ending: str, rng: random.Random) -> tuple[str, str]:
    if ending == "cut":
        words = text.split(" ")
        return " ".join(
            words[: rng.randint(2, max(2, len(words) - 2))]
        ), "length"
    if ending == "none":
        return (text, "stop")
    return (f"{text}\nSo the answer is what the last step says.", "stop")
