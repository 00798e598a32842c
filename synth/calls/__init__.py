"""The only door to a teacher: look up, reserve, admit, ask, journal."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "admission": "Gate",
        "advice": "advice",
        "ask": "ask_once",
        "bank": "Account State Bank",
        "borrower": "Facts Borrower",
        "budget": "Budget",
        "call_options": "AT_ONCE CallOptions",
        "door": "Stats Door Doors",
        "endpoints": "read_endpoints",
        "fault_log": "FaultLog",
        "fleet": "Fleet open_one_or_many",
        "functions": "Functions",
        "journal": "Totals Journal records",
        "journal_index": "Index",
        "lending": "Use Report Lease fair",
        "pace": "Pace",
        "price": "unbounded require_bound most_tokens Price read_price price_of",
        "reading": "Reading asked mean_logprob",
        "refusals": "Epoch Doubt Closed Trial Noise",
        "spans": "Spans",
        "token_counter": "TokenCounter counter",
    },
)
