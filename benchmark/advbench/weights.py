"""Weights by content: what they depend on is their key, so nothing else can be mistaken for them."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from advbench.data import Data
from advbench.errors import AdvbenchError
from advbench.hooks import GROUP
from advbench.plugin import Dataset, Defense, Model
from advbench.recipe import Recipe
from advbench.training import Progress, accuracy, effective_recipe, hardware, train, training_defenses

FORMAT = 1
"""Raised when training or storing changes so much that older weights must not be taken for new ones."""
MANIFEST = "manifest.json"
WEIGHTS_VARIABLE = "ADVBENCH_WEIGHTS"
CACHE_VARIABLE = "ADVBENCH_CACHE"
_HEADER = "advbench"


@dataclass(frozen=True)
class FoundWeights:
    """A network with its weights, in eval mode on the CPU, and where they come from."""

    net: nn.Module
    sha256: str
    """Of the file, or of the tensors where the model brought them itself."""
    origin: str
    """In words: shipped, cached, trained just now, or a file's name."""
    recipe: Recipe | None = None
    path: Path | None = None
    accuracy: float | None = None
    """On the calibration part, when they were made."""

    @property
    def state_dict(self) -> dict[str, Tensor]:
        return self.net.state_dict()


@dataclass(frozen=True)
class WeightsCheck:
    """Kept weights beside weights trained again by the same recipe."""

    origin: str
    kept_accuracy: float
    retrained_accuracy: float
    largest_difference: float
    """Between two weights at the same place; zero on the machine that made them."""
    seconds: float
    hardware: str

    @property
    def agrees(self) -> bool:
        """Another machine rounds otherwise and ends elsewhere, but not at another accuracy."""
        return abs(self.kept_accuracy - self.retrained_accuracy) <= 0.02


