"""Request -> Completion. One file per backend, each with `async ask`; SDKs are imported when named."""
