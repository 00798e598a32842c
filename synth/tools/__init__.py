"""Used beside runs: the list of parts, a first pack, better prompts, probes of teachers, lexicon,
taxonomy, metrics of statements.
"""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "candidates": "Candidate Tuned shares drawn_parent",
        "catalogue": "KINDS listed described",
        "slurm_script": "slurm_script",
        "starter": "write_pack",
        "statement_metrics": "novelty diversity nli_precision_recall coverage",
        "taxonomy": "clean score",
        "teacher_probe": "probes hit run judged",
        "tuning": "Tuner check_writable write_back",
        "wordnet": "Synset read_synsets rows sense_rows",
    },
)
