"""A small database with everything that pages show, and a reader of pages; what the tests of the site share."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from advbench.protocol import PROTOCOL
from advbench.store import Store

COUNT = 40
EVIL = "<script>alert(1)</script>\x1b[31m\x1b]8;;http://evil.example\x07\"'&\u202e{{ 7 * 7 }}"


def fill(path: Path, *, name: str = "digits/rotate-shift/30°,3px", evil: str = "") -> None:
    """Three ranked targets (two of them tied), one unranked, a detector, a failure, a skip and a note."""
    common = {"data_fingerprint": "data", "examples": "set", "count": COUNT, "threat": "linf", "family": "linf"}
    with Store.open(path) as store, store.transaction():
        store.begin_run(
            {"id": "run", "suite": f"quick{evil}", "command": f"advbench run{evil}", "seed": 0, "protocol": PROTOCOL}
            | {"versions": {f"torch{evil}": f"2{evil}"}, "hardware": {"cpu": f"fast{evil}"}}
            | {"settings": {"determinism": {f"tf32{evil}": False}, "models": [f"small-cnn{evil}"]}}
        )
        store.end_run("run", f"done{evil}")
        store.add_plugins(
            "run",
            [
                {"kind": "attack", "label": f"pgd{evil}", "distribution": f"acme{evil}", "version": f"1{evil}"}
                | {"digest": f"abc{evil}", "summary": f"Steps{evil}", "reference": f"javascript:alert(1){evil}"},
                {
                    "kind": "broken",
                    "label": f"bad{evil}",
                    "distribution": "bad",
                    "version": "0",
                    "error": f"boom{evil}",
                },
            ],
        )
        store.add_dataset(
            {
                "fingerprint": "data",
                "label": f"digits{evil}",
                "classes": [f"zero{evil}", f"one{evil}"],
                "shape": [1, 28, 28],
            }
            | {"source": f"a folder{evil}", "partial": f"half of it{evil}", "count": COUNT}
        )
        store.add_examples("set", range(COUNT))
        store.add_board(
            {
                **common,
                "key": "board",
                "name": name + evil,
                "dataset": f"digits{evil}",
                "eps": 0.3,
                "protocol": PROTOCOL,
            }
            | {"required": [f"pgd{evil}", "fgsm"]}
        )
        store.add_skips(
            "run",
            [
                {
                    "dataset": f"digits{evil}",
                    "model": f"small-cnn{evil}",
                    "defenses": "none",
                    "attack": "cw",
                    "goal": "random",
                }
                | {"threat": "rotate-shift/30°,3px" + evil, "reason": f"cw does not search this ball{evil}"},
                {"dataset": "elsewhere", "model": "small-cnn", "defenses": "none", "attack": "cw", "goal": "untargeted"}
                | {"threat": "linf/0.3", "reason": "another data set"},
            ],
        )
        fooled = {"plain": 36, "strong": 4, "strong2": 5, "detector": 20, "lacking": 10}
        for key, wrong in fooled.items():
            detects = key == "detector"
            store.add_target(
                {"key": key, "label": key + evil, "model": key, "defenses": "none", "dataset": "digits"}
                | {"data_fingerprint": "data", "threshold": 0.5 if detects else None, "false_positive_rate": 0.05}
            )
            suspicion = [float(e % 10 == 0) if detects else None for e in range(COUNT)]
            store.add_clean(
                key,
                [
                    {"example": e, "label": 0, "predicted": 0, "confidence": 1.0, "suspicion": suspicion[e]}
                    for e in range(COUNT)
                ],
            )
            for attack in (f"pgd{evil}", "fgsm", "noise"):
                hits = {"fgsm": wrong // 2, "noise": 1}.get(attack, wrong)
                cell = f"{key}-{attack}"
                store.add_cell(
                    {**common, "key": cell, "dataset": "digits", "eps": 0.3, "attack": attack, "goal": "untargeted"}
                    | {"stop": "first", "source": key, "protocol": PROTOCOL}
                )
                if key == "lacking" and attack == "fgsm":
                    store.add_event(cell, "run", "failed", f"perturb returned NaN{evil}")
                    continue
                rows = [
                    {"example": e, "reached": e < hits, "predicted": int(e < hits), "confidence": 1.0, "size": 0.3}
                    | {"suspicion": float(e % 2) if detects else None}
                    for e in range(COUNT)
                ]
                cost = {"seconds": 1.5, "forwards": 40 * COUNT, "backwards": 20 * COUNT}
                shard = {"shard": 0, "first": 0, "count": COUNT, "run": "run", **cost}
                store.add_shard(cell, shard, {key: rows})
                store.add_event(cell, "run", "done")
        transferred = [{"example": e, "reached": e < 36, "predicted": int(e < 36), "size": 0.3} for e in range(COUNT)]
        store.add_judgement(f"plain-pgd{evil}", 0, "strong", transferred)
        for key in ("plain", "strong"):
            store.add_cell(
                {**common, "key": f"{key}-cw", "dataset": "digits", "eps": None, "attack": f"cw{evil}", "minimizes": 1}
                | {"goal": "untargeted", "stop": "first", "source": key, "protocol": PROTOCOL, "needs": "gradients"}
            )
            far = 0.4 if key == "strong" else 0.1
            sizes = [
                {"example": e, "reached": 1, "predicted": 1, "confidence": 1.0, "size": far + e / 100}
                for e in range(COUNT)
            ]
            store.add_shard(f"{key}-cw", {"shard": 0, "first": 0, "count": COUNT, "run": "run"}, {key: sizes})
            store.add_event(f"{key}-cw", "run", "done")
        store.add_note("plain", f"masked{evil}", f"a black-box attack is stronger{evil}", "run")


def merge(path: Path, fooled: dict[str, int], *, attack: str = "autoattack", examples: range = range(20)) -> None:
    """Cells on other examples, as `advbench merge --keep-boards` brings them: no board judges these."""
    with Store.open(path) as store, store.transaction():
        store.add_examples(f"set {examples}", examples)
        for key, wrong in fooled.items():
            known = store.clean(key).keys()
            clean = [{"example": e, "label": 0, "predicted": 0, "confidence": 1.0} for e in examples if e not in known]
            store.add_clean(key, clean)
            cell = f"{key}-{attack}-{examples}"
            store.add_cell(
                {"key": cell, "data_fingerprint": "data", "examples": f"set {examples}", "count": len(examples)}
                | {"threat": "linf", "family": "linf", "dataset": "digits", "eps": 0.3, "attack": attack}
                | {"goal": "untargeted", "stop": "first", "source": key, "protocol": PROTOCOL, "needs": "gradients"}
            )
            hits = set(list(examples)[:wrong])
            rows = [
                {"example": e, "reached": e in hits, "predicted": int(e in hits), "confidence": 1.0, "size": 0.3}
                for e in examples
            ]
            store.add_shard(cell, {"shard": 0, "first": 0, "count": len(examples), "run": "run"}, {key: rows})
            store.add_event(cell, "run", "done")


def ask_again(path: Path) -> None:
    """A network that has been asked twice, by two sources: `after` is what `before` was."""
    with Store.open(path) as store, store.transaction():
        (board,) = store.boards()
        for key in ("before", "after"):
            shipped = {"distribution": "acme", "version": "1", "digest": "same"}
            origins = {"model": {**shipped, "digest": key}, "defenses": [shipped], "dataset": shipped}
            store.add_target(
                {"key": key, "label": "again", "model": "again", "defenses": "none", "dataset": "digits"}
                | {"data_fingerprint": "data", "weights_sha256": "w", "origins": origins}
            )
            store.add_clean(key, [{"example": e, "label": 0, "predicted": 0, "confidence": 1.0} for e in range(COUNT)])
            same = ("data_fingerprint", "examples", "count", "threat", "family", "eps")
            place = {name: getattr(board, name) for name in same}
            store.add_cell(
                {**place, "key": f"{key}-noise", "dataset": "digits", "attack": "noise", "goal": "untargeted"}
                | {"stop": "first", "source": key, "protocol": board.protocol}
            )
            rows = [{"example": e, "reached": 0, "predicted": 0, "size": 0.3} for e in range(COUNT)]
            store.add_shard(f"{key}-noise", {"shard": 0, "first": 0, "count": COUNT, "run": "run"}, {key: rows})
            store.add_event(f"{key}-noise", "run", "done")


def aim(path: Path) -> None:
    """One target on a board whose attacks aim at class 5, which nobody ever ran untargeted."""
    common = {"data_fingerprint": "data", "examples": "set", "count": 10, "threat": "linf", "family": "linf"}
    with Store.open(path) as store, store.transaction():
        store.begin_run({"id": "run", "seed": 0, "protocol": PROTOCOL})
        names = ["plane", "car", "bird", "cat", "deer", "dog"]
        store.add_dataset({"fingerprint": "data", "label": "things", "classes": names, "shape": [3, 8, 8], "count": 10})
        store.add_examples("set", range(10))
        store.add_board(
            {**common, "key": "board", "name": "things/linf/0.3", "dataset": "things", "eps": 0.3, "protocol": PROTOCOL}
            | {"required": ["pgd → class=5", "noise → class=5"]}
        )
        store.add_target(
            {"key": "t", "label": "small-cnn", "model": "small-cnn", "defenses": "none", "dataset": "things"}
            | {"data_fingerprint": "data"}
        )
        store.add_clean("t", [{"example": e, "label": 0, "predicted": 0, "confidence": 1.0} for e in range(10)])
        for attack, hits in (("pgd", 4), ("noise", 0)):
            store.add_cell(
                {**common, "key": attack, "dataset": "things", "eps": 0.3, "attack": attack, "goal": "class=5"}
                | {"stop": "first", "source": "t", "protocol": PROTOCOL}
            )
            rows = [
                {"example": e, "goal_label": 5, "reached": e < hits, "predicted": 5 * (e < hits), "size": 0.3}
                for e in range(10)
            ]
            store.add_shard(attack, {"shard": 0, "first": 0, "count": 10, "run": "run"}, {"t": rows})
            store.add_event(attack, "run", "done")


class Reader(HTMLParser):
    """Texts of the table cells by row, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.rows = [[" ".join(cell.split()) for cell in row] for row in reader.rows]
    return reader


def row_of(reader: Reader, label: str) -> list[str]:
    return next(row for row in reader.rows if len(row) > 4 and row[1].split(" ")[0] == label)
