"""Files of weights: safetensors with a word about themselves, checkpoints of others, folders with a manifest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from advbench.cache import cache_folder, replace_file
from advbench.errors import AdvbenchError, one_line
from advbench.hooks import GROUP

MANIFEST = "manifest.json"
WEIGHTS_VARIABLE = "ADVBENCH_WEIGHTS"
_HEADER = "advbench"
DEEPEST = 8
"""Wrappings around a state dict that are looked into: a list may hold itself."""
ROOM = 64 << 20
"""Bytes that any checkpoint may need when it is unpacked; beyond it, four times those of the file."""


def save_weights(path: Path, state: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Write a safetensors file in one step, float16 wherever that loses nothing; two writers at once do no harm."""
    tensors = {key: _narrowest(value.detach().cpu().contiguous()) for key, value in state.items()}
    text = json.dumps({**header, "content": state_digest(state)}, sort_keys=True, ensure_ascii=False)
    # one entry: safetensors writes several in no fixed order, and equal weights should be equal files
    replace_file(path, safetensors.torch.save(tensors, metadata={_HEADER: text}))
    return path


def load_weights(path: Path, remedy: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, floats widened to float32, and what the file says of itself; also from a checkpoint of `torch.save`."""
    path = Path(path).expanduser()
    hint = f"; {remedy}" if remedy else ""
    try:
        with path.open("rb") as file:
            start = file.read(16)
        total = path.stat().st_size
    except FileNotFoundError:
        raise AdvbenchError(f"{path}: no such file of weights{hint}") from None
    except OSError as error:
        raise AdvbenchError(f"{path}: can't be read ({error.strerror or error}){hint}") from error
    if not start:
        raise AdvbenchError(f"{path}: the file is empty{hint or '; download it again'}")
    if start.lstrip().startswith(b"<"):
        raise AdvbenchError(
            f"{path}: a web page, not weights{hint or '; download the file itself, not the page that shows it'}"
        )
    # the length that a safetensors file begins with may look like the mark of a pickle; its "{" then tells them apart
    if start.startswith((b"PK", b"\x80")) and start[8:9] != b"{":
        state = _load_checkpoint(path)
        header: dict[str, Any] = {}
    else:
        if len(start) < 8 or struct.unpack("<Q", start[:8])[0] > total - 8:
            raise AdvbenchError(f"{path}: no safetensors file, or cut short{hint or '; download it again'}")
        state, header = _load_safetensors(path, hint or "; download it again")
    for key, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise AdvbenchError(f"{path}: {key} holds values that are not numbers{hint}")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}, header


def _load_safetensors(path: Path, hint: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            text = (file.metadata() or {}).get(_HEADER, "{}")
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise AdvbenchError(f"{path}: a damaged safetensors file ({one_line(error)}){hint}") from error
    try:
        header = json.loads(text)
    except ValueError:
        header = {}
    return state, header if isinstance(header, dict) else {}


def _load_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of `torch.save`, out of its usual wrappings."""
    try:
        room = max(ROOM, 4 * path.stat().st_size)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                if sum(entry.file_size for entry in packed.infolist()) > room:
                    raise ValueError("more than the file can hold")
        # torch warns of odd pickles, which say nothing to whoever named the file
        with path.open("rb") as file, warnings.catch_warnings():  # not by its name, which torch reads something into
            warnings.simplefilter("ignore")
            loaded: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or a made-up file makes torch stumble anywhere
        reason = (
            "it holds more than tensors, and running its code is not safe" if "nsupported" in str(error) else "damaged"
        )
        raise AdvbenchError(
            f"{path}: can't be loaded ({reason}); save the state dict alone, best with safetensors.torch.save_file"
        ) from error
    wrappings = ("state_dict", "model_state_dict", "model", "net")
    for _ in range(DEEPEST):
        if _is_state(loaded):
            break
        if isinstance(loaded, dict) and (inner := next((loaded[key] for key in wrappings if key in loaded), None)):
            loaded = inner
        elif isinstance(loaded, list | tuple) and loaded:
            loaded = loaded[0]
        else:
            break
    if not _is_state(loaded):
        raise AdvbenchError(f"{path}: no state dict in it; save `net.state_dict()` with safetensors.torch.save_file")
    if sum(value.numel() * value.element_size() for value in loaded.values()) > room:  # one number, repeated for ever
        raise AdvbenchError(f"{path}: its tensors are larger than the file can hold; save them with safetensors.torch")
    state = dict(loaded)
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(key, str) and isinstance(item, Tensor) for key, item in value.items())
    )


