"""Files of weights with bytes other, gone or doubled: loaded as finite tensors, or refused in words."""

from __future__ import annotations

import io
from random import Random

import torch
from safetensors.torch import save

from advbench.errors import AdvbenchError
from advbench.weights.weight_files import load_weights
from fuzz.scene import Kind, Scene, bent


def case(scene: Scene, draw: Random, number: int) -> str:
    path = scene.place("weights") / "mine.safetensors"
    way = draw.randrange(4)
    state = {"a.weight": torch.rand(4, 3), "a.bias": torch.arange(4.0), "n": torch.tensor(7)}
    if way < 2:
        data = save(state, metadata={"advbench": '{"model": "toy"}'})
    else:
        file = io.BytesIO()
        whole = {"state_dict": state, "epoch": 3, "args": {"lr": [0.1]}} if way == 2 else state
        torch.save(whole, file, _use_new_zipfile_serialization=draw.random() < 0.5)
        data = file.getvalue()
    data = bent(draw, data)
    path.write_bytes(data)
    try:
        found, _ = load_weights(path)
    except AdvbenchError as error:
        return "no words" if not str(error).strip() or "\n" in str(error) else ""
    wrong = [name for name, part in found.items() if part.is_floating_point() and not bool(part.isfinite().all())]
    return f"{wrong[0]} is not finite" if wrong else ""


KIND = Kind(4_000, case)
