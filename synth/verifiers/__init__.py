"""answer, gold -> true / false / unknown. One file per verifier; none asks a model."""
