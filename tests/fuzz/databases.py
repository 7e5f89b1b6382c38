"""Damaged copies of a database: six commands each end in words, and a number that joins is the one that was stored."""

from __future__ import annotations

from random import Random

from fuzz.joined import told
from fuzz.scene import Kind, Scene

PAGE = 4096


def case(scene: Scene, draw: Random, number: int) -> str:
    db = scene.copy("database")
    data = bytearray(db.read_bytes())
    way = draw.randrange(6)
    for _ in range(draw.choice((1, 1, 3, 10, 100))):
        place = draw.randrange(len(data)) if draw.random() < 0.8 else draw.randrange(2 * PAGE)
        if way < 3:
            data[place] ^= 1 << draw.randrange(8)
        elif way == 3:
            data[place : place + 16] = draw.randbytes(16)
        else:
            data[place : place + 4] = b"\xff" * 4
    if way == 4:
        start = draw.randrange(len(data) // PAGE) * PAGE
        data[start : start + PAGE] = bytes(PAGE)
    if way == 5:
        del data[draw.randrange(len(data)) :]
    db.write_bytes(data)
    return six(scene, db)


def six(scene: Scene, db: object) -> str:
    """What any of the commands that read a database does that it should not."""
    folder = scene.place("database-out")
    key = scene_key(scene)
    into = folder / "into.sqlite"
    for arguments in (
        ("show", "--db", db),
        ("show", "--cells", "--db", db),
        ("compare", "toy", "toy(seed=1)", "--db", db),
        ("render", "--db", db, "--out", folder / "site"),
        ("export", key, folder / "out.npz", "--db", db),
        ("verify", key, "--no-mark", "--db", db),
        ("merge", into, db),
    ):
        ended = scene.advbench(*arguments)
        if ended.improper:
            return f"{arguments[0]}: {ended.improper}"
    return told(scene, into)


def scene_key(scene: Scene) -> str:
    from advbench.store import Store

    with Store.open(scene.db, readonly=True) as store:
        return str(store.rows("SELECT key FROM cells WHERE id = 1")[0]["key"])


KIND = Kind(500, case, seconds=120)
