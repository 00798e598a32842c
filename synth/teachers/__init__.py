"""Request -> Completion. One file per backend, each with `async ask`; SDKs are imported when
named.
"""

from synth.core.lazy import parts_of

__getattr__, __dir__ = parts_of(__name__)
