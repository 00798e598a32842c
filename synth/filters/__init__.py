"""Rows -> verdicts: kept and dropped with reasons. One file per filter; each works alone as a
library.
"""

from synth.core.lazy import parts_of

__getattr__, __dir__ = parts_of(__name__)
