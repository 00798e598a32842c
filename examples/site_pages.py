"""Adds the page of all public names to the site, made from the docstrings of this moment."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from examples.write_docs import reference


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site and the reference."""
    files.append(File.generated(config, "reference.md", content=reference()))
    return files
