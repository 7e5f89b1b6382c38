"""A Ray cluster of two nodes on this machine: the database of a serial run, whoever is killed in the midst of it.

In one file, so that one process starts one cluster; its two actors serve one run after the other, since the start of
each takes seconds.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import engine_tasks
import pytest
import torch
from agreement import alike, evaluate, events, shards_of, wanted
from conftest import Advbench
from processes import Child, script

from advbench.engines import cluster as door
from advbench.engines.choice import choose_engine
from advbench.engines.cluster import Cluster, cluster
from advbench.engines.cluster_crew import ClusterCrew
from advbench.engines.crew import Ended
from advbench.engines.serial import Serial
from advbench.errors import AdvbenchError, PluginError, TimeUpError
from advbench.plugins.muster import Muster, Source
from advbench.store import Store, content

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason='needs Ray: pip install "advbench[ray]"')

ROOT = Path(__file__).parents[2]
TESTS = str(ROOT / "tests")
CPU = torch.device("cpu")
KILLS = max(1, int(os.environ.get("ADVBENCH_KILLS", "3")) // 3)
NODE = {"num_cpus": 2, "object_store_memory": 80 << 20, "include_dashboard": False}
"""Two actors of the tests' own and two of a run that is killed have room on two nodes."""


class Kept:
    """An engine whose actors outlive a run."""

    workers = 2

    def __init__(self, crew: ClusterCrew) -> None:
        self._crew = crew

    def crew(self) -> Any:
        return self

    def close(self) -> None:
        assert self.busy == 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._crew, name)

    def pids(self) -> list[int]:
        """Of the actors that have begun."""
        return [int(one.node.rpartition(" ")[2].rstrip(")")) for one in self._crew._members if one.node]


@pytest.fixture(scope="module")
def nodes(toys: tuple[str, ...]) -> Iterator[Any]:
    """The cluster, under a token of its own; its workers can import what tests do."""
    importable = os.pathsep.join((TESTS, *toys))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**door.SETTINGS, "RAY_AUTH_TOKEN": "ab" * 32, "PYTHONPATH": importable}.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        from ray.cluster_utils import Cluster as Nodes

        started = Nodes(initialize_head=True, head_node_args=NODE)
        started.add_node(**NODE)
        leave = door.disconnect
        patch.setattr(door, "disconnect", lambda: None)  # others go on when a run has ended
        yield started
        leave()
        started.shutdown()


@pytest.fixture(scope="module")
def address(nodes: Any) -> str:
    return str(nodes.address)


@pytest.fixture(scope="module")
def engine(address: str) -> Iterator[Kept]:
    with closing(cluster(address, CPU, 2, tasks=100, cores=2).crew()) as crew:
        yield Kept(crew)


def ends(crew: Any, *tasks: Any) -> list[Ended]:
    """How each of them ended, in the order in which they were handed in."""
    waiting, numbers, over = list(tasks), [], {}
    while waiting or crew.busy:
        while waiting and crew.room > 0:
            numbers.append(crew.submit(waiting.pop(0)))
        ended = crew.next()
        over[ended.number] = ended
    return [over[number] for number in numbers]


def once(number: int, act: Callable[[], None]) -> Callable[[], bool]:
    """What a run asks between two tasks, which acts when it is asked for the so-many-th time."""
    calls = iter(range(1, 10**6))

    def asked() -> bool:
        if next(calls) == number:
            act()
        return False

    return asked


# The same database


EVERYTHING = ["noise", "fgsm", "pgd(steps=5)", "for-all", "raising", "fails-later", "vandal"]


def test_the_database_is_that_of_a_serial_run(engine: Kept) -> None:
    """With one perturbation for all, with attacks that fail, and with one that damages what tasks share."""
    before = len(engine._shared)
    serial, _ = alike(wanted(attacks=EVERYTHING), engine)  # type: ignore[arg-type]
    assert (serial.done, len(serial.failed)) == (14, 6)
    assert len(engine._shared) - before == 3  # two targets and the images to fit on travelled once


def test_newcomers_are_judged_and_what_is_interrupted_goes_on(engine: Kept) -> None:
    with Store.memory() as one, Store.memory() as other:
        evaluate(one, wanted(), Serial())
        assert evaluate(other, wanted(models=["small"]), engine).done == 6  # type: ignore[arg-type]
        calls = iter([False] * 6)
        assert evaluate(other, wanted(), engine, interrupted=lambda: next(calls, True)).interrupted  # type: ignore[arg-type]
        whole = {key for key, _, _ in events(other)}
        assert whole == {key for key, shards in shards_of(other).items() if shards == 3}
        assert len(content(other)["shards"]) < len(content(one)["shards"])
        assert evaluate(other, wanted(), engine).failed == []  # type: ignore[arg-type]
        assert content(one) == content(other)


# Who is lost


