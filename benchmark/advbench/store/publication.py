"""Whether images of a data set may be shown and handed on, as a database says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from advbench.store.database import Store


@dataclass(frozen=True)
class Withheld:
    """A data set whose images are not to be published, and of how many examples there are pictures all the same."""

    label: str
    pictures: int


def publishable(store: Store, fingerprint: str) -> bool:
    """Those of a data set that the database does not know may be, as far as it is concerned."""
    sql = "SELECT label, 0 AS pictures FROM datasets WHERE fingerprint = ? AND NOT publishable"
    return not store.read(Withheld, sql, fingerprint)


def stray_pictures(store: Store) -> list[Withheld]:
    """Pictures that no run keeps: somebody else wrote them."""
    return store.read(
        Withheld,
        """
        SELECT d.label, count(*) AS pictures FROM exhibits x
        JOIN cells c ON c.id = x.cell JOIN datasets d ON d.fingerprint = c.data_fingerprint
        WHERE NOT d.publishable GROUP BY d.fingerprint ORDER BY d.label, d.fingerprint
        """,
    )