def weights_key(model: Model, defenses: Sequence[Defense], dataset: Dataset, data: Data, recipe: Recipe) -> str:
    """A hash of everything that the weights depend on; defenses that do not train leave no trace."""
    content = {
        "format": FORMAT,
        "model": model.name,
        "params": {key: value for key, value in model.params().items() if key != "weights"},
        "defenses": [[defense.name, defense.params()] for defense in training_defenses(defenses)],
        "recipe": recipe.params(),
        "classes": dataset.classes,
        "data": data.train.fingerprint,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def find_weights(model: Model, defenses: Sequence[Defense], dataset: Dataset, data: Data) -> FoundWeights | None:
    """Weights that need no training: the model's own, a named file, shipped, kept in a folder, or cached; else None."""
    recipe = effective_recipe(model, defenses, dataset)
    if recipe is None:
        net = model.build(dataset).eval()
        return FoundWeights(net, state_digest(net.state_dict()), "comes with the model")
    if model.weights:
        path = Path(model.weights).expanduser()
        state, header = load_weights(path)
        return FoundWeights(
            fitted(model, dataset, state, path), file_digest(path), str(path), _recipe_of(header), path, _accuracy_of(header)
        )
    key = weights_key(model, defenses, dataset, data, recipe)
    for folder in weights_folders():
        entry = manifest(folder).get(key)
        if entry is None:
            continue
        path = folder / entry["file"]
        state, header = load_weights(path)
        digest = file_digest(path)
        if digest != entry["sha256"]:
            raise AdvbenchError(f"{path}: not the file that {folder / MANIFEST} describes (sha256 {digest[:12]}…); install it again")
        net = fitted(model, dataset, state, path)
        return FoundWeights(net, digest, f"shipped: {path}", recipe, path, _accuracy_of(header))
    path = cached_path(key)
    if not path.is_file():
        return None
    remedy = f"delete it, and it will be trained again: rm {path}"
    state, header = load_weights(path, remedy)
    if header.get("key") != key or header.get("content") != state_digest(state):
        raise AdvbenchError(f"{path}: the cached weights are damaged; {remedy}")
    return FoundWeights(
        fitted(model, dataset, state, path, remedy), file_digest(path), f"cached: {path}", recipe, path, _accuracy_of(header)
    )


def obtain_weights(
    model: Model,
    defenses: Sequence[Defense],
    dataset: Dataset,
    data: Data,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> FoundWeights:
    """Weights that are there, or else trained now and cached."""
    found = find_weights(model, defenses, dataset, data)
    if found:
        return found
    recipe = effective_recipe(model, defenses, dataset)
    assert recipe is not None  # else they came with the model
    trained = train(model, defenses, dataset, data, recipe, device, progress)
    key = weights_key(model, defenses, dataset, data, recipe)
    path = save_weights(
        cached_path(key), trained.state, describe(model, defenses, dataset, recipe, key, trained.accuracy)
    )
    net = fitted(model, dataset, trained.state, path)
    return FoundWeights(net, file_digest(path), f"trained just now: {path}", recipe, path, trained.accuracy)


def check_weights(
    model: Model,
    defenses: Sequence[Defense],
    dataset: Dataset,
    data: Data,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> WeightsCheck:
    """Train again what is kept, and compare."""
    found = find_weights(model, defenses, dataset, data)
    recipe = effective_recipe(model, defenses, dataset)
    if found is None or recipe is None or model.weights:
        raise AdvbenchError(f"{model.label}: no weights are kept that a recipe made; nothing to compare with")
    trained = train(model, defenses, dataset, data, recipe, device, progress)
    kept = found.state_dict
    difference = max(float((kept[key].double() - value.double()).abs().max()) for key, value in trained.state.items())
    return WeightsCheck(
        found.origin,
        accuracy(found.net, data.calibrate),
        trained.accuracy,
        difference,
        trained.seconds,
        hardware(device),
    )


def describe(
    model: Model, defenses: Sequence[Defense], dataset: Dataset, recipe: Recipe, key: str, right: float
) -> dict[str, Any]:
    """What a weights file says of itself; nothing in it differs between two trainings on one machine."""
    return {
        "format": FORMAT,
        "key": key,
        "model": model.label,
        "defenses": [defense.label for defense in training_defenses(defenses)],
        "dataset": dataset.label,
        "recipe": recipe.params(),
        "accuracy": right,
    }


def save_weights(path: Path, state: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Write a safetensors file in one step, float16 wherever that loses nothing; two writers at once do no harm."""
    tensors = {key: _narrowest(value.detach().cpu().contiguous()) for key, value in state.items()}
    text = json.dumps({**header, "content": state_digest(state)}, sort_keys=True, ensure_ascii=False)
    # one entry: safetensors writes several in no fixed order, and equal weights should be equal files
    content = safetensors.torch.save(tensors, metadata={_HEADER: text})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            try:
                part.write(content)
                part.flush()
                os.fsync(part.fileno())
                part.close()
                Path(part.name).chmod(0o644)  # temporary files are private, caches are shared
                Path(part.name).replace(path)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise AdvbenchError(
            f"{path}: can't keep weights there ({error.strerror or error}); set {CACHE_VARIABLE} to a folder with room"
        ) from error
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
    if start.startswith((b"PK", b"\x80")):
        state, header = _load_checkpoint(path), {}
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
        raise AdvbenchError(f"{path}: a damaged safetensors file ({_one_line(error)}){hint}") from error
    try:
        header = json.loads(text)
    except ValueError:
        header = {}
    return state, header if isinstance(header, dict) else {}


def _load_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of `torch.save`, out of its usual wrappings."""
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
        reason = "it holds more than tensors, and running its code is not safe" if "nsupported" in str(error) else "damaged"
        raise AdvbenchError(
            f"{path}: can't be loaded ({reason}); save the state dict alone, best with safetensors.torch.save_file"
        ) from error
    wrappings = ("state_dict", "model_state_dict", "model", "net")
    while not _is_state(loaded):
        if isinstance(loaded, dict) and (inner := next((loaded[key] for key in wrappings if key in loaded), None)):
            loaded = inner
        elif isinstance(loaded, list | tuple) and loaded:
            loaded = loaded[0]
        else:
            raise AdvbenchError(f"{path}: no state dict in it; save `net.state_dict()` with safetensors.torch.save_file")
    state = dict(loaded)
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(item, Tensor) for item in value.values())


def fitted(model: Model, dataset: Dataset, state: Mapping[str, Tensor], path: Path, remedy: str = "") -> nn.Module:
    """The model's network with these weights, in eval mode; what does not fit is an error that names it."""
    with torch.random.fork_rng(devices=[]):  # initial weights that are thrown away need no random numbers of anybody's
        net = model.build(dataset)
    wanted = net.state_dict()
    where = f"{path}: not the weights of {model.label} on {dataset.label}"
    hint = remedy or "name the model and the parameters that they were trained with"
    for key, value in wanted.items():
        if key not in state:
            raise AdvbenchError(f"{where}: {key!r} is missing; {hint}")
        if state[key].shape != value.shape:
            shapes = f"{tuple(state[key].shape)} instead of {tuple(value.shape)}"
            raise AdvbenchError(f"{where}: {key!r} has the shape {shapes}; {hint}")
        if state[key].is_floating_point() != value.is_floating_point():
            raise AdvbenchError(f"{where}: {key!r} holds {state[key].dtype}, not {value.dtype}; {hint}")
    for key in state:
        if key not in wanted:
            raise AdvbenchError(f"{where}: {key!r} is unexpected; {hint}")
    net.load_state_dict(state)
    return net.eval()


def weights_folders() -> Iterator[Path]:
    """Folders with a manifest: inside installed plugin packages, in `ADVBENCH_WEIGHTS`, and in a checkout."""
    for package in _packages():
        yield package / "weights"
    for named in os.environ.get(WEIGHTS_VARIABLE, "").split(os.pathsep):
        if named:
            yield Path(named).expanduser()
    yield Path(__file__).resolve().parents[2] / "weights"


def _packages() -> Iterator[Path]:
    """Folders of plugin packages, found without running them: a broken plugin's weights do no harm."""
    names = {point.value.partition(":")[0].partition(".")[0] for point in entry_points(group=GROUP)}
    for name in sorted(names, key=lambda name: (not name.startswith("advbench_"), name)):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            continue
        yield from (Path(place) for place in (spec.submodule_search_locations or ()) if spec)


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """A folder's entries by key; a folder without a manifest holds none."""
    path = folder / MANIFEST
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["weights"]
        return {entry["key"]: entry for entry in entries if entry["file"] and entry["sha256"]}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdvbenchError(f"{path}: not a manifest of weights ({_one_line(error)}); install or download it again") from error


def cache_folder() -> Path:
    """`ADVBENCH_CACHE`, or the platform's folder for what may be deleted at any time."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "advbench" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/advbench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "advbench"


def cached_path(key: str) -> Path:
    return cache_folder() / "weights" / f"{key}.safetensors"


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
    """In float16 when that changes no number."""
    half = value.half() if value.dtype == torch.float32 else value
    return half if torch.equal(half.to(value.dtype), value) else value


def _recipe_of(header: Mapping[str, Any]) -> Recipe | None:
    recipe = header.get("recipe")
    known = {field.name for field in fields(Recipe)}
    return Recipe(**recipe) if isinstance(recipe, dict) and recipe.keys() <= known else None


def _accuracy_of(header: Mapping[str, Any]) -> float | None:
    right = header.get("accuracy")
    return float(right) if isinstance(right, int | float) else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
