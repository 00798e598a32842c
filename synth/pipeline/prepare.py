"""Everything that can be known before the first call: the pack, the input, the teachers' names, the
budget's terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from synth.calls.borrower import Borrower
from synth.calls.call_options import CallOptions
from synth.calls.door import Stats
from synth.calls.price import Price, no_price, price_of, require_bound
from synth.calls.spans import check_tracing
from synth.core.errors import TeacherError, WrongUse
from synth.core.records import Exit, Fields, Request, Row
from synth.inputs.images import Gallery
from synth.inputs.made.sampling import made_rows
from synth.inputs.seeds import Scan, Seeds
from synth.packs.files import BESIDE, regular_files
from synth.packs.library import Library
from synth.packs.overrides import drawn_step, set_draws
from synth.packs.pack import RENDERED, Pack, built_in, pack_names
from synth.parsers.json_object import JsonObject
from synth.pipeline.finished import fingerprint, is_unchanged
from synth.pipeline.gold_check import GoldCheck
from synth.pipeline.walker import Tally
from synth.runs.ownership import (
    check_output,
    copied_pack,
    digest,
)
from synth.runs.shard_plan import is_planned
from synth.runs.trackers import check_trackers
from synth.teachers.base import BATCHED, takes_batches
from synth.teachers.wire.bucket import check_bucket
from synth.teachers.wire.terms import (
    Terms,
    asked_at,
    doubtful,
    refusal,
    terms_of,
)


@dataclass(frozen=True, kw_only=True)
class RunConfig(CallOptions):
    """Everything that a run is told; the fields are `synth run`'s options. Those of its calls stand
    in `CallOptions`.

    Attributes:
        teachers: role -> PROVIDER/MODEL; the role of the pack's own steps is `teacher`.
        draws: completions per sample, at the step that draws several (else the last), or step ->
            completions; None leaves the pack's.
        target: exactly so many kept rows: seeds are walked until they are there, then drawn from
            again.
        max_draws: completions per sample at most, where a target asks for more.
        taint: what the teachers are known or feared to have been trained on, such as the names of
            evaluation files; it stands in every row and in the card, and comes along when the rows
            are seeds of another run.
        batch: ask the providers' batch APIs: about half the price, up to a day of waiting.
        batch_bucket: of batches of Vertex AI, `gs://BUCKET/FOLDER` of the user's.
        replace: a run of another pack or of other inputs may stand in the folder: its rows are
            replaced, its replies stay.
        same_teacher: replies of one model's name from another endpoint may serve: both endpoints
            are one teacher.
        keep_going: the run goes on where not one of the first 20 seeds brings a row, and where a
            call failed whose row later questions should see in a pool.
        upgrade_pack: a run of a built-in pack that has changed since takes the new one; else it
            goes on with the copy in its folder.
        strict_terms: the run does not begin where the terms of a teacher restrict training on its
            replies, or where a provider's are not known.
        trace: OpenTelemetry is told of the run and of each call.
        report_to: trackers that are told how the run goes: `mlflow`, `trackio`.
        schemas: steps that read JSON objects ask for the JSON Schema of their keys; an endpoint
            that refuses it is told in words.
        columns: new name -> name of a column in the input.
        reuse: folders of other runs, whose replies serve this one too.
        overrides: `step.key` -> value, written into the pack before it is checked.
        plugins: modules of the user's whose parts the pack may name as `module:Class`.
        tools: tool of the pack -> `module:function` of a module among the plugins, or the role of
            a teacher that plays it.
        mcp: commands of MCP servers, which answer tools of the pack that nothing else answers.
        image_root: the folder below which rows may name images.
        image_urls: rows may name images by URL, which the provider fetches.
        shards: the run is planned in so many parts, each of which is a run folder of its own.
        shard: the part that is run, counted from 0.
    """

    teachers: Mapping[str, str]
    limit: int | None = None
    draws: int | Mapping[str, int] | None = None
    target: int | None = None
    max_draws: int = 64
    batch: bool = False
    batch_bucket: str | None = None
    taint: tuple[str, ...] = ()
    id_column: str = "id"
    columns: Mapping[str, str] = field(default_factory=dict)
    replace: bool = False
    same_teacher: bool = False
    keep_going: bool = False
    upgrade_pack: bool = False
    strict_terms: bool = False
    trace: bool = False
    report_to: Sequence[str] = ()
    schemas: bool = False
    reuse: Sequence[str] = ()
    overrides: Row = field(default_factory=dict)
    plugins: Sequence[str] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    mcp: Sequence[str] = ()
    image_root: str | None = None
    image_urls: bool = False
    shards: int | None = None
    shard: int | None = None

    @property
    def values(self) -> Fields:
        """The fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass
class Prepared:
    """A run of which everything is checked and nothing is asked yet.

    Attributes:
        library: the rows that the pack chooses from; None where nothing is asked.
        changed_pack: whether the built-in pack is another one than when the run's folder was begun.
        critic_rows: rows for which critics are tried beforehand; those of the whole input, in the
            first shard, and none in the others.
        mark: a hash of all that decides the rows; None where some of it cannot be hashed.
        part: of a shard, a hash of what the plan says of it.
        unchanged: whether the run is finished, and nothing has changed since.
        borrower: of a shard that shares dollars, permits and a target with others, its side of
            the bank.
    """

    pack: Pack
    seeds: Seeds
    scan: Scan
    output: Path
    config: RunConfig
    library: Library | None = None
    changed_pack: bool = False
    on_row: Callable[[Tally, Stats], None] | None = None
    on_exit: Callable[[Exit], None] | None = None
    on_fault: Callable[[Request, TeacherError], None] | None = None
    critic_rows: int = 0
    mark: str | None = None
    part: str | None = None
    unchanged: bool = False
    borrower: Borrower | None = None

    def with_draws(self, draws: int) -> Prepared:
        """The same run with more completions per sample, at the step that draws them."""
        before = self.config.draws
        named = (
            {**before, drawn_step(self.pack.steps): draws}
            if isinstance(before, Mapping)
            else draws
        )
        config = replace(self.config, draws=named)
        pack = load_pack(self.pack.folder, config)
        return replace(self, pack=pack, config=config, library=Library(pack))

    def teachers(self) -> dict[str, str]:
        """Role -> teacher, for every role that the pack needs; a filter may name its teacher
        outright.
        """
        needed = self.pack.roles
        direct = {role: role for role in needed if "/" in role}
        missing = sorted(needed - self.config.teachers.keys() - direct.keys())
        if missing:
            todo = f"Add --teacher {missing[0]}=PROVIDER/MODEL."
            raise WrongUse(
                "--teacher",
                f"none for the role {missing[0]!r}",
                "one teacher per role of the pack",
                todo,
            )
        return {**direct, **self.config.teachers}

    def terms(self) -> dict[str, list[Terms]]:
        """Teacher -> the terms that apply to its replies, the strictest first."""
        found = {}
        for role, name in sorted(self.teachers().items()):
            reached = self.config.access.reach(role, name)
            # Many endpoints of one model are servers of the user's own.
            where = asked_at(name, reached["api_base"])
            if reached["endpoints"]:
                where = "http://localhost"
            found[name] = terms_of(name, where)
        return found

    def price(self, role: str, *, batch: bool | None = None) -> Price | None:
        """Dollars of a role's tokens; None where unknown and no budget needs them.

        Raises:
            WrongUse: a budget, and nobody says what the teacher costs. A pack's own figures are a
                stranger's: they set no price.
        """
        name = self.teachers()[role]
        # A role whose provider has no batches is asked online, at the full price.
        by_batch = self.config.batch if batch is None else batch
        by_batch = by_batch and takes_batches(name)
        price = price_of(
            name,
            self.config.said_price(role),
            batch=by_batch,
        )
        if price is None and self.config.budget is not None:
            said = self.pack.spec.prices.get(name)
            hint = f" The pack says {said}: check it." if said else ""
            raise no_price(name, role, hint)
        return price

    def check_bounds(self) -> None:
        """Every question of the pack and of its filters' packs has a bound, where a budget must
        hold.

        Raises:
            WrongUse: the first question of which nobody can say what it costs at most.
        """
        if self.config.budget is None:
            return
        for step in self.pack.steps:
            todo = f"Add --set {step.name}.sampling.max_tokens=N."
            require_bound(step.sampling.body, f"step {step.name}", todo)
            if step.talk:
                todo = f"Add --set {step.name}.talk.sampling.max_tokens=N."
                second = step.talk.second
                require_bound(second.sampling.body, f"step {second.name}", todo)
            for part in step.filters:
                for question, pack, _ in part.questions(1):
                    where = (
                        f"filter {part.name} of step {step.name}, pack {pack.name}, step "
                        f"{question.name}"
                    )
                    todo = (
                        "Copy the pack, add max_tokens to its sampling, and name it: --set "
                        f"{step.name}.filters=..."
                    )
                    require_bound(question.sampling.body, where, todo)


def has_changed(pack: str, copy: Path) -> bool:
    """Whether a built-in pack asks other things than the copy of it in a run's folder."""
    if pack not in pack_names():
        return False
    return asking_files(copy) != asking_files(built_in() / pack)


