"""What a pack may say: every field and parameter is data, or the user's alone."""

from __future__ import annotations

from dataclasses import fields

import pytest
import yaml

import synth
from synth.core import registry
from synth.core.errors import WrongUse
from synth.packs import rights
from synth.packs.pack import Pack
from synth.packs.schema import PackSpec, StepSpec
from tests.conftest import chat, of_part, serving
from tests.pipeline.test_run import make_pack


class _Plain(yaml.SafeDumper):
    """Writes what stands in two places twice: packs have no aliases."""

    def ignore_aliases(self, data):
        return True


STEP = {"name": "go", "sampling": {"max_tokens": 50}, "parser": "whole"}
PACK = {
    "name": "p",
    "version": 1,
    "about": "x",
    "inputs": {"question": "text"},
    "steps": [STEP],
}


def pack_with(folder, **step):
    text = yaml.dump(
        {**PACK, "steps": [{**STEP, **step}]}, Dumper=_Plain, sort_keys=False
    )
    return make_pack(
        folder, {"pack.yaml": text, "go.user.j2": "{{ question }}"}
    )


def extra(**more):
    return {"sampling": {"max_tokens": 50, "extra": more}}


SCHEMA = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "user": {"$ref": "#/$defs/user"},
    },
    "$defs": {"user": {}},
}
REFUSED = [
    "base_url", "api_base", "api_key", "headers", "extra_headers", "extra_body", "extra_query", "default_headers", "model", "models", "n",
    "best_of", "stream", "stream_options", "timeout", "request_timeout", "custom_llm_provider", "fallbacks", "context_window_fallback_dict",
    "callbacks", "success_callback", "mock_response", "mock_tool_calls", "user", "metadata", "store", "service_tier", "organization",
    "api_version", "deployment_id", "azure_ad_token_provider", "aws_access_key_id", "vertex_credentials", "proxies", "client", "ssl_verify",
    "max_retries", "num_retries", "provider", "route", "transforms", "plugins", "functions", "web_search_options", "prediction", "audio",
    "modalities", "messages", "prompt", "chat_template", "documents", "add_generation_prompt", "logits_processors", "custom_logit_processor",
    "lora_path", "lora", "session_params", "input_embeds", "image_data", "n_predict", "max_new_tokens", "prompt_cache_key", "safety_identifier",
    "allowed_openai_params", "drop_params", "hooks", "caching", "cache", "no-log", "litellm_params", "guided_decoding_backend",
    # spellings
    "Base_URL", "BASE_URL", "base-url", "baseUrl", " base_url", "base_url ", "ｂase_url", "bаse_url", "api\u200b_base", "extra.body", "", "Top_k",
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_pack_names_no_host_key_header_or_model(tmp_path, name):
    folder = pack_with(tmp_path, **extra(**{name: "http://127.0.0.1:9/v1"}))
    with pytest.raises(
        WrongUse, match=r"pack\.yaml:\d+: found sampling.extra field"
    ):
        Pack.load(folder)


NESTED = [
    {"chat_template_kwargs": {"chat_template": "{{ x }}"}}, {"chat_template_kwargs": {"tools": []}}, {"chat_template_kwargs": "text"},
    {"thinking": {"type": "enabled", "base_url": "x"}}, {"reasoning": {"effort": "high", "provider": {}}}, {"top_k": {"base_url": "x"}},
    {"top_k": [{"base_url": "x"}]}, {"logit_bias": {"5": "x"}}, {"logit_bias": {"5": {"a": 1}}}, {"guided_json": {"$ref": "http://127.0.0.1:9/s"}},
    {"json_schema": {"allOf": [{"$ref": "file:///etc/passwd"}]}}, {"structured_outputs": {"json": {"$dynamicRef": "other.json"}}},
    {"structured_outputs": {"backend": "x"}}, {"tools": [{"type": "mcp", "server_url": "http://127.0.0.1:9"}]}, {"tools": [{"type": "web_search"}]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"$ref": "http://127.0.0.1:9"}}}]}, {"tools": {"type": "function"}},
    {"tools": [{"type": "function", "function": {"name": "f"}, "server_url": "x"}]}, {"tool_choice": {"type": "mcp", "server_label": "x"}},
    {"response_format": {"type": "json_schema", "url": "x"}}, {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "headers": {}}}},
    {"min_p": float("nan")}, {"guided_json": {1: 2}}, {"max_tokens": 10**9}, {"temperature": 9}, {"logprobs": True}, {"stop": ["x"]},
]  # fmt: skip


@pytest.mark.parametrize("field", NESTED, ids=range(len(NESTED)))
def test_nothing_hides_inside_a_sampling_field(tmp_path, field):
    with pytest.raises(WrongUse, match=r"pack\.yaml:\d+"):
        Pack.load(pack_with(tmp_path, **extra(**field)))