def killed(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


SLOW = {"attacks": ["slow(pause=0.02)", "fgsm"], "shard": 3}


Facts = tuple[dict[str, list[tuple[Any, ...]]], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def undisturbed() -> Facts:
    """What a serial run stores, and how its cells ended."""
    with Store.memory() as store:
        evaluate(store, wanted(**SLOW), Serial())
        return content(store), events(store)


def held_whole(harm: Callable[[Kept], None], engine: Kept, place: int, undisturbed: Facts) -> None:
    """A run in the midst of which somebody is lost has the facts of a serial one, and no failed cell."""
    with Store.memory() as store:
        summary = evaluate(store, wanted(**SLOW), engine, interrupted=once(place, lambda: harm(engine)))  # type: ignore[arg-type]
        assert (summary.failed, summary.done) == ([], 8)
        assert (content(store), events(store)) == undisturbed


def test_workers_that_are_killed_lose_and_double_nothing(engine: Kept, undisturbed: Facts) -> None:
    chance = random.Random(KILLS)
    for _ in range(KILLS):
        manned(engine)
        victim = chance.choice(engine.pids())
        held_whole(lambda _: killed(victim), engine, chance.randrange(8, 30), undisturbed)  # noqa: B023
        assert victim not in engine.pids()


def test_a_node_that_is_removed_loses_and_doubles_nothing(engine: Kept, nodes: Any, undisturbed: Facts) -> None:
    for _ in range(KILLS):
        (node,) = nodes.worker_nodes
        while not (victims := [pid for pid in manned(engine) if parent(pid) == raylet(node)]):
            killed(engine.pids()[0])  # so that another comes, there perhaps
        held_whole(lambda _: nodes.remove_node(node), engine, 12, undisturbed)  # noqa: B023
        assert not set(victims) & set(engine.pids())
        nodes.add_node(**NODE)


def manned(engine: Kept) -> list[int]:
    """Wait until both actors are there."""
    until = time.monotonic() + 120
    while True:
        ends(engine, *(engine_tasks.Task("say") for _ in range(4)))
        if len(engine.pids()) == 2 and all(Path(f"/proc/{pid}").exists() for pid in engine.pids()):
            return engine.pids()
        assert time.monotonic() < until
        time.sleep(0.1)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def raylet(node: Any) -> int:
    """The process that starts the workers of a node."""
    return int(node.all_processes["raylet"][0].process.pid)


CHILD = """
import sys
sys.path.insert(0, {tests!r})
import torch
from blobs import registry
from agreement import wanted
from advbench.engines.choice import choose_engine
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store
engine = choose_engine("2", torch.device("cpu"), 100, address={address!r})
with Store.open({database!r}) as store:
    run(wanted(**{slow!r}), store, registry(), Settings(engine=engine))
"""


def test_a_driver_that_is_killed_loses_and_doubles_nothing(
    engine: Kept, address: str, tmp_path: Path, undisturbed: Facts
) -> None:
    database = tmp_path / "results.sqlite"
    whole, _ = undisturbed
    chance = random.Random(KILLS)
    inside = 0
    for _ in range(KILLS):
        child = script(CHILD.format(tests=TESTS, address=address, database=str(database), slow=SLOW))
        done = shards(database)
        while shards(database) == done and child.poll() is None:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 0.5))
        child.kill()
        child.communicate()
        inside += 0 < shards(database) < len(whole["shards"])
    assert inside > 0, "no kill landed while there was work to lose"
    with Store.open(database) as store:
        assert evaluate(store, wanted(**SLOW), engine).failed == []  # type: ignore[arg-type]
        assert content(store) == whole
        assert store.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    left(2)


def shards(database: Path) -> int:
    if not database.exists():
        return 0
    try:
        with Store.open(database, readonly=True) as store:
            return len(content(store)["shards"])
    except AdvbenchError:  # it is being made
        return 0


def left(cores: int) -> None:
    """Actors of a driver that is gone give up their cores."""
    import ray

    until = time.monotonic() + 60
    while ray.available_resources().get("CPU", 0) < cores:
        assert time.monotonic() < until, ray.available_resources()
        time.sleep(0.1)


# Single tasks


def test_what_ends_or_kills_its_worker_three_times_fails_with_its_story_and_takes_nobody_along(engine: Kept) -> None:
    leave, *others = ends(engine, engine_tasks.Task("leave"), *(engine_tasks.Task("say", n) for n in range(5)))
    assert isinstance(leave.error, PluginError)
    assert str(leave.error).startswith("its worker was lost 3 times: on ")
    assert str(leave.error).count("worker process has died") == 3
    assert [(one.error, one.value[0]) for one in others] == [(None, n) for n in range(5)]


def test_a_task_that_takes_too_long_is_ended_with_its_worker_whether_it_computes_or_sleeps(engine: Kept) -> None:
    began = time.monotonic()
    hang, sleep, *others = ends(
        engine,
        *(engine_tasks.Task(do, patience=0.2) for do in ("hang", "sleep")),
        *(engine_tasks.Task("say", n) for n in range(2)),
        engine_tasks.Task("craft_and_hang", patience=0.2),
    )
    assert isinstance(hang.error, TimeUpError)
    assert isinstance(sleep.error, TimeUpError)
    assert [one.error for one in others] == [None] * 3
    assert others[-1].value == "judged"
    assert time.monotonic() - began < 120


