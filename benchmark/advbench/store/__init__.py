"""The facts, in SQLite, and the perturbations beside them; imports no torch until a perturbation is read or written."""

from advbench.store.artifacts import Artifacts
from advbench.store.content import content
from advbench.store.database import Row, Store
from advbench.store.migrations import SCHEMA_VERSION

__all__ = ["SCHEMA_VERSION", "Artifacts", "Row", "Store", "content"]
