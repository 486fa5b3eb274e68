"""Checks on several processes say what they say on one, and nothing is lost when a process dies or
the run is stopped."""

from __future__ import annotations

import functools
import multiprocessing.context
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests.theory_checks.planting import plant
from theory_checks.engine import command as command_line
from theory_checks.engine import runner, workers
from theory_checks.engine.registry import Case, Claim, Record, Registry, Setting, Verdict


def configured():
    jax.config.update("jax_enable_x64", True)


def computed(case):
    """Its number is its own."""
    yield Claim("number", jax.numpy.sqrt(case.options["number"]) ** 2, case.options["number"], 1e-7)
    yield Record("process", {"pid": np.array([os.getpid()])})


def met(case):
    """It waits for another process to be in it as well."""
    folder = pathlib.Path(os.environ["UFM_TEST_FOLDER"])
    (folder / str(os.getpid())).touch()
    wait_until(lambda: len(list(folder.iterdir())) == 2, "nobody else came")
    yield from computed(case)


def met_there(case):
    """The same in another paper."""
    yield from met(case)


def broken(case):
    """It raises."""
    raise RuntimeError("the reason")
    yield


def deadly(case):
    """It takes its process with it, once."""
    if case.id == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    yield from computed(case)


def endless(case):
    """Its second case never ends."""
    with open(pathlib.Path(os.environ["UFM_TEST_FOLDER"], "endless"), "a") as file:
        file.write(f"{os.getpid()}\n")
    yield Claim("begun", 1.0, 1.0, 1e-7)
    if case.id == "b":
        time.sleep(600)


def planted(*names) -> Registry:
    """Three cases of each named function, which stands in a paper of its own name."""
    registry = Registry()
    for place, name in enumerate(names):
        registry.paper(name, name)
        cases = [
            Case(
                key,
                Setting.INSIDE,
                {},
                build=lambda: None,
                options={"number": 1.0 + 3 * place + i},
                full=key == "d",
            )
            for i, key in enumerate("abcd")
        ]
        plant(registry, f"{name}/what", globals()[name], cases)
    return registry


PLAIN = functools.partial(planted, "computed", "broken")
WITH_A_DEATH = functools.partial(planted, "deadly", "computed")
ENDLESS = functools.partial(planted, "endless")


def run(loader, **options):
    return list(workers.run(loader().matching(), configure=configured, loader=loader, **options))


def test_rows_are_those_of_one_process():
    checks = PLAIN().matching()
    one = list(runner.run(checks, full=True, prove=True))
    told = []
    found = workers.run(
        checks,
        jobs=2,
        full=True,
        prove=True,
        configure=configured,
        loader=PLAIN,
        on_case=lambda *what: told.append(what),
    )
    several = runner.in_order(found, checks)
    assert len(several) == 8
    for mine, theirs in zip(one, several, strict=True):
        assert (theirs.check, theirs.case) == (mine.check, mine.case)
        for name in ("verdict", "message", "settings", "proofs"):
            assert getattr(theirs, name) == getattr(mine, name)
        assert [c.measured for c in theirs.claims] == [c.measured for c in mine.claims]
        assert [r.columns["pid"] == os.getpid() for r in (*mine.records, *theirs.records)] in (
            [],
            [True, False],
        )
    assert {total for _, total, _, _ in told} == {8}


def test_processes_run_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setenv("UFM_TEST_FOLDER", str(tmp_path))
    rows = run(functools.partial(planted, "met", "met_there"), jobs=2)
    assert {row.message for row in rows} == {""}
    # a paper stays with its process
    assert all(
        len({int(r.columns["pid"][0]) for row in rows if row.paper == p for r in row.records}) == 1
        for p in ("met", "met_there")
    )


def test_quick_cases_only():
    assert [row.case.id for row in run(functools.partial(planted, "computed"), jobs=1)] == list(
        "abc"
    )


def test_a_process_that_dies_is_an_error_of_its_case_alone():
    rows = {(row.paper, row.case.id): row for row in run(WITH_A_DEATH, jobs=2)}
    assert len(rows) == 6
    lost = rows.pop(("deadly", "b"))
    assert lost.verdict is Verdict.ERROR
    assert lost.message == "the process of this case ended with status -9"
    assert lost.settings == rows["deadly", "c"].settings
    assert {row.verdict for row in rows.values()} == {Verdict.HOLDS}


def no_registry() -> Registry:
    raise SystemExit(7)


def test_processes_that_cannot_start_end_the_run():
    checks = PLAIN().matching()
    with pytest.raises(RuntimeError, match="could not start: it ended with status 7"):
        list(workers.run(checks, jobs=2, configure=configured, loader=no_registry))


def test_no_jobs_is_refused():
    with pytest.raises(ValueError, match=r"`jobs` must be >= 1; got 0"):
        run(PLAIN, jobs=0)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_no_process_outlives_a_stopped_run(tmp_path, monkeypatch):
    monkeypatch.setenv("UFM_TEST_FOLDER", str(tmp_path))
    rows = workers.run(ENDLESS().matching(), jobs=2, configure=configured, loader=ENDLESS)
    assert next(rows).case.id == "a"
    rows.close()
    (pid,) = set(map(int, (tmp_path / "endless").read_text().split()))
    assert not alive(pid)


def stoppable() -> Registry:
    registry = planted("endless", "computed")
    registry.loader = stoppable
    return registry


def test_an_interrupt_while_a_process_starts_is_not_lost(monkeypatch):
    """It was ignored, and the run went on to its end."""
    start = multiprocessing.context.SpawnProcess.start

    def struck(process):
        signal.raise_signal(signal.SIGINT)
        start(process)

    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", struck)
    with pytest.raises(KeyboardInterrupt):
        run(PLAIN, jobs=1)


SCRIPT = """
import sys
from tests.theory_checks.engine import test_workers
from theory_checks.engine import command
sys.exit(command.main(["--no-cache", "--jobs", "2"], registry=test_workers.stoppable()))
"""


@pytest.mark.parametrize(
    "everyone",
    [
        pytest.param(True, id="as-a-terminal-does"),
        pytest.param(False, id="to-the-command-alone", marks=pytest.mark.thorough),
    ],
)
def test_interrupt_prints_what_is_done_and_leaves_no_process(tmp_path, everyone):
    environment = {**os.environ, "UFM_TEST_FOLDER": str(tmp_path)}
    root = pathlib.Path(__file__).parents[3]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=root, env=environment, start_new_session=True, **pipes
    )
    begun = tmp_path / "endless"
    wait_until(
        lambda: begun.exists() and begun.read_text().count("\n") == 2,
        "the endless case did not begin",
    )
    if everyone:
        os.killpg(command.pid, signal.SIGINT)
    else:
        command.send_signal(signal.SIGINT)
    said, complained = command.communicate(timeout=60)
    assert command.returncode == 130
    # how far the other check came is chance
    assert re.search(r"^endless\n  holds +what +1 ", said, flags=re.M)
    assert re.fullmatch(r"interrupted: [1-4] of 6 cases done\n", complained)
    (pid,) = set(map(int, begun.read_text().split()))
    assert not alive(pid)
    # the processes of the command were a session of their own; that which tracks shared resources
    # ends a moment after the command
    wait_until(lambda: not alive(-command.pid), "somebody is left in the session")


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_number_of_jobs_is_checked(text, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main([f"--jobs={text}"])
    assert stop.value.code == 2
    assert f"must be a whole number >= 1; got '{text}'" in capsys.readouterr().err
