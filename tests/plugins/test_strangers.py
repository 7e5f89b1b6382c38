"""Plugins that err, wherever they are asked: they are set aside with their reason, and everybody else goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import Child, command

from advbench import AdvbenchError, evaluate
from advbench.audit.reproduction import reproduce
from advbench.audit.verification import verify
from advbench.data import DataFolders
from advbench.engines.crew import Engine
from advbench.engines.processes import Processes
from advbench.engines.serial import Serial
from advbench.errors import PluginError, one_line
from advbench.evaluation.evaluation import Evaluation
from advbench.interrupts import listening
from advbench.plugins import data_intake
from advbench.plugins.declarations import check_declarations
from advbench.plugins.discovery import discover
from advbench.plugins.foreign import no_exit
from advbench.plugins.registry import Registry
from advbench.run.report import Summary
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store
from advbench.suite.plan import make_plan
from advbench.suite.suite import suite_from_mapping

ROOT = Path(__file__).parents[2]
SUITE: dict[str, Any] = {
    "data": "toy-blots",
    "models": ["toy"],
    "attacks": ["noise"],
    "threats": ["linf(eps=0.2)"],
    "examples": 6,
}
WAYS = {
    "exit": "SystemExit: 0",
    "bare": "BaseException: no more",
    "close": "GeneratorExit",
    "interrupt": "tried to end the program (KeyboardInterrupt)",
    "mute": "its message can't be read",
    "muter": "its message can't be read",
    "plain": "plainly wrong",
}


@pytest.fixture(scope="module")
def erring(toys: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The erring plugins, as if a distribution of them were installed; the folder with its metadata."""
    folder = tmp_path_factory.mktemp("erring")
    install(folder, "erring", "advbench_erring")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder
    sys.modules.pop("advbench_erring", None)


def install(folder: Path, name: str, module: str) -> None:
    metadata = folder / f"advbench_{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: advbench-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[advbench]\n{name} = {module}\n")


@pytest.fixture(scope="module")
def registry(erring: Path) -> Registry:
    found = discover()
    assert found.broken == []
    return found


def ran(registry: Registry, store: Store, **changed: Any) -> Summary:
    return run(suite_from_mapping({**SUITE, **changed}, registry), store, registry, Settings())


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    "place",
    [
        {"models": ["toy", "erring(where={})"]},
        {"models": ["toy", "erring(where=forward, after=0)"]},
        {"models": ["toy", "erring(where=forward, after=9)"]},
        {"defenses": ["none", "erring-defense(where=wrap)"]},
        {"defenses": ["none", "erring-defense(where=suspicion)"]},
        {"attacks": ["erring-attack(where=perturb)", "noise"]},
        {"attacks": ["erring-attack(where=content)", "noise"]},
        {"data": ["erring-data(where=load)", "toy-blots"]},
    ],
    ids=["build", "forward", "late forward", "wrap", "suspicion", "perturb", "content", "load"],
)
def test_what_errs_is_set_aside_with_its_reason_and_the_others_go_on(
    registry: Registry, place: dict[str, list[str]], how: str
) -> None:
    changed = {key: [text.replace("{}", "build") for text in texts] for key, texts in place.items()}
    changed = {
        key: [text.replace(")", f", how={how})") if "erring" in text else text for text in texts]
        for key, texts in changed.items()
    }
    with Store.memory() as store:
        summary = ran(registry, store, **changed)
        assert not summary.interrupted
        reasons = {reason for _, reason in summary.failed}
        assert len(reasons) == 1, summary.failed
        assert WAYS[how] in reasons.pop()
        assert all("erring" in label for label, _ in summary.failed)
        assert summary.done == 1, "the other one was crafted"
        (done,) = store.rows("SELECT c.attack FROM cells c JOIN outcomes o ON o.cell = c.id GROUP BY c.id")
        assert done == {"attack": "noise"}


