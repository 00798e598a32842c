"""Records, errors, the registry of parts, strict readers: the standard library and orjson alone."""
