"""`advbench export`: the adversarial examples of a cell as arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from advbench.cli import options as opt
from advbench.errors import AdvbenchError
from advbench.store import Store
from advbench.terminal.text import say, terminal


def export(
    context: typer.Context,
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="The beginning of the cell's key; `advbench show --cells` lists them.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, .npz or .safetensors.")],
    db: opt.Database = opt.DATABASE,
    data: opt.DataFolder = None,
    offline: opt.Offline = False,
) -> None:
    """Write originals, adversarial images, labels and verdicts on the source, one row per example."""
    import numpy as np
    import torch
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    from advbench.run.publication import withheld
    from advbench.run.stored import crafted_in, load_dataset, stored_shards
    from advbench.target.referee import render

    if out.suffix not in {".npz", ".safetensors"}:
        raise AdvbenchError(f"{out}: the name must end in .npz or .safetensors")
    with Store.open(db, readonly=True) as store:
        stored = store.cell(cell)
        folders = opt.folders(data, offline)
        registry = context.obj.checked()
        if why := withheld(stored, registry, store):
            raise AdvbenchError(f"cell {stored.key[:12]}: {why}, nor what attacks made of them, so nothing is exported")
        _, loaded = load_dataset(registry, folders, stored.dataset, stored.data_fingerprint)
        threat = crafted_in(stored, registry)
        verdicts = {row.example: row for row in store.outcomes(stored.key, stored.source)}
        originals, adversarials, facts = [], [], []
        for shard in stored_shards(store, stored, threat, loaded.judge, torch.device("cpu")):
            originals.append(shard.x.numpy())
            adversarials.append(render(threat, shard.x, shard.p).images.numpy())
            ids = shard.examples.ids.tolist()
            if missing := [example for example in ids if example not in verdicts]:
                raise AdvbenchError(f"cell {stored.key[:12]}: example {missing[0]} has no verdict; `advbench verify`")
            for example in ids:
                if verdicts[example].label is None or verdicts[example].goal_label is None:
                    raise AdvbenchError(
                        f"cell {stored.key[:12]}: example {example} has no label or goal; `advbench verify`"
                    )
            facts += [verdicts[example] for example in ids]
    if not facts:
        raise AdvbenchError(f"cell {stored.key[:12]} has no examples stored yet")
    arrays: dict[str, Any] = {
        "original": np.concatenate(originals),
        "adversarial": np.concatenate(adversarials),
        "example": np.array([row.example for row in facts], dtype=np.int64),
        "label": np.array([row.label for row in facts], dtype=np.int64),
        "goal_label": np.array([row.goal_label for row in facts], dtype=np.int64),
        "predicted": np.array([row.predicted for row in facts], dtype=np.int64),
        "reached": np.array([bool(row.reached) for row in facts]),
        "violation": np.array([row.violation is not None for row in facts]),
        "size": np.array([row.size for row in facts], dtype=np.float64),
    }
    draft = out.with_name(f".{out.name}.{os.getpid()}{out.suffix}")
    try:
        if out.suffix == ".npz":
            np.savez_compressed(draft, **arrays)
        else:
            save_file(arrays, draft)
        draft.replace(out)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise AdvbenchError(f"{out}: can't be written ({reason}); name another place") from error
    finally:
        draft.unlink(missing_ok=True)
    say(terminal(), f"{out}: {len(facts)} examples ({', '.join(arrays)})")
