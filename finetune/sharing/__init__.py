"""A student taken elsewhere: folders for servers, files for llama.cpp and Ollama, its card."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "chat_formats": "ChatFormat Found FORMATS TEXT_TEMPLATE found_format",
        "export": "ExportConfig run",
        "gguf": "converter convert",
        "model_card": "Sources make_card describe_student",
        "ollama": "modelfile",
        "served": "check_student write_served missing",
    },
)
