"""`advbench export`: the adversarial examples of a cell as arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.text import Text

from advbench.cli import options as opt
from advbench.data import DataFolders
from advbench.errors import AdvbenchError
from advbench.referee import render
from advbench.store import Store
from advbench.stored import load_dataset, stored_shards, threat_of


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    context: typer.Context,
    cell: Annotated[str, typer.Argument(help="The beginning of the cell's key; `advbench show --cells` lists them.")],
    out: Annotated[Path, typer.Argument(help="The file to write, .npz or .safetensors.")],
    db: opt.Database = opt.DATABASE,
    data: opt.DataFolder = None,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
) -> None:
    """Write originals, adversarial images, labels and verdicts on the source, one row per example."""
    if out.suffix not in {".npz", ".safetensors"}:
        raise AdvbenchError(f"{out}: the name must end in .npz or .safetensors")
    with Store.open(db, readonly=True) as store:
        found = store.cell(cell)
        folders = DataFolders(DataFolders.default(data or ()).folders, download=not offline)
        _, loaded = load_dataset(context.obj.registry, folders, found["dataset"], found["data_fingerprint"])
        threat = threat_of(found)
        verdicts = {row["example"]: row for row in store.outcomes(found["key"], found["source"])}
        originals, adversarials, facts = [], [], []
        for shard in stored_shards(store, found, loaded.judge, torch.device("cpu")):
            originals.append(shard.x.numpy())
            adversarials.append(render(threat, shard.x, shard.p).images.numpy())
            facts += [verdicts[example] for example in shard.examples.ids.tolist()]
    if not facts:
        raise AdvbenchError(f"cell {found['key'][:12]} has no examples stored yet")
    arrays: dict[str, Any] = {
        "original": np.concatenate(originals),
        "adversarial": np.concatenate(adversarials),
        "example": np.array([row["example"] for row in facts], dtype=np.int64),
        "label": np.array([row["label"] for row in facts], dtype=np.int64),
        "goal_label": np.array([row["goal_label"] for row in facts], dtype=np.int64),
        "predicted": np.array([row["predicted"] for row in facts], dtype=np.int64),
        "reached": np.array([bool(row["reached"]) for row in facts]),
        "violation": np.array([row["violation"] is not None for row in facts]),
        "size": np.array([row["size"] for row in facts], dtype=np.float64),
    }
    draft = out.with_name(f".{out.name}.{os.getpid()}{out.suffix}")
    try:
        if out.suffix == ".npz":
            np.savez_compressed(draft, **arrays)
        else:
            from safetensors.numpy import save_file

            save_file(arrays, draft)
        draft.replace(out)
    except OSError as error:
        raise AdvbenchError(f"{out}: can't be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)
    Console().print(Text(f"{out}: {len(facts)} examples ({', '.join(arrays)})"))
