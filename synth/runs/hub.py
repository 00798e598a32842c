"""A folder's files on the hub (huggingface.co, or HF_ENDPOINT): what goes up, what never does, and
what is there already.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from synth.core.errors import PotstillError, Stopped, WrongUse
from synth.core.secrets import environment_secrets
from synth.runs.ownership import digest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["dataset", "model"]
# Files of a run's folder, and of a student's, that go up: no other file does.
OF_RUNS = (
    *("README.md", "croissant.json", "data/*.parquet"),
    *("dropped/*.parquet", "pack/*"),
)
OF_STUDENTS = (
    *("README.md", "*.safetensors", "*.safetensors.index.json", "*.gguf"),
    *("config.json", "generation_config.json", "adapter_config.json"),
    *("tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt"),
    *("chat_template.jinja", "nat.json", "heads.json", "Modelfile"),
    *("modules.json", "sentence_bert_config.json", "[0-9]_*/config.json"),
    *("config_sentence_transformers.json", "[0-9]_*/*.safetensors"),
)
# Files that are read for what nobody should see; larger ones are weights and rows.
_MOST_READ = 1 << 24
# Characters of a secret of the environment, at least.
_LEAST_SECRET = 12
# Files of one commit: what a fault leaves undone stays small.
_AT_ONCE = 20
_SHA256_DIGITS = 64
_REPO = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)


class Sending(NamedTuple):
    """What a folder would send.

    Attributes:
        up: path in the folder -> bytes, of files that go up.
        stays: paths that never do.
    """

    up: Mapping[str, int]
    stays: Sequence[str]


def plan_sending(folder: Path, patterns: Sequence[str]) -> Sending:
    """Which files go up; no file is sent.

    Args:
        folder: of a run or a student.
        patterns: of paths that may go up.

    Raises:
        WrongUse: nothing would go up, or a file that would holds a secret of the environment or a
            path of the user's home.
    """
    up = {}
    stays = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        name = path.relative_to(folder).as_posix()
        if _may_go(name, path, patterns):
            up[name] = path.stat().st_size
        else:
            stays.append(name)
    if not up:
        raise WrongUse(
            str(folder),
            "no file that goes up",
            f"one of {', '.join(patterns[:4])}, ...",
            "Name the folder of a run, or of a student.",
        )
    for name in up:
        _check_words(folder / name)
    return Sending(up, stays)


def _may_go(name: str, path: Path, patterns: Sequence[str]) -> bool:
    if path.is_symlink() or any(part[0] == "." for part in name.split("/")):
        return False
    depth = name.count("/")
    for pattern in patterns:
        inside = pattern.count("/") == depth or pattern.startswith("pack/")
        if inside and fnmatch(name, pattern):
            return True
    return False


def _check_words(path: Path) -> None:
    """Raises WrongUse where a file of text says what is nobody's business."""
    if path.suffix in (".parquet", ".safetensors", ".gguf"):
        return
    if path.stat().st_size > _MOST_READ:
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    for what, secret in _secrets():
        if secret in text:
            raise WrongUse(
                str(path),
                what,
                "nothing of this machine",
                "Take it out of the file first, or keep the file elsewhere.",
            )


def _secrets() -> Iterator[tuple[str, str]]:
    """(what it is, the text that gives it away)."""
    home = str(Path.home())
    if home != "/":
        yield f"a path of your home folder ({home})", f"{home}/"
    for name, value in environment_secrets(_LEAST_SECRET):
        yield f"the value of {name}", value


def check_repo(repo: str) -> None:
    """Refuses a name that is no OWNER/NAME.

    Raises:
        WrongUse: with the name.
    """
    if not _REPO.fullmatch(repo):
        raise WrongUse(
            f"REPO {repo}", "another form", "OWNER/NAME", "Correct it."
        )


