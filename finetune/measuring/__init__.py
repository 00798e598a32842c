"""What a student can do: accuracy, rankings, votes, spans."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "embeddings": "EmbeddingsConfig bitext voted anisotropy",
        "evaluate": "EvaluateConfig generate",
        "evaluate_retriever": "SearchConfig",
        "forms_of_thought": "Form read_forms answer_of combine",
        "ranking_metrics": "ranked ndcg reciprocal_rank recall average_precision evaluate summary",
        "score_lists": "ScoreConfig",
        "span_f1": "normalised spans score",
        "votes": "vote Ranker",
        "win_rate": "WinRate win_rate",
    },
)
