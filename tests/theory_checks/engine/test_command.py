"""The command: what it prints, what it writes, and its exit status."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.commands import help_without
from theory_checks.engine import command, report
from theory_checks.engine.registry import Case, Claim, Record, Registry, Setting
from ufm import _command

GOOD = Claim("good", 1.0, 1.0, tolerance=1e-7)
BAD = Claim("bad", 1.0, 2.0, tolerance=1e-7)


def inside(case):
    """Always."""
    return Setting.INSIDE


def planted(**functions) -> Registry:
    """A registry of checks that solve nothing; a function named slow_… has only slow cases."""
    registry = Registry()
    registry.paper("paper", "A paper")
    for name, function in functions.items():
        cases = (Case("the case", Setting.INSIDE, {}, build=lambda: None, full=name.startswith("slow")),)
        function.__doc__ = f"Statement of {name}."
        registry.check(key=f"paper/{name}", formula="", source="", regime=inside, cases=cases)(function)
    return registry


def good(case):
    yield GOOD


def bad(case):
    yield BAD


def interrupted(case):
    raise KeyboardInterrupt
    yield


def recorded(case):
    yield GOOD
    yield Record("a trajectory", {"step": np.arange(3), "gap": np.array([0.5, 1e-3, np.nan])})


def test_help_is_quick_because_it_imports_nothing_heavy():
    assert "usage: python -m theory_checks" in help_without("theory_checks", {"jax", "numpy", "ufm.problem", "matplotlib"})


def test_real_run_in_a_pipe(tmp_path):
    """One real check from a fresh process: tables, nothing on standard error, rows in the file, programs in the cache."""
    target, cache = tmp_path / "rows.json", tmp_path / "cache"
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    arguments = [sys.executable, "-m", "theory_checks", "run", "-k", "tirer2022/ZERO", "--json", str(target)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "zero-beyond-threshold" in done.stdout
    assert "1 theorems, 4 cases" in done.stdout
    document = json.loads(target.read_text())
    assert document["finished"] is True
    assert {row["verdict"] for row in document["rows"]} == {"holds"}
    assert all(row["certificate_gap"] <= 1e-10 for row in document["rows"])
    assert any(cache.rglob("*-cache"))


def test_list_names_every_check(capsys):
    from theory_checks.engine.registry import load

    assert command.main(["list"]) == 0
    shown = capsys.readouterr().out
    for key, check in load().checks.items():
        assert key in shown
        assert check.statement in shown


def test_list_with_pattern(capsys):
    assert command.main(["list", "-k", "GOOD"], registry=planted(good=good, bad=bad)) == 0
    shown = capsys.readouterr().out
    assert "paper/good" in shown
    assert "paper/bad" not in shown


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        pytest.param(["--no-cache"], 1, id="a-failure"),
        pytest.param(["run", "--no-cache"], 1, id="run-spelled-out"),
        pytest.param(["--no-cache", "-k", "good"], 0, id="only-the-good-one"),
        pytest.param(["--no-cache", "-k", "bad"], 1, id="only-the-bad-one"),
        pytest.param(["--no-cache", "-k", "nothing"], 2, id="no-such-check"),
        pytest.param(["--no-cache", "-k", "slow"], 2, id="slow-ones-need-full"),
        pytest.param(["--no-cache", "-k", "slow", "--full"], 0, id="slow-with-full"),
    ],
)
def test_exit_status(arguments, status, capsys):
    registry = planted(good=good, bad=bad, slow_good=recorded)
    assert command.main(arguments, registry=registry) == status
    assert (status == 1) == ("FAILS paper/bad, case the case" in capsys.readouterr().out)


def test_error_is_reported_and_fails(capsys):
    def broken(case):
        raise RuntimeError("the reason")
        yield

    assert command.main(["--no-cache"], registry=planted(broken=broken)) == 1
    assert "RuntimeError: the reason" in capsys.readouterr().out


def test_records_are_printed_and_written(tmp_path, capsys):
    target = tmp_path / "rows.json"
    assert command.main(["--no-cache", "--full", "--json", str(target)], registry=planted(slow=recorded)) == 0
    shown = capsys.readouterr().out
    assert "a trajectory" in shown
    assert "1.0e-03" in shown
    (record,) = json.loads(target.read_text())["rows"][0]["records"]
    assert record["columns"] == {"step": [0, 1, 2], "gap": [0.5, 0.001, None]}


def test_interrupt_shows_and_writes_what_is_done(tmp_path, capsys):
    target = tmp_path / "rows.json"
    registry = planted(good=good, stop=interrupted, bad=bad)
    assert command.main(["--no-cache", "--json", str(target)], registry=registry) == 130
    shown = capsys.readouterr()
    assert "1 theorems, 1 cases" in shown.out
    assert "interrupted: 1 of 3 cases done" in shown.err
    document = json.loads(target.read_text())
    assert document["finished"] is False
    assert [row["check"] for row in document["rows"]] == ["paper/good"]


def test_json_folder_is_checked_before_the_run(tmp_path, capsys):
    def never(case):
        raise AssertionError("ran")
        yield

    assert command.main(["--no-cache", "--json", str(tmp_path / "absent" / "rows.json")], registry=planted(never=never)) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError], ids=["keyboard", "disk-full"])
def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, stop):
    target = tmp_path / "rows.json"
    report.write_json(target, {"old": True})

    def stopped(handle):
        raise stop

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(stop):
        report.write_json(target, {"new": True})
    assert json.loads(target.read_text())["old"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


def test_cache_folder_that_cannot_be_made_is_no_cache(tmp_path, monkeypatch):
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert _command.cache_folder() is None


def test_progress_on_a_terminal_says_what_how_far_and_how_long(capsys, monkeypatch):
    registry = planted(good=good, other=good)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("ufm._progress.time.monotonic", iter(np.arange(0.0, 1e4, 5.0)).__next__)
    assert command.main(["--no-cache"], registry=registry) == 0
    shown = capsys.readouterr().err
    assert "cases: 0 of 2 (0 %), 5 s, paper/good: the case" in shown
    assert "cases: 1 of 2 (50 %), 10 s, about 10 s left, paper/other: the case" in shown
    assert shown.endswith("\r\x1b[K")
