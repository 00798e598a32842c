"""Which layers of a student learn from which layers of a teacher."""

from __future__ import annotations

from typing import NamedTuple

from synth.core.errors import WrongUse

_WORDS = ("last", "uniform", "all")


class LayerMap(NamedTuple):
    """Numbers of layers: 0 are the embeddings, 1 is the lowest layer.

    Attributes:
        student: of the student.
        teacher: of the teacher; the same place is a pair.
    """

    student: tuple[int, ...]
    teacher: tuple[int, ...]


def read_map(
    layers: str | tuple[str, ...], student: int, teacher: int, name: str
) -> LayerMap:
    """The layers that a term names.

    Args:
        layers: `last`: the last of both; `uniform`: each layer of the student with the one that
            stands as high in the teacher (TinyBERT, arXiv:1909.10351, section 3.1); `all`: each
            with the one of its number; or pairs `student-teacher`, where `N` is `N-N`.
        student: layers of the student.
        teacher: layers of the teacher.
        name: of the term, for messages.

    Example:
        >>> read_map("uniform", 2, 6, "rkd")
        LayerMap(student=(1, 2), teacher=(3, 6))
        >>> read_map(("0-0", "2-5"), 2, 6, "rkd")
        LayerMap(student=(0, 2), teacher=(0, 5))

    Raises:
        WrongUse: no such word, no pair, or layers that one of the two does not have.
    """
    if layers == "last":
        return LayerMap((student,), (teacher,))
    if layers == "uniform":
        ours = tuple(range(1, student + 1))
        # Rounded up, so that the last meets the last.
        theirs = tuple(-(-n * teacher // student) for n in ours)
        return LayerMap(ours, theirs)
    if layers == "all":
        if student != teacher:
            counts = (
                f"{student} layers of the student, {teacher} of the teacher"
            )
            raise _no_layers(name, layers, counts)
        ours = tuple(range(1, student + 1))
        return LayerMap(ours, ours)
    if isinstance(layers, str):
        layers = (layers,)
    pairs = [_pair(text, name) for text in layers]
    ours, theirs = zip(*pairs, strict=True)
    if max(ours) > student or max(theirs) > teacher:
        there = (
            f"layers 0 to {student} of the student, 0 to {teacher} of the "
            "teacher"
        )
        raise _no_layers(name, layers, there)
    return LayerMap(ours, theirs)


def _pair(text: str, name: str) -> tuple[int, int]:
    first, dash, second = text.partition("-")
    if not dash:
        second = first
    if not first.isdecimal() or not second.isdecimal():
        raise _no_layers(name, text, "no pair of numbers")
    return int(first), int(second)


def _no_layers(name: str, layers: object, found: str) -> WrongUse:
    return WrongUse(
        f"--loss {name}: layers={layers}",
        found,
        f"{', '.join(_WORDS)}, or pairs student-teacher",
        "For example layers=[2-4,4-8]; 0 are the embeddings.",
    )
