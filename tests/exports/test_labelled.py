"""See test_exports_of_systems.py; here: the parameters of labelled."""

from __future__ import annotations

import pytest

from synth.core import registry
from synth.core.errors import WrongUse


def test_unknown_parameters_are_refused():
    with pytest.raises(WrongUse, match="parameter 'odd'"):
        registry.build("synth.exports", "labelled:odd=1")
