"""Who takes part: targets and attacks, with all that is known of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from advbench.store import Store


@dataclass(frozen=True)
class Description:
    """What a plugin says of itself."""

    kind: str = ""
    label: str = ""
    summary: str = ""
    reference: str = ""
    """An address, or nothing; link it with the `reference` macro, which takes http(s) alone."""


@dataclass(frozen=True)
class Target:
    """A trained model behind its defenses."""

    key: str
    number: int
    """The database's own; for questions in SQL, never for a page."""
    label: str
    """Of targets that share one, the one of the newest protocol that boards list keeps it, if it is the only such; the
    others are told apart by the beginning of their keys."""
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
    publishable: bool
    """Whether its images may be shown."""


@dataclass(frozen=True)
class _Place:
    """Where a target stands, as far as its label depends on it."""

    target: str
    stands: bool
    """Whether no board has a later target of the same network in its place."""
    protocol: int
    """Of its boards, or of its cells where it has none; the newest."""


def targets(store: Store) -> dict[str, Target]:
    """By key, in the order of labels and keys."""
    stored = store.read(
        Target,
        """
        SELECT key, id AS number, label, model, defenses, dataset, data_fingerprint, coalesce(params, '{}') AS params,
          coalesce(origins, '{}') AS origins, weights_sha256, recipe, access, threshold,
          CASE WHEN threshold IS NOT NULL THEN false_positive_rate END AS asked, randomised, draws
        FROM targets ORDER BY label, key
        """,
    )
    places = store.read(
        _Place,
        """
        SELECT t.key AS target, coalesce(p.stands, 1) AS stands,
          coalesce(p.protocol, (SELECT max(c.protocol) FROM cells c WHERE c.source = t.key), 0) AS protocol
        FROM targets t LEFT JOIN (
          SELECT s.target, max(s.current) AS stands, max(b.protocol) AS protocol
          FROM board_targets s JOIN boards b ON b.key = s.board GROUP BY s.target
        ) p ON p.target = t.key
        """,
    )
    numbered = _numbered(stored, {place.target: place for place in places})
    return {
        target.key: replace(target, label=f"{target.label} #{target.key[:8]}") if target.key in numbered else target
        for target in stored
    }


def _numbered(targets: Sequence[Target], places: Mapping[str, _Place]) -> frozenset[str]:
    """The keys of the targets that don't keep their label."""
    alike: dict[tuple[str, str], list[_Place]] = defaultdict(list)
    for target in targets:
        alike[target.label, target.data_fingerprint].append(places[target.key])
    numbered: set[str] = set()
    for some in alike.values():
        newest = max((place.protocol for place in some if place.stands), default=None)
        keep = [place for place in some if place.stands and place.protocol == newest]
        numbered.update(place.target for place in some if len(keep) != 1 or place is not keep[0])
    return frozenset(numbered)


def attacks(store: Store) -> dict[str, Attack]:
    """By label; of cells that differ in what the attack is, the newest tells."""
    newest = store.read(
        Attack,
        """
        SELECT attack AS label, needs, minimizes, coalesce(attack_params, '{}') AS params,
          coalesce(origin, '{}') AS origin
        FROM cells WHERE id IN (SELECT max(id) FROM cells GROUP BY attack) ORDER BY attack
        """,
    )
    return {attack.label: attack for attack in newest}


def datasets(store: Store) -> dict[str, Dataset]:
    stored = store.read(
        Dataset,
        """
        SELECT fingerprint, label, classes, shape, coalesce(source, '') AS source, coalesce(partial, '') AS partial,
          count, publishable
        FROM datasets ORDER BY label, fingerprint
        """,
    )
    return {  # JSON knows lists alone
        dataset.fingerprint: replace(dataset, classes=tuple(map(str, dataset.classes)), shape=tuple(dataset.shape))
        for dataset in stored
    }


def nameless(fingerprint: str, label: str) -> Dataset:
    """A data set that the database says nothing about."""
    return Dataset(fingerprint, label, (), (), "", "", 0, True)


def descriptions(store: Store) -> dict[tuple[str, str], Description]:
    """By kind and label, and by kind and name for other parameters of the same plugin; the newest run's words."""
    newest: dict[tuple[str, str], Description] = {}
    for one in store.read(
        Description,
        """
        SELECT p.kind, p.label, p.summary, coalesce(p.reference, '') AS reference
        FROM plugins p JOIN runs r ON r.id = p.run
        WHERE p.summary IS NOT NULL ORDER BY r.started, r.id
        """,
    ):
        newest[one.kind, one.label] = one
        newest[one.kind, one.label.partition("(")[0]] = one
    return newest
