"""Tasks in this process and in others: the same numbers, and whatever happens in there ends there."""

from __future__ import annotations

import os
import time
from types import ModuleType
from typing import Any

import engine_tasks
import pytest
import torch

from advbench.engines.choice import choose_engine, jobs_here
from advbench.engines.crew import Crew, Ended, Engine
from advbench.engines.processes import ProcessCrew, Processes
from advbench.engines.serial import Serial
from advbench.errors import AccessError, AdvbenchError, PluginError, TimeUpError
from advbench.interrupts import Interrupted

BOTH = pytest.mark.parametrize("engine", [Serial(), Processes(2)], ids=["serial", "processes"])


@pytest.fixture
def tasks() -> ModuleType:
    return engine_tasks


def ends(crew: Crew, *tasks: Any) -> list[Ended]:
    """How each of them ended, in the order in which they were handed in."""
    waiting, numbers, over = list(tasks), [], {}
    while waiting or crew.busy:
        while waiting and crew.room > 0:
            numbers.append(crew.submit(waiting.pop(0)))
        ended = crew.next()
        over[ended.number] = ended
    return [over[number] for number in numbers]


def performed(engine: Engine, *tasks: Any) -> list[Ended]:
    crew = engine.crew()
    try:
        return ends(crew, *tasks)
    finally:
        crew.close()


@BOTH
def test_every_task_ends_once_with_its_value(engine: Engine, tasks: ModuleType) -> None:
    values = [ended.value[0] for ended in performed(engine, *(tasks.Task("say", value) for value in range(9)))]
    assert values == list(range(9))


def test_tasks_are_performed_in_as_many_processes_as_were_asked_for(tasks: ModuleType) -> None:
    pids = {ended.value[1] for ended in performed(Processes(2), *(tasks.Task("say") for _ in range(12)))}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_a_process_computes_in_one_thread(tasks: ModuleType) -> None:
    assert [ended.value for ended in performed(Processes(1), tasks.Task("threads"))] == [1]


def test_a_process_makes_accelerators_repeat_themselves(tasks: ModuleType) -> None:
    (ended,) = performed(Processes(1), tasks.Task("settings"))
    assert ended.value == (False, True, False, False)


@BOTH
def test_a_task_is_heard_while_it_is_performed(engine: Engine, tasks: ModuleType) -> None:
    crew, heard = engine.crew(), list[tuple[int, int]]()
    try:
        crew.listen(lambda number, word: heard.append((number, word)))
        number = crew.submit(tasks.Task("tell"))
        assert crew.next().error is None
    finally:
        crew.close()
    assert heard == [(number, 0), (number, 1), (number, 2)]


@BOTH
def test_who_hears_may_end_the_waiting(engine: Engine, tasks: ModuleType) -> None:
    def enough(number: int, word: int) -> None:
        raise Interrupted

    crew = engine.crew()
    try:
        crew.listen(enough)
        crew.submit(tasks.Task("tell"))
        with pytest.raises(Interrupted):
            crew.next()
    finally:
        crew.close()


def test_processes_are_spread_over_accelerators_and_each_sees_one(tasks: ModuleType) -> None:
    engine = Processes(4, accelerators=("3", "5"))
    seen = {ended.value for ended in performed(engine, *(tasks.Task("visible") for _ in range(24)))}
    assert sorted(name for name, _ in seen) == ["3", "3", "5", "5"]
    assert len({pid for _, pid in seen}) == 4
    (alone,) = performed(Processes(1), tasks.Task("visible"))
    assert alone.value[0] == os.environ.get("CUDA_VISIBLE_DEVICES"), "nothing is hidden from whoever has no place"


def test_who_comes_in_the_place_of_a_dead_process_has_its_accelerator(tasks: ModuleType) -> None:
    crew = ProcessCrew(2, False, ("3", "5"))
    crew.start()
    try:
        ends(crew, tasks.Task("leave"), *(tasks.Task("visible") for _ in range(8)))
        assert sorted(str(member.accelerator) for member in crew._members) == ["3", "5"]
        assert {one.value[0] for one in ends(crew, *(tasks.Task("visible") for _ in range(8)))} == {"3", "5"}
    finally:
        crew.close()


