"""Whether what an attack made of a data set's images may be handed on: neither its plugin nor a database says no."""

from __future__ import annotations

from advbench.errors import AdvbenchError
from advbench.plugins.registry import Registry
from advbench.store import Store
from advbench.store.publication import publishable
from advbench.store.rows import BallRow


def withheld(row: BallRow, registry: Registry, *stores: Store) -> str:
    """Why nothing that shows the images of a cell is handed on, in words; empty where it may be."""
    try:
        declared = registry.dataset(row.dataset).publishable
    except AdvbenchError:  # a plugin that is not here; what the database says of it is what is known
        declared = True
    if declared and all(publishable(store, row.data_fingerprint) for store in stores):
        return ""
    return f"images of {row.dataset} are not to be published"