@pytest.fixture
def building(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """With a stranger's attack that builds on another one."""
    monkeypatch.syspath_prepend(str(ROOT / "tests/acme"))
    from advbench_acme import Twice

    return replace(registry, attacks={**registry.attacks, "acme-twice": Twice()})


@pytest.mark.parametrize("engine", [Serial(), Processes(fresh=True)], ids=lambda engine: type(engine).__name__)
def test_a_strangers_attack_builds_on_one_of_the_run(building: Registry, engine: Engine) -> None:
    """By a label that this run's registry alone knows: nobody looks for it anywhere else."""
    mine = replace(building, attacks={**building.attacks, "pgd": building.attack("fgsm")})
    suite = suite_from_mapping({**SUITE, "attacks": ["acme-twice(attack=pgd)"]}, mine)
    with Store.memory() as store:
        assert run(suite, store, mine, Settings(engine=engine)).failed == []
        (cell,) = store.rows("SELECT content FROM cells")
    assert mine.origin(mine.attack("fgsm")).digest in cell["content"]


def test_an_unknown_attack_to_build_on_is_refused_when_the_suite_is_read(building: Registry) -> None:
    with pytest.raises(AdvbenchError, match=r"attack: unknown attack 'pdg'.*did you mean 'pgd'"):
        suite_from_mapping({**SUITE, "attacks": ["acme-twice(attack=pdg)"]}, building)


def test_what_an_attack_builds_on_is_a_parameter_that_holds_a_text(building: Registry) -> None:
    wrong = type("Wrong", (type(building.attacks["acme-twice"]),), {"builds_on": ("attacks",), "__doc__": "Wrong."})
    with pytest.raises(PluginError, match=r'builds_on = .*write `builds_on = \("attack",\)`'):
        check_declarations(wrong())


def test_a_set_aside_data_set_is_kept_with_every_target_that_it_cost(registry: Registry) -> None:
    with Store.memory() as store:
        summary = ran(registry, store, data=["erring-data(where=gives, how='ids twice')", "toy-blots"])
        (row,) = store.rows("SELECT * FROM skips")
        assert row["reason"].startswith("failed: erring-data(where=gives, how=")
        assert "15 ids repeat" in row["reason"]
        assert (row["model"], row["defenses"]) == ("toy", "none")
        assert [label.split("(")[0] for label, _ in summary.failed] == ["erring-data"]
        assert len(summary.boards) == 1


def test_a_network_that_ends_the_program_does_not_end_verify_or_reproduce(registry: Registry, tmp_path: Path) -> None:
    from advbench_erring import Erring, ErringModel

    with Store.open(tmp_path / "r.sqlite") as store:
        assert ran(registry, store, models=["erring(where=forward, how=exit, after=500)"]).failed == []
        before = Erring.forward
        try:
            Erring.forward = lambda self, x: sys.exit(0)  # type: ignore[method-assign]
            cells = store.cells()
            found = list(verify(store, registry, cells, folders=DataFolders.default(), device=torch.device("cpu")))
        finally:
            Erring.forward = before  # type: ignore[method-assign]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ErringModel, "build", lambda self, dataset: sys.exit(0))
            with pytest.raises(PluginError, match="it can't be made ready: it tried to end the program"):
                reproduce(store, registry, cells[0], Settings())
    (cell,) = (one for one in found if one.cell)
    assert not cell.sound
    assert "SystemExit: 0" in cell.unchecked


# Targets that can't even say whether they make sense

UNANSWERED = {**WAYS, "number": "`why_not` returned int, not a text or None"}


@pytest.mark.parametrize("how", UNANSWERED)
@pytest.mark.parametrize("kind", ["models", "defenses"])
def test_who_fails_at_saying_why_not_is_set_aside_alone_by_every_door(registry: Registry, kind: str, how: str) -> None:
    if kind == "models":
        erring = registry.model(f"erring(where=why_not, how={how})").label
        pairs, label = {"models": [erring, "toy"]}, erring
    else:
        (defense,) = registry.defense(f"erring-defense(where=why_not, how={how})")
        erring, label = defense.label, f"toy+{defense.label}"
        pairs = {"defenses": [erring, "none"]}
    with listening():  # as every command does
        plan = make_plan(suite_from_mapping({**SUITE, **pairs}, registry))
    assert [cell.source.label for cell in plan.cells] == ["toy"]
    ((target, reason),) = plan.broken
    assert (target.label, plan.skips) == (label, ())
    assert reason.startswith(f"{erring}: `why_not` ")
    assert UNANSWERED[how] in reason
    with Store.memory() as store:
        summary = ran(registry, store, **pairs)
        assert (summary.failed, summary.done, summary.skipped) == ([(label, reason)], 1, 0)
        (row,) = store.rows("SELECT * FROM skips")
        assert row["reason"] == f"failed: {reason}"

    def evaluated_with(model: str, *defenses: str) -> Evaluation:
        return evaluate(
            model,
            dataset="toy-blots",
            threats="linf(eps=0.2)",
            attacks="noise",
            defenses=defenses,
            examples=6,
            registry=registry,
        )

    if kind == "models":
        with pytest.raises(AdvbenchError, match="nothing could be attacked: erring") as alone:
            evaluated_with(erring, "none")
        assert reason in str(alone.value)
    else:
        found = evaluated_with("toy", "none", erring)
        assert (found.failed, found.skipped) == (((label, reason),), ())


# Data sets that break the contract

REFUSED = {
    "none": "`load` returned NoneType, not advbench.Data",
    "numpy": "`load` returned ndarray, not advbench.Data",
    "numpy images": "judge: images are ndarray, not a tensor; torch.from_numpy",
    "no examples": "calibrate: it is Tensor, not advbench.Examples",
    "normalised": "judge: pixels from -2 to ",
    "bytes as float": "outside [0, 1]; leave normalising to the models",
    "integers": "judge: images in torch.int64, not uint8, or float32 in [0, 1]",
    "doubles": "judge: images in torch.float64",
    "nan": "judge: pixels that are NaN, outside [0, 1]",
    "shape": "judge: images of (64,), but `shape` = (1, 8, 8)",
    "another shape": "judge: images of (1, 8, 7), but `shape` = (1, 8, 8)",
    "ids twice": "judge: 15 ids repeat; an id stands for one image",
    "labels beyond": "judge: labels outside 0 to 2, the places in `class_names`",
    "labels below": "judge: labels outside 0 to 2, the places in `class_names`",
    "float labels": "judge: labels are torch.float32 of (30,), not one whole number for each image",
    "too few labels": "judge: 30 images, 4 labels and 30 ids",
    "empty": "there is nothing to judge; the part `judge` is empty",
    "calibrated on judged": "30 images are in both calibrate and judge; split once and for all, by content",
    "calibrated on one": "1 images are in both calibrate and judge",
    "calibrated on bytes": "30 images are in both calibrate and judge",
    "numpy source": "`source` and `partial` are texts",
}


def test_every_broken_data_set_has_its_refusal(registry: Registry) -> None:
    from advbench_erring import BROKEN

    assert list(BROKEN) == list(REFUSED)


@pytest.mark.parametrize("how", REFUSED)
def test_a_data_set_that_breaks_the_contract_is_refused_before_anything_is_judged_on_it(
    registry: Registry, how: str
) -> None:
    text = f"erring-data(where=gives, how='{how}')"
    with pytest.raises(PluginError) as by_name:
        evaluate("toy", dataset=text, threats="linf(eps=0.2)", attacks="noise", examples=6, registry=registry)
    with Store.memory() as store, pytest.raises(PluginError) as by_suite:
        ran(registry, store, data=[text])
    for error in (by_name, by_suite):
        assert str(error.value).startswith(registry.dataset(text).label + ": ")
        assert REFUSED[how] in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", REFUSED)
def test_the_kit_and_a_run_hold_data_sets_against_one_contract(registry: Registry, how: str) -> None:
    from advbench.testing import checks, run_checks

    dataset = registry.dataset(f"erring-data(where=gives, how='{how}')")
    failed = [one for one in run_checks(checks(dataset, folders=DataFolders())) if one.ok is False]
    assert failed
    assert REFUSED[how].split(";")[0] in failed[0].message or "images are in both" in failed[0].message


def test_the_parts_may_number_their_images_alike(registry: Registry) -> None:
    from dataclasses import replace

    dataset = registry.dataset("toy-blots")
    data = data_intake.load(dataset, DataFolders())
    again = replace(data, calibrate=replace(data.calibrate, ids=torch.arange(len(data.calibrate))))
    assert [fault(dataset, again) for fault in data_intake.FAULTS] == [""] * len(data_intake.FAULTS)


def test_given_images_that_are_also_held_out_are_refused(registry: Registry) -> None:
    data = data_intake.load(registry.dataset("toy-blots"), DataFolders())
    x, y = data.judge.images, data.judge.labels
    with pytest.raises(AdvbenchError, match="30 images are in both calibrate and judge"):
        evaluate("toy", x, y, calibrate=(x, y), threats="linf(eps=0.2)", attacks="noise", registry=registry)


# Doors beside a run


def test_a_plan_tells_of_an_attack_that_cannot_say_how_long_it_takes(registry: Registry) -> None:
    plan = make_plan(suite_from_mapping({**SUITE, "attacks": ["erring-attack(where=passes)"]}, registry))
    with pytest.raises(PluginError, match=r"erring-attack.*`passes` failed: it tried to end the program"):
        plan.cells[0].passes(3)


def test_an_interrupt_that_nobody_can_tell_from_a_persons_stays_what_it_is() -> None:
    with pytest.raises(KeyboardInterrupt), no_exit("somebody"):
        raise KeyboardInterrupt


def test_an_interrupt_without_a_signal_is_the_plugins_own() -> None:
    match = r"somebody tried to end the program \(KeyboardInterrupt\)"
    with listening(), pytest.raises(PluginError, match=match), no_exit("somebody"):
        raise KeyboardInterrupt


def test_a_handler_of_somebody_else_is_left_alone(registry: Registry) -> None:
    heard: list[int] = []

    def theirs(number: int, frame: object) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGINT, theirs)
    try:
        with listening():
            assert signal.getsignal(signal.SIGINT) is theirs
            with pytest.raises(KeyboardInterrupt), no_exit("somebody"):
                raise KeyboardInterrupt
        evaluated(registry, "erring-attack(how=pressed)")
        assert signal.getsignal(signal.SIGINT) is theirs
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT] * 2