def asking_files(folder: Path) -> dict[str, str]:
    """Path -> sha256 of a pack's files but for its recorded cases and what is said of it, which ask
    nothing.
    """
    names = map(Path.as_posix, regular_files(folder))
    files = {name: digest(folder / name) for name in names}
    for name in ("cases.yaml", *BESIDE):
        files.pop(name, None)
    return files


def prepare(
    pack: str | Path,
    seeds: str | Path | Iterable[Row],
    output: Path,
    config: RunConfig,
    *,
    may_stand: bool = False,
) -> Prepared:
    """Checks pack, input and teachers' names; makes no call.

    Args:
        pack: a built-in name or a folder.
        seeds: as `run` takes them.
        output: the run's folder.
        config: its settings.
        may_stand: whether no row is read where the run is finished and nothing has changed; a plan
            counts rows all the same.

    Raises:
        WrongUse: the first thing that is wrong.
    """
    _check_not_planned(output)
    pack, changed = pack_of_run(pack, output, config)
    loaded = load_pack(pack, config)
    mark = None
    if may_stand:
        mark = fingerprint(loaded, seeds, config.values)
        if is_unchanged(output, mark):
            return _unchanged(loaded, seeds, output, config)
    stream, scan = check_rows(loaded, seeds, config)
    prepared = checked(loaded, stream, scan, output, config)
    return replace(prepared, changed_pack=changed, mark=mark)


def pack_of_run(
    pack: str | Path, output: Path, config: RunConfig
) -> tuple[str | Path, bool]:
    """(pack, whether a built-in pack has changed since the folder's run was begun): the copy in the
    folder of a run that goes on with it.
    """
    copy = None if config.replace else copied_pack(output, str(pack))
    changed = copy is not None and has_changed(str(pack), copy)
    if copy is not None and changed and not config.upgrade_pack:
        return copy, changed
    return pack, changed


def _unchanged(
    pack: Pack,
    seeds: str | Path | Iterable[Row],
    output: Path,
    config: RunConfig,
) -> Prepared:
    """A run that is finished and of which nothing has changed: no row is read."""
    scan = Scan(0, {})
    return Prepared(pack, Seeds(seeds), scan, output, config, unchanged=True)


def _check_not_planned(output: Path) -> None:
    """Raises WrongUse where a folder is planned in shards: as one run it would be paid twice."""
    if is_planned(output):
        raise WrongUse(
            str(output),
            "a run that is planned in shards",
            "the number of a shard",
            f"Add --shard K, or give another --output; `synth merge {output}` joins them.",
        )


def checked(
    pack: Pack, seeds: Seeds, scan: Scan, output: Path, config: RunConfig
) -> Prepared:
    """A run of a pack and an input that are checked: now its folder, its roles and its prices are.

    Raises:
        WrongUse: the first thing that is wrong.
    """
    check_output(
        output,
        pack.spec.name,
        pack.folder,
        seeds.where,
        seeds,
        replace=config.replace,
    )
    for role in config.teachers.keys() - pack.roles:
        raise WrongUse(
            "--teacher",
            f"role {role!r}",
            f"a role of pack {pack.name}",
            f"It has: {', '.join(sorted(pack.roles))}.",
        )
    if config.batch and not any(map(takes_batches, config.teachers.values())):
        got = ", ".join(config.teachers.values())
        raise WrongUse(
            "--batch",
            f"teachers {got}",
            f"a teacher of {', '.join(sorted(BATCHED))}",
            "A server with OpenAI's /files and /batches is openai/MODEL with --api-base.",
        )
    asked = [*config.teachers.values()]
    check_bucket(config.batch_bucket, asked, batch=config.batch)
    _check_corpus(pack, config)
    pack.check_bound()
    prepared = Prepared(
        pack,
        seeds,
        scan,
        output,
        config,
        Library(pack),
        critic_rows=scan.rows,
    )
    teachers = prepared.teachers()
    config.check_calls(teachers, "--")
    for role in teachers:
        prepared.price(role)
    prepared.check_bounds()
    _check_terms(prepared)
    if config.trace:
        check_tracing()
    check_trackers(config.report_to)
    return prepared


def _check_terms(prepared: Prepared) -> None:
    """Raises WrongUse where terms are in doubt that the user wants to be sure of."""
    if not prepared.config.strict_terms:
        return
    for name, terms in prepared.terms().items():
        if one := doubtful(terms):
            raise refusal(name, one)