def send(
    folder: Path, repo: str, kind: Kind, sending: Sending, *, public: bool
) -> tuple[int, str]:
    """Sends what is not there yet, in commits of some files each; the same call goes on where one
    was stopped.

    Args:
        folder: whose files go.
        repo: OWNER/NAME; made where it is missing.
        kind: of the repository.
        sending: of `plan_sending`.
        public: whether anybody may see it.

    Returns:
        (files that were sent, address of the repository).

    Raises:
        WrongUse: a repository that is public where `public` does not say so, or a hub that says no
            (403, 404).
        Stopped: no key, or one that is refused (401); a hub that fails (409, 5xx) or cannot be
            reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi  # noqa: PLC0415

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    with _explained(repo):
        _open_repo(api, repo, kind, public=public)
        there = _there(api, repo, kind)
        left = [
            name
            for name, size in sending.up.items()
            if not _is_there(folder / name, size, there.get(name))
        ]
        for start in range(0, len(left), _AT_ONCE):
            names = left[start : start + _AT_ONCE]
            api.create_commit(
                repo,
                [
                    CommitOperationAdd(name, str(folder / name))
                    for name in names
                ],
                commit_message=f"{len(names)} files by potstill",
                repo_type=kind,
            )
    place = f"datasets/{repo}" if kind == "dataset" else repo
    return len(left), f"{api.endpoint}/{place}"


def _open_repo(api: HfApi, repo: str, kind: Kind, *, public: bool) -> None:
    """Finds the repository, or makes it.

    Raises:
        WrongUse: it is public, and nobody said so.
    """
    from huggingface_hub.errors import RepositoryNotFoundError  # noqa: PLC0415

    try:
        info = api.repo_info(repo, repo_type=kind)
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:
            raise
        api.create_repo(repo, private=not public, repo_type=kind)
        return
    if not info.private and not public:
        raise WrongUse(
            f"REPO {repo}",
            "a repository that anybody can read",
            "a private one",
            "Say --public, or make it private on the hub first.",
        )


def _there(api: HfApi, repo: str, kind: Kind) -> dict[str, tuple[int, str]]:
    """Path -> (bytes, hash) of what the repository holds: the SHA-256 of large files, git's own
    hash of others.
    """
    from huggingface_hub.hf_api import RepoFile  # noqa: PLC0415

    found = {}
    for entry in api.list_repo_tree(repo, recursive=True, repo_type=kind):
        if isinstance(entry, RepoFile):
            mark = entry.lfs.sha256 if entry.lfs else entry.blob_id
            found[entry.path] = (entry.size, mark)
    return found


def _is_there(path: Path, size: int, held: tuple[int, str] | None) -> bool:
    if held is None or held[0] != size:
        return False
    # Large files are known by their SHA-256, others by git's name.
    is_large = len(held[1]) == _SHA256_DIGITS
    return held[1] == (digest(path) if is_large else _git_hash(path, size))


def _git_hash(path: Path, size: int) -> str:
    """Git's name for a file of this content."""
    made = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as opened:
        while piece := opened.read(1 << 20):
            made.update(piece)
    return made.hexdigest()


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """What the hub says against a call, in this product's errors."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled  # noqa: PLC0415

    try:
        yield
    except PotstillError:
        raise
    except HfHubHTTPError as error:
        raise _of_status(repo, error.response.status_code) from error
    except OfflineModeIsEnabled as error:
        raise WrongUse(
            "HF_HUB_OFFLINE",
            "set",
            "a hub that may be asked",
            "Unset it.",
        ) from error
    except JSONDecodeError as error:
        raise Stopped("hub", f"an answer that is no JSON ({error})") from error
    except ValueError as error:
        raise WrongUse(
            f"REPO {repo}",
            " ".join(str(error).split())[:300],
            "files and names that the hub takes",
            "Correct them.",
        ) from error
    except (OSError, RuntimeError) as error:
        raise Stopped(
            "hub", f"{type(error).__name__}: {error}"[:300]
        ) from error
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore")):
            raise
        raise Stopped(
            "hub", f"{type(error).__name__}: {error}"[:300]
        ) from error


def _of_status(repo: str, status: int) -> PotstillError:
    if status == 401:
        return Stopped(
            "hub",
            "the hub wants a key with which it lets you write (401): set HF_TOKEN",
        )
    if status in (403, 404):
        return WrongUse(
            f"REPO {repo}",
            f"status {status} of the hub",
            "a repository that you may write to",
            "Look whether it is yours, and whether HF_TOKEN may write.",
        )
    return Stopped(
        "hub",
        f"status {status}; what was sent before stays, and the same command goes on",
    )