def evaluated(registry: Registry, *attacks: str) -> Evaluation:
    return evaluate("toy", dataset="toy-blots", threats="linf(eps=0.2)", attacks=attacks, examples=6, registry=registry)


@pytest.mark.parametrize("how", ["pressed", "tidy"])
def test_a_person_interrupts_a_notebook_and_the_handler_is_as_before(registry: Registry, how: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            evaluated(registry, f"erring-attack(how={how})", "noise")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        found = evaluated(registry, "erring-attack(how=interrupt)", "noise")
        assert [reason for _, reason in found.failed] == [
            "erring-attack(how=interrupt): `perturb` tried to end the program (KeyboardInterrupt)"
        ]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_of_the_main_thread_no_handler_is_asked_for(registry: Registry) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: evaluated(registry, "noise").failed).result() == ()


def test_an_error_without_words_is_told_by_its_kind(registry: Registry) -> None:
    from advbench_erring import HardenedMuteError, MuteError

    for kind in (MuteError, HardenedMuteError):
        assert one_line(kind()) == f"{kind.__name__}: (its message can't be read)"
        assert one_line(kind()) == f"{kind.__name__}: (its message can't be read)"


# The command line, as a process of its own: what counts is its exit code


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = started(folder, *arguments)
    out, err = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def started(folder: Path, *arguments: str) -> Child:
    """In a group of its own, as a terminal would start it."""
    toys = folder / "advbench_toys-1.0.dist-info"
    if not toys.exists():
        install(folder, "toys", "advbench_toys")
    paths = [str(folder), str(ROOT / "tests/toys")]
    return command(*arguments, folder=folder, environment={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})


