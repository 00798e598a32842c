"""Texts that follow from another, by a real (tiny) inference model."""

from __future__ import annotations

from synth.verifiers.entailment import Entailment
from tests import tiny


def test_the_verifier_knows_that_it_does_not_know():
    assert Entailment(model=tiny.nli()).verify("a red pen", "red pen") is True
    assert (
        Entailment(model=tiny.nli()).verify("not red pen", "red pen") is False
    )
    assert (
        Entailment(model=tiny.nli(), least=1.1).verify("a red pen", "red pen")
        is None
    )
