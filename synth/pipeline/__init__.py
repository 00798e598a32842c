"""The order of the line: prepare, plan, open the doors, walk, publish."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "filter_file": "sieve calibrate_file",
        "finished": "fingerprint is_unchanged",
        "gold_check": "GoldCheck",
        "growth": "Growth",
        "merge": "merge",
        "open_doors": "open_doors endpoints_of adapted_of settings_of width",
        "options": "RunOptions",
        "plan": "StepPlan Plan make_plan describe_plan describe_choice",
        "notes": "notes_before",
        "prepare": "RunConfig Prepared prepare load_pack check check_rows checked",
        "preview": "describe render_first check_cases journal_counts tally next_command",
        "progress": "Board progress",
        "run": "run plan_shards start",
        "shards": "write_plan prepare_run prepare_shard",
        "walker": "Tally Walker",
        "window": "Window",
        "yield_watch": "YieldWatch",
    },
)
