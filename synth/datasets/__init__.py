"""Kept and dropped -> rows on disk. One file per export format; `_folder` publishes and reads a run."""