@pytest.mark.parametrize(
    "form",
    [
        {"type": "file", "path": "x"},
        {
            "type": "json_schema",
            "json_schema": {"schema": {"$ref": "http://x"}},
        },
        {"url": "x"},
    ],
)
def test_a_response_format_is_a_schema_and_no_more(tmp_path, form):
    with pytest.raises(WrongUse, match=r"pack\.yaml:\d+"):
        Pack.load(pack_with(tmp_path, response_format=form))


def test_documented_sampling_goes_through(tmp_path):
    said = {
        "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "guided_json": SCHEMA, "logit_bias": {"50256": -100},
        "chat_template_kwargs": {"enable_thinking": False}, "thinking": {"type": "enabled", "budget_tokens": 1024}, "stop_token_ids": [1, 2],
        "structured_outputs": {"json": SCHEMA}, "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "dry_multiplier": 0.8, "samplers": ["top_k", "min_p"],
    }  # fmt: skip
    form = {
        "type": "json_schema",
        "json_schema": {"name": "row", "schema": SCHEMA, "strict": True},
    }
    folder = pack_with(tmp_path / "pack", response_format=form, **extra(**said))
    with serving(lambda body, count: chat("so")) as server:
        done = synth.run(
            folder,
            [{"question": "q"}],
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
        )
        assert done.counts["kept"] == 1
        assert {name: server.bodies[0][name] for name in said} == said
        assert server.bodies[0]["response_format"] == form


def test_the_user_says_what_he_wants(tmp_path):
    changes = {
        "go.sampling.extra.best_of": 3, "go.sampling.extra.user": "me", "go.filters.run_python.seconds": 60, "go.filters.length.field": "text",
    }  # fmt: skip
    folder = pack_with(
        tmp_path, filters=["run_python", {"name": "length", "field": "reply"}]
    )
    step = Pack.load(folder, changes).steps[0]
    assert step.sampling.extra == {"best_of": 3, "user": "me"}
    assert step.filters[0].seconds == 60
    assert step.filters[1].field == "text"


@pytest.mark.parametrize(
    "path",
    [
        "go.filters.lenth.field",
        "go.filters.7.field",
        "go.draws.x",
        "go.name.x.y",
        "nowhere.x",
        "constants",
        "exports.sft",
    ],
)
def test_a_change_that_reaches_nothing_is_refused(tmp_path, path):
    with pytest.raises(WrongUse):
        Pack.load(pack_with(tmp_path, filters=["length"]), {path: 1})


LOOSENED = [
    {"name": "run_python", "unsafe_exec": True}, {"name": "run_python", "unsafe_exec": 1}, {"name": "run_python", "seconds": 1_000_000},
    {"name": "run_python", "seconds": -1}, {"name": "run_python", "seconds": 0}, {"name": "run_python", "seconds": float("inf")},
    {"name": "run_python", "megabytes": 100_000_000}, {"name": "run_python", "megabytes": -1}, {"name": "run_python", "workers": 10_000},
    {"name": "program_answer", "unsafe_exec": True}, {"name": "program_answer", "seconds": 6}, {"name": "program_answer", "workers": 3},
    {"name": "run_sql", "unsafe_exec": True}, {"name": "run_sql", "seconds": 2.1}, {"name": "run_sql", "seconds": float("nan")},
    {"name": "critic", "teacher": "openai/o1-pro"}, {"name": "critic", "panel": ["critic", "openai/o1-pro"]}, {"name": "critic", "votes": 10**9},
    {"name": "critic", "api_base": "http://127.0.0.1:9"}, {"name": "critic", "journal": "x"}, {"name": "critic", "pack": "./judge"},
    {"name": "critic", "pack": "/judge"}, {"name": "critic", "pack": "../judge"}, {"name": "critic", "pack": "judge"}, {"name": "critic", "fooled": 1},
    {"name": "critic", "promise": {"least": 0.1}}, {"name": "critic", "concurrency": 100_000}, {"name": "critic", "budget": 1e9},
    {"name": "pairwise", "teacher": "anthropic/x"}, {"name": "process_critic", "api_base": "x"}, {"name": "universal_self_consistency", "orders": 10**6},
    {"name": "semantic_entropy", "model": "evil/model"}, {"name": "trained", "model": "/etc/passwd"}, {"name": "ifd", "model": "evil/model"},
    {"name": "cross_encoder", "model": "./m"}, {"name": "entailment", "model": "m"}, {"name": "learnability", "student": "a", "reference": "b", "most": 1},
    {"name": "semantic_duplicate", "embedding": "evil/model"}, {"name": "semantic_duplicate", "nli": "evil/model"}, {"name": "diversity", "most": 1, "embedding": "m"},
    {"name": "leak_probe", "embedding": "m"}, {"name": "contamination", "against": "/etc/passwd"}, {"name": "contamination", "against": "eval.jsonl"},
    {"name": "json_schema", "schema": "/etc/hostname"}, {"name": "json_schema", "schema": "schema.json"}, {"name": "json_schema", "schema": "../x"},
    {"name": "json_schema", "schema": {"$ref": "http://127.0.0.1:9/"}}, {"name": "json_schema", "schema": {"items": {"$ref": "file:///etc/passwd"}}},
]  # fmt: skip


