"""The head of a dataset card: what the hub and `datasets` read of it."""

from __future__ import annotations

import re

from synth.core.records import Fields

# `datasets` keeps what it has loaded under a hash of these configs and the folder's last name, and
# looks at no file again. The description names the rows, so that no folder is ever taken for
# another.
_HEAD = """---
configs:
- config_name: default
  data_files: data/*.parquet
  description: rows {content}
- config_name: dropped
  data_files: dropped/*.parquet
  description: rows {content}
tags: [distillation, synthetic]
size_categories: [{size}]
{more}---
"""
# Codes of ISO 639 as the hub takes them in a card's head.
_CODE = re.compile(r"[a-z]{2,3}")
# The hub's classes of sizes by the first number of rows that is beyond each.
_SIZES = {
    10**3: "n<1K",
    10**4: "1K<n<10K",
    10**5: "10K<n<100K",
    10**6: "100K<n<1M",
    10**7: "1M<n<10M",
    10**8: "10M<n<100M",
    10**9: "100M<n<1B",
}


def card_head(run: Fields, content: str) -> str:
    """Files, size, licence and languages, between two lines of `---`.

    Args:
        run: run.json.
        content: the hash of the rows.
    """
    kept = run["counts"]["kept"]
    size = next((name for most, name in _SIZES.items() if kept < most), "n>1T")
    shared = run.get("sharing") or {}
    more = ""
    if shared.get("license"):
        more += f"license: {shared['license']}\n"
    if languages := codes(shared.get("languages") or {}):
        # `no` would be false without its quotes.
        listed = ", ".join(f"'{name}'" for name in languages)
        more += f"language: [{listed}]\n"
    return _HEAD.format(content=content, size=size, more=more)


def codes(languages: Fields) -> list[str]:
    """Those languages that are spelt as the hub takes them.

    >>> codes({"de": 3, "German": 1})
    ['de']
    """
    return [name for name in languages if _CODE.fullmatch(name)]