@pytest.mark.parametrize(
    ("do", "words"),
    [("fail", "in the middle"), ("ask", "asked for gradients"), ("exit", "tried to end the program")],
)
def test_a_failure_ends_its_task_alone_and_is_not_tried_again(engine: Kept, do: str, words: str) -> None:
    failed, other = ends(engine, engine_tasks.Task(do), engine_tasks.Task("say", 1))
    assert words in str(failed.error)
    assert (other.error, other.value[0]) == (None, 1)


def test_a_worker_computes_in_one_thread_and_sees_no_gpu(engine: Kept) -> None:
    assert [one.value for one in ends(engine, engine_tasks.Task("threads"))] == [1]
    assert [one.value for one in ends(engine, engine_tasks.Task("variable", "CUDA_VISIBLE_DEVICES"))] == [""]


def test_what_can_not_be_sent_fails_and_says_so(engine: Kept) -> None:
    failed, other = ends(engine, engine_tasks.Task("say", lambda: None), engine_tasks.Task("say", 1))
    assert "can't be sent to a process of its own" in str(failed.error)
    assert other.value[0] == 1


# Who is refused


def test_a_node_with_other_versions_is_refused_by_its_name(address: str) -> None:
    here = Muster.here()
    strange = Source("blobs", "Slow", "advbench-acme", "1.0", "another digest")
    expected = replace(here, core="another digest", sources=(strange,))
    with closing(Cluster(address, 1, expected=expected).crew()) as crew, pytest.raises(AdvbenchError) as refused:
        ends(crew, engine_tasks.Task("say"))
    text = str(refused.value)
    assert f"its node {socket.gethostname()} has another advbench, another advbench-acme: install there" in text
    assert "\n" not in text


def test_a_cluster_without_gpus_is_refused_in_one_line(address: str) -> None:
    with pytest.raises(AdvbenchError, match=r"^Ray cluster at \S+: it has no GPU, but 4 CPUs and 0 GPUs: --device cpu"):
        choose_engine("auto", torch.device("cuda"), 100, address=address)


def test_no_more_workers_than_cores_tasks_and_jobs(address: str) -> None:
    assert cluster(address, CPU, None, tasks=100, cores=1).workers == 4
    assert cluster(address, CPU, None, tasks=3, cores=1).workers == 3
    assert cluster(address, CPU, 2, tasks=100, cores=1).workers == 2


@pytest.fixture
def port() -> Iterator[int]:
    """Where somebody listens who is no cluster."""
    with socket.create_server(("", 0)) as server:

        def answer() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(100)
                    connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield int(server.getsockname()[1])


def test_an_address_where_no_cluster_answers_is_refused_within_seconds(
    advbench: Advbench, tmp_path: Path, nodes: Any, port: int
) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text("name: mine\ndata: toy-blots\nexamples: 4\nmodels: toy\nattacks: noise\nthreats: linf(eps=0.2)\n")
    began = time.monotonic()
    for address, words in {
        "127.0.0.1:1": "nobody answers there",
        f"127.0.0.1:{port}": "what answers there is none",
        "ray://127.0.0.1:10001": "give HOST:PORT of its head",
        "nowhere": "give HOST:PORT of its head",
    }.items():
        refused = advbench("run", suite, "--db", tmp_path / "new.sqlite", "--address", address).complaint
        assert refused.startswith(f"Ray cluster at {address}: {words}")
    assert time.monotonic() - began < 30
    assert not (tmp_path / "new.sqlite").exists()


COMMAND = """
import sys
from advbench.cli import main
sys.path[:0] = {paths!r}
sys.argv = ["advbench", "run", {suite!r}, "--db", {database!r}, "--address", {address!r}, "--jobs", "1"]
main()
"""


@pytest.mark.slow
def test_a_wrong_token_is_refused_in_one_line(address: str, toys: tuple[str, ...], tmp_path: Path) -> None:
    out, err = command(address, toys, tmp_path, RAY_AUTH_TOKEN="cd" * 32).communicate(timeout=120)
    assert out == ""
    assert err.startswith(f"advbench: Ray cluster at {address}: the token here is not the cluster's: copy ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_stops_after_the_shards_in_flight(
    engine: Kept, address: str, toys: tuple[str, ...], tmp_path: Path
) -> None:
    child = command(address, toys, tmp_path)
    while shards(tmp_path / "new.sqlite") < 2 and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130, out + err
    assert "Stopped; nothing is lost." in out
    assert "(raylet)" not in out + err
    left(2)


def command(address: str, toys: tuple[str, ...], folder: Path, **environment: str) -> Child:
    suite = folder / "mine.yaml"
    suite.write_text(
        "name: mine\ndata: toy-blots\nshard: 1\nmodels: toy\nstop: end\n"
        "attacks: [pgd(steps=200), pgd(steps=201)]\nthreats: linf(eps=0.2)\n"
    )
    code = COMMAND.format(paths=list(toys), suite=str(suite), database=str(folder / "new.sqlite"), address=address)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return script(code)