@pytest.mark.parametrize(
    "part",
    LOOSENED,
    ids=[f"{part['name']}-{n}" for n, part in enumerate(LOOSENED)],
)
def test_a_pack_loosens_no_guard(tmp_path, part):
    with pytest.raises(
        WrongUse,
        match=rf"pack\.yaml:\d+: found {part['name']}|pack\.yaml:\d+: found (pack|filters)",
    ):
        Pack.load(pack_with(tmp_path, filters=["finish_reason", part]))


def test_a_pack_may_tighten(tmp_path):
    filters = [
        {"name": "run_python", "seconds": 1, "megabytes": 64, "unsafe_exec": False}, {"name": "critic", "teacher": "judge", "votes": 3, "fooled": 0.01},
        {"name": "leak_probe", "embedding": "hashing"}, {"name": "json_schema", "schema": {"type": "object"}}, {"name": "json_schema", "schema": "form"},
    ]  # fmt: skip
    assert len(Pack.load(pack_with(tmp_path, filters=filters)).filters()) == 5


def test_programs_of_a_pack_never_run_unconfined(tmp_path):
    code = f"open({str(tmp_path / 'owned')!r}, 'w').write('x')"
    for loose in ({"unsafe_exec": True}, {}):
        files = {
            "set": {"code": code, "tests": "1"},
            "filters": [{"name": "run_python", **loose}],
        }
        folder = pack_with(tmp_path / f"pack{len(loose)}", **files)
        (folder / "cases.yaml").write_text(
            yaml.safe_dump(
                {
                    "cases": [
                        {
                            "about": "x",
                            "inputs": {"question": "a"},
                            "replies": [{"text": "b"}],
                        }
                    ]
                }
            )
        )
        try:
            synth.run(
                folder,
                [{"question": "a"}],
                teacher=f"rehearsed/{folder}",
                output=tmp_path / "out",
            )
        except WrongUse as error:
            assert loose, error
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "by", ["evil/model", "./model", "/models/x", 5, ["bm25"]]
)
def test_a_pack_looks_rows_up_with_no_model(tmp_path, by):
    folder = pack_with(tmp_path)
    retrieve = {
        "file": "rows.jsonl",
        "query": "question",
        "field": "text",
        "by": by,
    }
    (folder / "pack.yaml").write_text(
        (folder / "pack.yaml").read_text()
        + yaml.safe_dump({"retrieve": retrieve})
    )
    with pytest.raises(WrongUse, match=r"pack\.yaml:\d+: found by"):
        Pack.load(folder)


def test_constants_make_no_flood_of_questions(tmp_path):
    folder = pack_with(tmp_path)
    (folder / "pack.yaml").write_text(
        (folder / "pack.yaml").read_text()
        + yaml.safe_dump({"constants": {"parts": [1] * 2000}})
    )
    with pytest.raises(WrongUse, match="2,000 elements"):
        Pack.load(folder)


def test_draws_have_an_end(tmp_path):
    with pytest.raises(WrongUse, match="draws"):
        Pack.load(pack_with(tmp_path, draws=10**9))


