"""A run's folder, written and read: columns, publisher, card, ownership."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "batches": "batches rows_of count_of",
        "card": "make_card plan_table tally_rows tally_table",
        "columns": "Columns Misfit merged column spell",
        "folder": "load_parquet",
        "ledger": "runs_in spent left_for",
        "marks": "split_name mark",
        "merging": "merged_rows merged_failures grouped",
        "ownership": "Opened check_endpoints check_format check_output note read_note read_object "
        "read_run private make_private make_folder discard free_name content_of put_json "
        "digest digests is_our_card",
        "pairing": "make_pairs over by_score",
        "publisher": "Publisher RunFolder",
        "result": "Run",
        "store_copy": "StoreCopy places_of",
        "trackers": "Tracker check_trackers",
        "shard_plan": "ShardPlan check_joined is_planned plan_file run_folders seeds_folder "
        "shard_folder",
    },
)
