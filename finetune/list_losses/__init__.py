"""Losses over lists of texts: what a retriever or a ranker learns of a query's candidates; one file each."""
