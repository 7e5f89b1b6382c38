"""A database of a million outcomes: `python tests/scale.py [FILE]` says how long its rates take."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from advbench.protocol import PROTOCOL
from advbench.store import Store
from advbench.store.views import VIEWS

CLASSES = 10


def generate(store: Store, *, boards: int, targets: int, attacks: int, examples: int, transfer: bool) -> int:
    """Fill the store; the number of outcomes.

    Target t is wrong on every clean example that divides by t + 5. Attack a fools where (example + a + source) divides
    by 4, on the source, and by 8 elsewhere. The last attack minimizes: its size is example / examples.
    """
    detects = [t % 2 == 1 for t in range(targets)]
    with store.transaction():
        store.begin_run({"id": "run", "seed": 0, "protocol": PROTOCOL})
        store.add_dataset(
            {
                "fingerprint": "data",
                "label": "digits",
                "classes": list("0123456789"),
                "shape": [1, 2, 2],
                "count": examples,
            }
        )
        store.add_examples("set", range(examples))
        for t in range(targets):
            store.add_target(
                {"key": f"t{t}", "label": f"model{t}", "model": f"model{t}", "defenses": "none", "dataset": "digits"}
                | {"data_fingerprint": "data", "threshold": 0.5 if detects[t] else None, "false_positive_rate": 0.05}
            )
            store.add_clean(
                f"t{t}",
                (
                    {"example": e, "label": e % CLASSES, "predicted": (e + (e % (t + 5) == 0)) % CLASSES}
                    | {"confidence": 0.9, "suspicion": float(e % 20 == 0) if detects[t] else None}
                    for e in range(examples)
                ),
            )
        for b in range(boards):
            store.add_board(
                {"key": f"b{b}", "name": f"digits/linf/{b}", "dataset": "digits", "data_fingerprint": "data"}
                | {"threat": f"linf(eps={b})", "family": f"linf{b // 2}", "eps": 0.25 + 0.25 * (b % 2)}
                | {
                    "examples": "set",
                    "count": examples,
                    "required": [f"a{a}" for a in range(attacks)],
                    "protocol": PROTOCOL,
                }
            )
        place = [
            (b, a, s)
            for b in range(boards)
            for a in range(attacks)
            for s in range(targets)
            if a < attacks - 1 or b % 2 == 0  # boards 2i and 2i + 1 share a family, so also its minimal-norm cells
        ]
        for b, a, s in place:
            minimizes = a == attacks - 1
            store.add_cell(
                {"key": f"c{b}.{a}.{s}", "dataset": "digits", "data_fingerprint": "data", "examples": "set"}
                | {"count": examples, "threat": f"linf{b}", "family": f"linf{b // 2}", "minimizes": minimizes}
                | {"eps": None if minimizes else 0.25 + 0.25 * (b % 2), "attack": f"a{a}", "goal": "untargeted"}
                | {"stop": "first", "source": f"t{s}", "protocol": PROTOCOL}
            )
        numbers = {
            row["key"]: row["id"] for table in ("cells", "targets") for row in store.rows(f"SELECT * FROM {table}")
        }
        judged = [(b, a, s, t) for b, a, s in place for t in (range(targets) if transfer else [s])]
        store.connection.executemany(
            "INSERT INTO shards (cell, shard, first, count, run) VALUES (?, 0, 0, ?, 'run')",
            ((numbers[f"c{b}.{a}.{s}"], examples) for b, a, s in place),
        )
        store.connection.executemany(
            "INSERT INTO judgements (cell, target, shard) VALUES (?, ?, 0)",
            ((numbers[f"c{b}.{a}.{s}"], numbers[f"t{t}"]) for b, a, s, t in judged),
        )
        store.connection.executemany(
            "INSERT INTO outcomes (cell, target, example, reached, predicted, confidence, suspicion, size, tolerance) "
            "VALUES (?, ?, ?, ?, ?, 0.9, ?, ?, 1e-6)",
            (
                (cell, target, e, hit, (e + hit) % CLASSES, e % 2 if detects[t] else None, e / examples)
                for b, a, s, t in judged
                for cell, target in [(numbers[f"c{b}.{a}.{s}"], numbers[f"t{t}"])]
                for e in range(examples)
                for hit in [(e + a + s) % (4 if s == t else 8) == 0]
            ),
        )
        for b, a, s in place:
            store.add_event(f"c{b}.{a}.{s}", "run", "done")
    return len(judged) * examples


def main(path: Path) -> None:
    for transfer, shape in ((True, (4, 10, 6, 500)), (False, (10, 20, 6, 1000)), (True, (6, 5, 8, 1000))):
        path.unlink(missing_ok=True)
        began = time.perf_counter()
        boards, targets, attacks, examples = shape
        with Store.open(path) as store:
            count = generate(
                store, boards=boards, targets=targets, attacks=attacks, examples=examples, transfer=transfer
            )
            print(f"{count:,} outcomes of {shape}, written in {time.perf_counter() - began:.1f} s")
        with Store.open(path, readonly=True) as store:
            began = time.perf_counter()
            with store.tallied():
                for view in VIEWS:
                    store.rates(view)
            print(f"  {'all, tallied':16} {time.perf_counter() - began:19.2f} s")
            total = 0.0
            for view in VIEWS:
                began = time.perf_counter()
                rows = len(store.rates(view))
                total += time.perf_counter() - began
                print(f"  {view:16} {rows:7,} rows {time.perf_counter() - began:6.2f} s")
            print(f"  {'all':16} {total:19.2f} s, {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "results.sqlite")
