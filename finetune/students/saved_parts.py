"""What parts of encoders have in common that sentence-transformers does not have itself."""

from __future__ import annotations

from typing import Any

from sentence_transformers.base.modules import Module


class SavedPart(Module):  # type: ignore[misc]
    """A part whose weights and settings are saved with the model."""

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Writes settings and weights into a folder."""
        del args, kwargs
        self.save_config(output_path)
        self.save_torch_weights(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, **kwargs: Any) -> SavedPart:
        """Opens what `save` wrote."""
        places = {
            name: kwargs[name]
            for name in (
                "subfolder",
                "token",
                "cache_folder",
                "revision",
                "local_files_only",
            )
            if name in kwargs
        }
        part = cls(**cls.load_config(model_name_or_path, **places))
        cls.load_torch_weights(model_name_or_path, model=part, **places)
        return part