RUN = ("run", "s.yaml", "--db", "r.sqlite")
LINES = """\
name: s
data: {data}
models: {models}
attacks: {attacks}
defenses: {defenses}
threats: ["linf(eps=0.2)"]
examples: 6
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    install(tmp_path, "erring", "advbench_erring")
    return tmp_path


def suite(place: Path, **changed: str) -> None:
    given = {"data": "toy-blots", "models": "toy", "attacks": "noise", "defenses": "none", **changed}
    (place / "s.yaml").write_text(LINES.format(**given))


def test_everything_that_ends_the_program_is_told_and_the_exit_code_says_so(place: Path) -> None:
    suite(
        place,
        data="[toy-blots, erring-data]",
        models="[erring, 'erring(where=forward)', toy]",
        attacks="[erring-attack, 'erring-attack(where=content)', noise]",
        defenses="[erring-defense, 'erring-defense(where=suspicion)', none]",
    )
    done = called(place, *RUN)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "1 cells crafted" in done.stdout
    for label in (
        "erring:",
        "erring(where=forward)",
        "erring-data:",
        "toy+erring-defense:",
        "erring-attack in",
        "content",
    ):
        assert any(label in line and "failed" in line for line in done.stdout.splitlines()), label
    assert done.stdout.count("tried to end the program (SystemExit: 0)") >= 6


@pytest.mark.parametrize("how", ["exit", "bare", "mute"])
def test_a_data_set_alone_that_errs_is_refused_in_one_line(place: Path, how: str) -> None:
    suite(place, data=f"erring-data(how={how})")
    done = called(place, *RUN)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("advbench: erring-data")
    assert "`load` failed" in done.stderr
    assert not (place / "r.sqlite").exists()


def test_other_commands_tell_of_plugins_that_end_the_program(place: Path) -> None:
    listed = called(place, "data")
    assert listed.returncode == 0
    for name in ("erring-data(where=find)", "erring-data"):
        refused = called(place, "data", name)
        assert refused.returncode == (2 if name == "erring-data" else 0), name
    trained = called(place, "train", "erring", "toy", "--dataset", "toy-blots")
    assert trained.returncode == 1
    assert "failed: erring" in trained.stdout
    assert "toy on toy-blots: already there" in trained.stdout
    suite(place, attacks="[noise, 'erring-attack(where=passes)']", data="[toy-blots, 'erring-data(where=find)']")
    planned = called(place, "plan", "s.yaml")
    assert planned.returncode == 1
    assert "broken: erring-attack(where=passes): `passes` failed" in planned.stdout
    assert "broken: erring-data(where=find): `find` failed" in planned.stdout
    for done in (listed, trained, planned):
        assert "Traceback" not in done.stdout + done.stderr


def test_a_hook_that_ends_the_program_after_a_run_is_told(place: Path) -> None:
    (place / "leaving.py").write_text(
        "import sys\nfrom advbench import hookimpl\n\n@hookimpl\ndef advbench_finished(database):\n    sys.exit(0)\n"
    )
    install(place, "leaving", "leaving")
    suite(place)
    done = called(place, *RUN)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed after the run: advbench-leaving" in done.stdout
    assert "`advbench_finished` tried to end the program (SystemExit: 0)" in done.stdout


def test_a_process_of_its_own_says_that_an_attack_tried_to_end_it(place: Path) -> None:
    suite(place, attacks="[erring-attack, 'erring-attack(how=bare)', noise]")
    done = called(place, *RUN, "--isolate")
    assert done.returncode == 1
    assert "`perturb` tried to end the program (SystemExit: 0)" in done.stdout
    assert "`perturb` tried to end the program (BaseException: no more)" in done.stdout
    assert "1 cells crafted" in done.stdout


# Ctrl-C, a person's and a plugin's


def states(place: Path) -> list[tuple[str, str]]:
    with Store.open(place / "r.sqlite", readonly=True) as store:
        return [
            (row["attack"], row["status"])
            for row in store.rows("SELECT c.attack, e.status FROM cell_events e JOIN cells c ON c.id = e.cell")
        ]


@pytest.mark.parametrize("isolate", [(), ("--isolate",)], ids=["here", "isolated"])
def test_a_plugin_that_raises_an_interrupt_stops_nobody_else(place: Path, isolate: tuple[str, ...]) -> None:
    suite(place, attacks="['erring-attack(how=interrupt)', noise]", models="['erring(how=interrupt)', toy]")
    done = called(place, *RUN, *isolate)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 cells crafted" in done.stdout
    assert "`perturb` tried to end the program (KeyboardInterrupt)" in done.stdout
    assert "erring(how=interrupt) tried to end the program (KeyboardInterrupt)" in done.stdout
    assert states(place) == [("erring-attack(how=interrupt)", "failed"), ("noise", "done")]


@pytest.mark.parametrize("isolate", [(), ("--isolate",)], ids=["here", "isolated"])
def test_a_person_still_stops_a_run_and_nothing_is_lost(place: Path, isolate: tuple[str, ...]) -> None:
    suite(place, attacks="[noise, 'erring-attack(how=hangs)']")
    process = started(place, *RUN, *isolate)
    try:
        while not (place / "hanging").exists():
            assert process.poll() is None
            time.sleep(0.05)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)  # to all of them, as a terminal does
            time.sleep(0.5)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, out + err
    assert "Stopped; nothing is lost. Go on with: advbench run s.yaml --db r.sqlite" in " ".join(out.split())
    assert "Traceback" not in out + err
    assert states(place) == [("noise", "done")]
    suite(place, attacks="noise")
    assert "1 kept" in called(place, *RUN).stdout


def test_an_interrupt_that_a_plugin_raises_is_its_fault_in_plan_check_and_when_it_is_imported(place: Path) -> None:
    (place / "leaving.py").write_text("raise KeyboardInterrupt\n")
    install(place, "leaving", "leaving")
    suite(place, attacks="[noise, 'erring-attack(where=passes, how=interrupt)']")
    planned = called(place, "plan", "s.yaml")
    assert planned.returncode == 1, planned.stdout + planned.stderr
    assert "`passes` failed: it tried to end the program (KeyboardInterrupt)" in " ".join(planned.stdout.split())
    assert "advbench-leaving 1.0 (entry point leaving) is broken and was left out: KeyboardInterrupt" in planned.stderr
    checked = called(place, "check", "erring-attack(how=interrupt)")
    assert checked.returncode == 1
    assert "tried to end the program (KeyboardInterrupt)" in " ".join(checked.stdout.split())


def test_the_command_line_sets_aside_who_fails_at_saying_why_not(place: Path) -> None:
    erring = "erring(where=why_not)"
    suite(place, models=f"['{erring}', toy]", defenses="['erring-defense(where=why_not, how=number)', none]")
    planned, done, checked = called(place, "plan", "s.yaml"), called(place, *RUN), called(place, "check", erring)
    told = f"{erring}: `why_not` failed: it tried to end the program (SystemExit: 0)"
    for one in (planned, done, checked):
        assert one.returncode == 1, one.stdout + one.stderr
        assert told in " ".join(one.stdout.split())
        assert "Traceback" not in one.stdout + one.stderr
    for one in (planned, done):
        assert "`why_not` returned int, not a text or None" in " ".join(one.stdout.split())
    assert "1 cells crafted" in done.stdout