DATA = {
    "synth.filters": """
        agree.first agree.second answer_match.answer answer_match.target answer_match.tolerance arithmetic_steps.field arithmetic_steps.least
        bounds.fields bounds.least bounds.most citations.field citations.least citations.quotes citations.sources citations.words
        consensus.field consensus.least contamination.column contamination.field contamination.fuzzy contamination.long contamination.share
        contamination.short contamination.similarity critic.accept critic.least critic.scale critic.verdict_field critic.weigh
        cross_encoder.first cross_encoder.label cross_encoder.least cross_encoder.second distinct.by distinct.field distinct.similarity
        diversity.by diversity.far diversity.field diversity.method diversity.most entailment.direction entailment.field entailment.least
        entailment.premise exact_duplicate.field exact_duplicate.fields exact_duplicate.folded finish_reason.allowed ifd.field ifd.least
        ifd.most ifd.prompt json_schema.field language.field language.languages language.least language.words leak_probe.field
        leak_probe.folds leak_probe.most leak_probe.ridge leak_probe.variable leaks.field leaks.gold leaks.hidden leaks.phrases leaks.words
        learnability.answer learnability.field learnability.most length.field length.least length.most length.unit likelihood.field
        likelihood.mean likelihood.worst long_first.chain long_first.field long_first.most mentions.field mentions.must
        mentions.never near_duplicate.field near_duplicate.numbers near_duplicate.similarity near_duplicate.words overlap.each overlap.field
        overlap.least overlap.measure overlap.most overlap.other pairwise.chosen pairwise.question pairwise.rejected pass_rate.answer
        pass_rate.least pass_rate.most pass_rate.target per_seed.most pii.fields pii.kinds process_critic.cut process_critic.field
        program_answer.field program_answer.target quota.by quota.field quota.most quota.percentile refusal.chars refusal.field repetition.field
        repetition.lines repetition.loop repetition.most repetition.words run_python.field run_python.tests run_sql.database run_sql.field
        run_sql.gold run_sql.setup self_consistency.answer self_consistency.min_share self_consistency.min_votes self_consistency.ties
        self_consistency.voter self_consistency.weight semantic_duplicate.field semantic_duplicate.least semantic_duplicate.numbers
        semantic_duplicate.similarity semantic_entropy.answer semantic_entropy.estimate semantic_entropy.least semantic_entropy.most
        semantic_entropy.only_largest semantic_entropy.same subset.field subset.least subset.of subset.values trained.least truncation.field
        truncation.sentence universal_self_consistency.field wording.banned wording.characters wording.field wording.least
        wording.most_banned wording.once wording.starts
        answer_match.choices answer_match.decimal answer_match.gold""",
    "synth.parsers": """
        code_block.fenced delimited.begin delimited.end equations.asked final_number.fallback groups.of groups.tag json_object.fits json_object.keys
        numbered_list.least numbered_list.none outline.of permutation.most_repaired permutation.of tagged.allow tagged.tags whole.least
        boxed.rationale code_block.rationale delimited.rationale equations.rationale final_number.rationale groups.rationale
        json_object.rationale numbered_list.glosses numbered_list.rationale option.rationale outline.rationale
        permutation.rationale tagged.rationale think.rationale whole.opening whole.rationale whole.turns whole.unmarked""",
    # Neither is named in a pack: filters make their own verifiers, and the user names the format of an export.
    "synth.verifiers": """
        algebra.tolerance arithmetic_steps.least entailment.direction entailment.least entailment.unsure equations.asked equations.tolerance
        math_equal.tolerance spans.ellipsis""",
    "synth.exports": """
        conversation.absent faded.completion faded.context faded.examples faded.prompt labelled.by labelled.reasons
        labelled.wrong margins.least margins.most messages.system messages.thoughts mined_pairs.dedup mined_pairs.field mined_pairs.least mined_pairs.longest
        mined_pairs.most_alike mined_pairs.mutual mined_pairs.shortest multitask.tasks preference.by preference.least preference.order preference.other
        preference.per_seed preference.reasons ranked.least sft.completion sft.part sft.prompt sft.thoughts triples.held_out triplets.flat
        triplets.negatives triplets.pick triplets.turned""",
}  # fmt: skip
# A seed goes nowhere but into the draws of who asks, as that of a step's sampling does.
EVERYWHERE = {"unknown", "mode", "into", "seed"}


@pytest.mark.parametrize("room", DATA)
def test_every_parameter_is_data_or_the_users_alone(room):
    """A new parameter must be added to one of the two lists, or to the DATA of its part's test file, after a thought about
    what a stranger could do with it.
    """
    data = set(DATA[room].split())
    listed = {parameter.partition(".")[0] for parameter in data}
    for name in registry.names(room):
        if name not in listed and registry.parameters(
            registry.find(room, name)
        ):
            own = of_part(room, name, "DATA", ())
            data |= {f"{name}.{parameter}" for parameter in own}
    found = {
        f"{name}.{field.name}"
        for name in registry.names(room)
        for field in fields(registry.find(room, name))
        if field.init
    }
    guarded = {
        name
        for name in found
        if name.partition(".")[2] in {*rights.GUARDED, "pack"}
    }
    rest = {
        name
        for name in found - guarded
        if name.partition(".")[2] not in EVERYWHERE
    }
    assert rest == data
    assert not data & guarded


def test_every_key_of_a_pack_is_known_to_be_data():
    """A new key of a pack needs a thought, too: these are templates, names, numbers, or checked by `rights`."""
    assert set(PackSpec.model_fields) == {
        "name", "version", "about", "paper", "inputs", "low_yield", "seeds", "prices", "constants", "examples", "retrieve", "steps", "exports", "pools",
    }  # fmt: skip
    assert set(StepSpec.model_fields) == {
        "name", "teacher", "sampling", "draws", "each", "spread", "parser", "filters", "response_format", "rescues", "until", "set", "then", "demonstrations", "repairs", "turns", "talk", "gather", "reply_schema", "reasoning", "tools", "most_calls", "world", "images",
    }  # fmt: skip