def test_gpus_decide_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advbench.engines.choice._gpus", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    every, one, cpu = torch.device("cuda"), torch.device("cuda:1"), torch.device("cpu")
    names = ("0", "1", "2")
    assert choose_engine("auto", every, 100) == Processes(3, accelerators=names)
    assert choose_engine("auto", every, 100, per_gpu=2) == Processes(6, accelerators=names)
    assert choose_engine("auto", every, 2, per_gpu=2) == Processes(2, accelerators=names)
    assert choose_engine("4", every, 100) == Processes(4, accelerators=names)
    assert choose_engine("auto", one, 100) == Serial()
    assert choose_engine("auto", one, 100, per_gpu=2) == Processes(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,2, GPU-5d")
    assert choose_engine("auto", every, 100) == Processes(3, accelerators=("7", "2", "GPU-5d"))
    monkeypatch.setattr("advbench.engines.choice._gpus", lambda: 1)
    assert choose_engine("auto", every, 100) == Serial()
    for jobs, device, number, words in (
        ("auto", cpu, 2, "--per-gpu 2 needs a GPU, and this run is on cpu; --jobs is for processors"),
        ("auto", every, 0, "--per-gpu 0: give how many processes are to share a GPU, at least 1"),
        ("4", every, 2, "--per-gpu 2 and --jobs 4 both say how many processes: give one of them"),
    ):
        with pytest.raises(AdvbenchError, match=f"^{words}$"):
            choose_engine(jobs, device, 100, per_gpu=number)


def test_what_tasks_share_is_sent_to_a_process_once(tasks: ModuleType) -> None:
    heavy = tasks.Heavy(10)
    tasks.Heavy.sent = 0
    values = [
        ended.value for ended in performed(Processes(2), *(tasks.Task("add", n, held=(heavy,)) for n in range(8)))
    ]
    assert values == [10 + n for n in range(8)]
    assert tasks.Heavy.sent == 1  # made into bytes once, whoever is sent them


def test_what_a_task_damages_is_damaged_there_alone_and_replaced_when_that_is_told(tasks: ModuleType) -> None:
    heavy = tasks.Heavy(1)
    change, damage = tasks.Task("change", held=(heavy,)), tasks.Task("damage", held=(heavy,))
    assert [ended.value for ended in performed(Processes(1), change, change, damage, change)] == [2, 3, None, 2]
    assert heavy.value == 1


@pytest.mark.parametrize("engine", [Serial(), Processes(1)], ids=["serial", "processes"])
def test_a_process_remembers_what_it_made_for_the_same_place(engine: Engine, tasks: ModuleType) -> None:
    asked = [tasks.Task("count", n, group=group) for n, group in enumerate("aaabba")]
    assert [ended.value for ended in performed(engine, *asked)] == [1, 2, 3, 1, 2, 1]


@BOTH
@pytest.mark.parametrize(
    ("do", "error", "words"),
    [
        ("fail", Exception, "in the middle"),
        ("ask", AccessError, "asked for gradients"),
        ("exit", PluginError, "tried to end the program"),
    ],
)
def test_a_failure_ends_its_task_alone(
    engine: Engine, tasks: ModuleType, do: str, error: type[Exception], words: str
) -> None:
    failed, other = performed(engine, tasks.Task(do), tasks.Task("say", 1))
    assert isinstance(failed.error, error)
    assert words in str(failed.error)
    assert (other.error, other.value[0]) == (None, 1)


@pytest.mark.parametrize(
    ("do", "words"), [("leave", "its process died (exit code 3)"), ("crash", "its process died (SIGSEGV)")]
)
def test_a_task_that_ends_its_process_fails_and_those_behind_it_go_to_another(
    tasks: ModuleType, do: str, words: str
) -> None:
    first, *others = performed(Processes(1), tasks.Task(do), *(tasks.Task("say", n) for n in range(3)))
    assert str(first.error) == words
    assert [other.value[0] for other in others] == [0, 1, 2]


@pytest.mark.parametrize("do", ["hang", "sleep"])
def test_a_task_that_takes_too_long_is_ended_with_its_process(tasks: ModuleType, do: str) -> None:
    began = time.monotonic()
    slow, other = performed(Processes(1), tasks.Task(do, patience=0.2), tasks.Task("say", 1))
    assert isinstance(slow.error, TimeUpError)
    assert other.value[0] == 1
    assert time.monotonic() - began < 120


def test_what_follows_crafting_is_not_held_against_a_task(tasks: ModuleType) -> None:
    assert [ended.value for ended in performed(Processes(1), tasks.Task("craft_and_hang", patience=0.2))] == ["judged"]


def test_a_process_that_is_killed_from_outside_costs_one_task(tasks: ModuleType) -> None:
    crew = ProcessCrew(2, fresh=False)
    try:
        ends(crew, *(tasks.Task("say") for _ in range(4)))
        victim = crew._members[0].process
        crew.submit(tasks.Task("sleep"))
        while not any(member.begun for member in crew._members):
            crew._hear(next(one for one in crew._members if one.connection.poll(0.05) or True))
        sleeping = next(member for member in crew._members if member.begun)
        sleeping.process.kill()
        ended = crew.next()
        assert "SIGKILL" in str(ended.error)
        assert [one.value[0] for one in ends(crew, tasks.Task("say", 7))] == [7]
        assert victim is not None
    finally:
        crew.close()


def test_a_process_that_can_not_be_started_fails_its_tasks_and_says_what_helps(
    tasks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advbench.engines.processes.work", tasks.start_wrongly)
    for failed in performed(Processes(1), tasks.Task("say"), tasks.Task("say")):
        assert "can't be started (exit code 1)" in str(failed.error)
        assert "__main__" in str(failed.error)


def test_every_group_may_have_a_process_of_its_own(tasks: ModuleType) -> None:
    asked = [tasks.Task("say", group=group) for group in "aabb"]
    a, b, c, d = (ended.value[1] for ended in performed(Processes(1, fresh=True), *asked))
    assert a == b
    assert c == d
    assert a != c


def test_what_can_not_be_sent_fails_and_says_so(tasks: ModuleType) -> None:
    failed, other = performed(Processes(1), tasks.Task("say", lambda: None), tasks.Task("say", 1))
    assert "can't be sent to a process of its own" in str(failed.error)
    assert other.value[0] == 1


def test_an_alarm_ends_what_hangs_in_this_process(tasks: ModuleType) -> None:
    (hung,) = performed(Serial(alarm=True), tasks.Task("hang", patience=0.0))
    assert isinstance(hung.error, TimeUpError)


@pytest.mark.parametrize("asked", ["0", "-1", "two", "1.5", "", "99999"])
def test_a_number_of_jobs_that_is_none_is_refused_in_one_line(asked: str) -> None:
    with pytest.raises(AdvbenchError, match=rf"^--jobs {asked}: give auto, or how many processes, at least 1$"):
        choose_engine(asked, torch.device("cpu"), 100)


def test_as_many_jobs_as_the_machine_and_the_suite_are_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advbench.engines.choice.processors", lambda: 64)
    monkeypatch.setattr("advbench.engines.choice.free_memory", lambda: 100 << 30)
    cpu = torch.device("cpu")
    assert [jobs_here(cpu, tasks) for tasks in (1, 3, 1000)] == [1, 3, 8]
    monkeypatch.setattr("advbench.engines.choice.free_memory", lambda: 5 << 29)
    assert jobs_here(cpu, 1000) == 2
    monkeypatch.setattr("advbench.engines.choice.free_memory", lambda: 5)
    assert jobs_here(cpu, 1000) == 1
    assert choose_engine("1", cpu, 100) == Serial()
    assert choose_engine("3", cpu, 100) == Processes(3)
    assert choose_engine("1", cpu, 100, isolate=True) == Processes(1, fresh=True)


def test_a_cluster_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AdvbenchError, match=r'^Ray is not installed: pip install "advbench\[ray\]"$'):
        choose_engine("auto", torch.device("cpu"), 100, engine="ray")