def _check_fields(pack: Pack, scan: Scan) -> None:
    """A filter over a field that no row can have would judge something else, or nothing, after the
    calls are paid.
    """
    columns = {name: 1 for name in scan.kinds if not name.endswith("[]")}
    renamed = pack.rename(columns)
    names = {
        *pack.spec.inputs,
        *(renamed.get(name, name) for name in columns),
        *RENDERED,
    } - {"reason", "detail"}
    names.update(block.into for block in pack.spec.retrieves.values())
    for step in pack.steps:
        names.update(step.produces())
        for part in step.filters:
            unknown = part.unknown_field(names)
            if unknown:
                name, hint = unknown
                raise WrongUse(
                    f"pack {pack.name}, step {step.name}, filter {part.name}",
                    f"field {name!r}",
                    "a field that the rows have by then",
                    hint,
                )


def _check_corpus(pack: Pack, config: RunConfig) -> None:
    """Filters that see all rows run once, at the end: behind the last step, and without a target
    that they would undo.
    """
    for step in pack.steps[:-1]:
        if any(part.group == "corpus" for part in step.filters):
            todo = f"Move it to {pack.steps[-1].name}."
            raise WrongUse(
                f"pack {pack.name}, step {step.name}",
                "a filter that sees all rows",
                "such filters behind the last step",
                todo,
            )
    if config.target is not None and any(
        part.group == "corpus" for part in pack.steps[-1].filters
    ):
        todo = "Take one of the two out, or run the filter afterwards with `synth filter`."
        raise WrongUse(
            "--target",
            "a pack with a filter that sees all rows",
            "filters that judge as rows arrive",
            todo,
        )


def load_pack(pack: str | Path, config: RunConfig) -> Pack:
    """The pack with everything that the configuration changes in it."""
    loaded = Pack.load(pack, config.overrides, config.plugins)
    more: Fields = (
        set_draws(list(loaded.spec.steps), config.draws)
        if config.draws is not None
        else {}
    )
    if config.seed is not None:
        for step in loaded.spec.steps:
            more[f"{step.name}.sampling.seed"] = config.seed
            if step.talk:
                more[f"{step.name}.talk.sampling.seed"] = config.seed
    if config.schemas:
        more.update(_schemas(loaded))
    if more:
        changed = {**config.overrides, **more}
        loaded = Pack.load(pack, changed, config.plugins)
    root = Path(config.image_root) if config.image_root else None
    gallery = Gallery(root, config.image_urls)
    with_images = loaded.with_gallery(gallery)
    return with_images.with_tools(config.tools, config.plugins, config.mcp)


def _schemas(pack: Pack) -> Fields:
    """A response format for every step whose replies are JSON objects; a pack's own one stays."""
    formats: Fields = {}
    for step in pack.steps:
        (_, parser), *others = step.parsers
        if step.response_format or others or not isinstance(parser, JsonObject):
            continue
        asked = parser.response_format(step.name)
        formats[f"{step.name}.response_format"] = asked
    return formats


def check(
    pack: str | Path, seeds: str | Path | Iterable[Row], config: RunConfig
) -> tuple[Pack, Seeds, Scan]:
    """The pack and the input, both read whole."""
    loaded = load_pack(pack, config)
    return loaded, *check_rows(loaded, seeds, config)


def given_or_made(
    seeds: str | Path | Iterable[Row] | None,
    pack: str | Path,
    config: RunConfig,
) -> str | Path | Iterable[Row]:
    """The input of a run: what was given, or the rows that the pack's `seeds` make.

    Raises:
        WrongUse: neither is there.
    """
    if seeds is not None:
        return seeds
    spec = Pack.load(pack, config.overrides, config.plugins).spec.seeds
    if spec is None:
        raise WrongUse(
            "--input",
            f"none, and pack {pack} makes no rows",
            "an input, or a pack with `seeds`",
            "Give --input FILE; `synth seeds` makes one from a recipe, documents or logs.",
        )
    return list(made_rows(spec))


def check_rows(
    loaded: Pack, seeds: str | Path | Iterable[Row], config: RunConfig
) -> tuple[Seeds, Scan]:
    """An input, read whole.

    Raises:
        WrongUse: the first row that the pack cannot use.
    """
    stream = Seeds(
        seeds,
        limit=config.limit,
        id_column=config.id_column,
        columns=config.columns,
    )
    golds = GoldCheck(loaded)

    def check_row(row: Row, location: str) -> None:
        loaded.check_row(row, location)
        golds.see(row, location)

    scan = replace(stream.scan(check_row), golds=golds.summary())
    _check_fields(loaded, scan)
    golds.ended()
    stream.rename = loaded.rename(
        {name: 1 for name in scan.kinds if not name.endswith("[]")}
    )
    return stream, scan
