"""A package that is installed for one test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from synth.core import plugins
from tests.plugins.site_of_the_user import install


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder of an installed package; afterwards all is as before."""
    folder = install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(folder))
    plugins.forget()
    yield folder
    plugins.forget()
    for name in [n for n in sys.modules if n.partition(".")[0] == "stills"]:
        del sys.modules[name]
