"""Rows -> verdicts: kept and dropped with reasons. One file per filter; each works alone as a library."""