def weights_folders() -> Iterator[Path]:
    """Folders with a manifest: inside installed plugin packages, in `ADVBENCH_WEIGHTS`, and in a checkout."""
    for package in _packages():
        yield package / "weights"
    for named in os.environ.get(WEIGHTS_VARIABLE, "").split(os.pathsep):
        if named:
            yield Path(named).expanduser()
    yield Path(__file__).resolve().parents[3] / "weights"


def _packages() -> Iterator[Path]:
    """Folders of plugin packages, found without running them: a broken plugin's weights do no harm."""
    names = {point.value.partition(":")[0].partition(".")[0] for point in entry_points(group=GROUP)}
    for name in sorted(names, key=lambda name: (not name.startswith("advbench_"), name)):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            continue
        yield from (Path(place) for place in ((spec.submodule_search_locations if spec else None) or ()))


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """A folder's entries by key; a folder without a manifest holds none."""
    path = folder / MANIFEST
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["weights"]
        return {entry["key"]: entry for entry in entries if entry["file"] and entry["sha256"]}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdvbenchError(
            f"{path}: not a manifest of weights ({one_line(error)}); install or download it again"
        ) from error


def note_cost(path: Path, seconds: float, hardware: str) -> None:
    """Say beside a file of weights what they took to make; inside, equal weights would be unequal files."""
    replace_file(path.with_suffix(".json"), json.dumps({"seconds": round(seconds), "hardware": hardware}).encode())


def cost_noted(path: Path) -> dict[str, Any]:
    """The cost of training that `note_cost` stored beside the file; None where it stored none."""
    try:
        noted = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def publish_weights(path: Path, folder: Path, **facts: Any) -> Path:
    """Copy a file that training made into a folder with a manifest, under a name that people can read."""
    _, header = load_weights(path)
    if "key" not in header:
        raise AdvbenchError(f"{path}: not made by `advbench train`; only such weights have a key to be found by")
    words = "+".join((header["model"], *header["defenses"], header["dataset"]))
    target = folder / (re.sub(r"[^\w.+-]+", "-", words).strip("-") + ".safetensors")
    entries = manifest(folder)
    replace_file(target, path.read_bytes())
    entries[header["key"]] = (
        {"file": target.name, "sha256": file_digest(target), "bytes": target.stat().st_size}
        | {name: value for name, value in header.items() if name not in ("format", "content")}
        | cost_noted(path)
        | facts
    )
    ordered = sorted(map(_describe, entries.values()), key=lambda entry: str(entry["file"]))
    replace_file(folder / MANIFEST, (json.dumps({"weights": ordered}, indent=2, ensure_ascii=False) + "\n").encode())
    return target


def _describe(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a manifest as people read it: by a name, and with minutes in place of seconds."""
    described = {"name": str(entry["file"]).removesuffix(".safetensors"), **entry}
    if "seconds" in described:
        described["minutes"] = round(described.pop("seconds") / 60, 1)
    return described


def cached_path(key: str) -> Path:
    return cache_folder() / "weights" / f"{key}.safetensors"


def unfinished_path(key: str) -> Path:
    """What a training that was cut off goes on from."""
    return cached_path(key).with_suffix(".unfinished")


def file_digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_digest(state: Mapping[str, Tensor]) -> str:
    """The sha256 of tensors by name, whatever file they are in."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _narrowest(value: Tensor) -> Tensor:
    """The tensor in float16 when that changes no number, else as it is."""
    half = value.half() if value.dtype == torch.float32 else value
    return half if torch.equal(half.to(value.dtype), value) else value
