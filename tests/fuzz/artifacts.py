"""Perturbations with a right hash and other tensors: `verify` differs, `export` says why, nobody stumbles."""

from __future__ import annotations

import hashlib
from random import Random

import torch
from safetensors.torch import load_file, save
from tampering import edit
from torch import Tensor

from advbench.store import Store
from fuzz.scene import Kind, Scene, bent

DTYPES = (torch.float64, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool, torch.bfloat16)


def case(scene: Scene, draw: Random, number: int) -> str:
    db = scene.copy("artifact")
    with Store.open(db, readonly=True) as store:
        row = draw.choice(store.rows("SELECT s.artifact, c.key FROM shards s JOIN cells c ON c.id = s.cell"))
        place = store.artifacts.path(row["artifact"])
    tensors = load_file(place)
    if draw.random() < 0.3:
        data, words = bent(draw, place.read_bytes()), "bytes"
    else:
        changed = {name: part.clone() for name, part in tensors.items()}
        words = ", ".join(spoil(draw, changed) for _ in range(draw.choice((1, 1, 2))))
        data = save({name: part.contiguous() for name, part in changed.items()})
    other = hashlib.sha256(data).hexdigest()
    file = place.parents[1] / other[:2] / f"{other}.safetensors"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    edit(db, f"UPDATE shards SET artifact = '{other}' WHERE artifact = '{row['artifact']}'")
    verified = scene.advbench("verify", row["key"], "--no-mark", "--db", db)
    exported = scene.advbench("export", row["key"], db.with_name("out.npz"), "--db", db)
    for ended in (verified, exported):
        if ended.improper:
            return f"{ended.improper} ({words})"
    if verified.code == 0 and not same(tensors, data):
        return f"verified, though its perturbations are others ({words})"
    return ""


def same(tensors: dict[str, Tensor], data: bytes) -> bool:
    """Whether these bytes are perturbations of the same images. Which ones is for the referee to say."""
    from safetensors.torch import load

    found = load(data)
    return all(
        name in found
        and found[name].dtype == part.dtype
        and found[name].shape == part.shape
        and (bool(found[name].isfinite().all()) if name.startswith("p.") else torch.equal(found[name], part))
        for name, part in tensors.items()
    )


def spoil(draw: Random, tensors: dict[str, Tensor]) -> str:
    if not tensors:
        return "nothing left"
    name = draw.choice(sorted(tensors))
    part = tensors[name]
    way = draw.randrange(9)
    if way == 0:
        del tensors[name]
        return f"{name} gone"
    if way == 1:
        dtype = draw.choice(DTYPES)
        tensors[name] = part.to(dtype)
        return f"{name} as {dtype}"
    if way == 2:
        tensors[name] = part[: draw.randrange(len(part) + 1)]
        return f"{name} cut"
    if way == 3:
        tensors[name] = torch.cat([part] * draw.choice((2, 1000)))
        return f"{name} repeated"
    if way == 4:
        tensors[name] = part.reshape(-1) if draw.random() < 0.5 else part.unsqueeze(0)
        return f"{name} in another shape"
    if way == 5:
        value = draw.choice((torch.nan, torch.inf, -torch.inf, 1e30, -1.0, 2.0**31, 5e8))
        flat = part.reshape(-1).clone()
        if len(flat):
            whole = not part.is_floating_point()
            flat[draw.randrange(len(flat))] = (
                int(value) if whole and value == value and abs(value) < 2**62 else 0 if whole else value
            )
        tensors[name] = flat.view(part.shape)
        return f"{name} with {value}"
    if way == 6:
        tensors[f"p.{draw.randrange(9)}"] = part.clone()
        return "a tensor more"
    if way == 7 and len(part) > 1:
        tensors[name] = part.flip(0)
        return f"{name} backwards"
    tensors[name] = torch.zeros_like(part)
    return f"{name} zero"


KIND = Kind(2_000, case, seconds=60)
