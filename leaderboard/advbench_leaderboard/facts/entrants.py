"""Who takes part: targets and attacks, with all that is known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench.store import Store


@dataclass(frozen=True)
class Said:
    """What a plugin says of itself."""

    summary: str
    reference: str
    """An address, or nothing; link it with the `reference` macro, which takes http(s) alone."""


@dataclass(frozen=True)
class Target:
    """A trained model behind its defenses."""

    key: str
    number: int
    """The database's own; for questions in SQL, never for a page."""
    label: str
    """Told apart by the key's beginning where two targets share it; the one that boards list keeps it, where the others
    are the same network."""
    model: str
    defenses: str
    dataset: str
    data_fingerprint: str
    params: Mapping[str, Any]
    origins: Mapping[str, Any]
    weights_sha256: str | None
    recipe: Mapping[str, Any] | None
    access: str | None
    threshold: float | None
    asked: float | None
    """The false-positive rate that the threshold was set for."""
    randomised: bool
    draws: int
    """By how many answers to the same image it is judged."""

    @property
    def family(self) -> str:
        """The model without its parameters."""
        return self.model.partition("(")[0]

    @property
    def defense_family(self) -> str:
        return "+".join(part.partition("(")[0] for part in self.defenses.split("+"))


@dataclass(frozen=True)
class Attack:
    """An attack with its parameters, as its cells name it."""

    label: str
    name: str
    needs: str | None
    """What it may ask of a target, in words; None in databases of old."""
    minimizes: bool
    params: Mapping[str, Any]
    origin: Mapping[str, Any]


@dataclass(frozen=True)
class Dataset:
    fingerprint: str
    label: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    source: str
    partial: str
    count: int


def targets(store: Store) -> dict[str, Target]:
    rows = store.rows("SELECT * FROM targets ORDER BY label, key")
    told = store.rows("SELECT target, max(current) AS current FROM board_targets GROUP BY target")
    superseded = {row["target"] for row in told if not row["current"]}
    crowd = Counter((row["label"], row["data_fingerprint"]) for row in rows if row["key"] not in superseded)
    return {
        row["key"]: Target(
            key=row["key"],
            number=row["id"],
            label=f"{row['label']} #{row['key'][:8]}"
            if row["key"] in superseded or crowd[row["label"], row["data_fingerprint"]] > 1
            else row["label"],
            model=row["model"],
            defenses=row["defenses"],
            dataset=row["dataset"],
            data_fingerprint=row["data_fingerprint"],
            params=row["params"] or {},
            origins=row["origins"] or {},
            weights_sha256=row["weights_sha256"],
            recipe=row["recipe"],
            access=row["access"],
            threshold=row["threshold"],
            asked=row["false_positive_rate"] if row["threshold"] is not None else None,
            randomised=bool(row["randomised"]),
            draws=row["draws"],
        )
        for row in rows
    }


def attacks(store: Store) -> dict[str, Attack]:
    """By label; of cells that differ in what the attack is, the newest tells."""
    return {
        row["attack"]: Attack(
            label=row["attack"],
            name=row["attack"].partition("(")[0],
            needs=row["needs"],
            minimizes=bool(row["minimizes"]),
            params=row["attack_params"] or {},
            origin=row["origin"] or {},
        )
        for row in store.rows("""
            SELECT attack, needs, minimizes, attack_params, origin FROM cells
            WHERE id IN (SELECT max(id) FROM cells GROUP BY attack) ORDER BY attack
        """)
    }


def datasets(store: Store) -> dict[str, Dataset]:
    return {
        row["fingerprint"]: Dataset(
            fingerprint=row["fingerprint"],
            label=row["label"],
            classes=tuple(str(name) for name in row["classes"]),
            shape=tuple(row["shape"]),
            source=row["source"] or "",
            partial=row["partial"] or "",
            count=row["count"],
        )
        for row in store.rows("SELECT * FROM datasets ORDER BY label, fingerprint")
    }


def nameless(board: Mapping[str, Any]) -> Dataset:
    """What a board tells of a data set that the database says nothing about."""
    return Dataset(board["data_fingerprint"], board["dataset"], (), (), "", "", 0)


def said(store: Store) -> dict[tuple[str, str], Said]:
    """By kind and label, and by kind and name for other parameters of the same plugin; the newest run's words."""
    found: dict[tuple[str, str], Said] = {}
    for row in store.rows("""
        SELECT p.kind, p.label, p.summary, p.reference FROM plugins p JOIN runs r ON r.id = p.run
        WHERE p.summary IS NOT NULL ORDER BY r.started, r.id
    """):
        words = Said(row["summary"], row["reference"] or "")
        found[row["kind"], row["label"]] = words
        found[row["kind"], row["label"].partition("(")[0]] = words
    return found
