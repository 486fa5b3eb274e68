"""The command: what it prints, what it writes, and its exit status."""

import dataclasses
import errno
import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

import ufm
from tests.commands import as_a_user, help_without
from tests.theory_checks.planting import plant
from theory_checks.engine import command, files, listing, runner, terminal
from theory_checks.engine.registry import Case, Claim, Record, Registry, Setting

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
        cases = (
            Case("the case", Setting.INSIDE, {}, build=lambda: None, full=name.startswith("slow")),
        )
        function.__doc__ = f"Statement of {name}."
        plant(registry, f"paper/{name}", function, cases, regime=inside)
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
    assert "usage: python -m theory_checks" in help_without(
        "theory_checks", {"jax", "numpy", "ufm.model", "matplotlib"}
    )


def test_real_run_in_a_pipe(tmp_path):
    """One real check from a fresh process.

    Tables, nothing on standard error, rows in the file, programs in the cache.
    """
    target, cache = tmp_path / "rows.json", tmp_path / "cache"
    environment = as_a_user(XDG_CACHE_HOME=str(cache))
    arguments = [
        sys.executable,
        "-m",
        "theory_checks",
        "run",
        "-k",
        "tirer2022/ZERO",
        "--json",
        str(target),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "zero-beyond-threshold" in done.stdout
    assert "1 theorem, 4 cases: 1 holds" in done.stdout
    document = json.loads(target.read_text())
    assert document["finished"] is True
    assert {row["verdict"] for row in document["rows"]} == {"holds"}
    assert all(row["certificate_gap"] <= 1e-10 for row in document["rows"])
    assert any(cache.rglob("*-cache"))


def test_list_names_every_check(capsys):
    from theory_checks.engine.catalogue import load

    assert command.main(["list"]) == 0
    shown = capsys.readouterr().out
    for key, check in load().checks.items():
        assert key in shown
        assert check.statement in shown


def test_a_second_pattern_is_refused(capsys):
    """It took the place of the first."""
    with pytest.raises(SystemExit, match="2"):
        command.main(["run", "-k", "good", "-k", "bad"], registry=planted(good=good, bad=bad))
    assert "-k may be given once; got 'bad' too" in capsys.readouterr().err


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
    assert (status == 1) == ("FAILS paper/bad: Statement of bad." in capsys.readouterr().out)


def test_error_is_reported_and_fails(capsys):
    def broken(case):
        raise RuntimeError("the reason")
        yield

    assert command.main(["--no-cache"], registry=planted(broken=broken)) == 1
    assert "RuntimeError: the reason" in capsys.readouterr().out


def test_records_are_written_and_printed_when_asked_for(tmp_path, capsys):
    target = tmp_path / "rows.json"
    arguments = ["--no-cache", "--full", "--json", str(target)]
    assert command.main(arguments, registry=planted(slow=recorded)) == 0
    assert "a trajectory" not in capsys.readouterr().out
    assert command.main([*arguments, "--records"], registry=planted(slow=recorded)) == 0
    shown = capsys.readouterr().out
    assert "the case: a trajectory" in shown
    assert "1.0e-03" in shown
    (record,) = json.loads(target.read_text())["rows"][0]["records"]
    assert record["columns"] == {"step": [0, 1, 2], "gap": [0.5, 0.001, None]}


def test_interrupt_shows_and_writes_what_is_done(tmp_path, capsys):
    target = tmp_path / "rows.json"
    registry = planted(good=good, stop=interrupted, bad=bad)
    assert command.main(["--no-cache", "--json", str(target)], registry=registry) == 130
    shown = capsys.readouterr()
    assert "1 theorem, 1 case: 1 holds" in shown.out
    assert "interrupted: 1 of 3 cases done" in shown.err
    document = json.loads(target.read_text())
    assert document["finished"] is False
    assert [row["check"] for row in document["rows"]] == ["paper/good"]


def test_folders_are_made(tmp_path, capsys):
    rows, points = tmp_path / "deep" / "er" / "rows.json", tmp_path / "points" / "of"
    arguments = ["--no-cache", "--json", str(rows), "--counterexamples", str(points)]
    assert command.main(arguments, registry=planted(good=good)) == 0
    assert f"rows: {rows}" in capsys.readouterr().out
    assert rows.is_file()
    assert points.is_dir()


def never(case):
    raise AssertionError("ran")
    yield


def test_a_folder_that_cannot_be_made_stops_the_command(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert (
        command.main(
            ["--no-cache", "--json", str(tmp_path / "file" / "rows.json")],
            registry=planted(never=never),
        )
        == 2
    )
    assert f"--json {tmp_path / 'file'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "place"), [("--json", "folder"), ("--json", "closed"), ("--counterexamples", "x")]
)
def test_a_place_that_cannot_be_written_stops_the_command(
    option, place, tmp_path, monkeypatch, capsys
):
    path = tmp_path / place
    if place == "folder":
        path.mkdir()
        said = "it is a folder"
    else:
        # (what the superuser may write is not asked of the file system)
        monkeypatch.setattr("builtins.open", refusing(open, below=tmp_path))
        said = "no file can be written there (Permission denied)"
    arguments = ["--no-cache", option, str(path)]
    assert command.main(arguments, registry=planted(never=never)) == 2
    assert f"{option} {path}: {said}" in capsys.readouterr().err


def refusing(real, *, below):
    """`open` where nothing below a folder can be written."""

    def opened(path, mode="r", *args, **options):
        if "r" not in mode and str(path).startswith(str(below)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, mode, *args, **options)

    return opened


def test_a_write_that_fails_at_the_end_costs_no_summary(tmp_path, monkeypatch, capsys):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_whole", full)
    arguments = ["--no-cache", "--json", str(tmp_path / "rows.json")]
    assert command.main(arguments, registry=planted(good=good)) == 2
    shown = capsys.readouterr()
    assert "1 theorem, 1 case: 1 holds" in shown.out
    assert "not all was written: [Errno 28] No space left on device" in shown.err


# what the screen shows ---------------------------------------------------------------------------


def several(**papers) -> Registry:
    """A registry of several papers: by key, the functions of each."""
    registry = Registry()
    for key, functions in papers.items():
        registry.paper(key, f"The paper {key}")
        for function in functions:
            cases = (Case("the case", Setting.INSIDE, {}, build=lambda: None),)
            plant(registry, f"{key}/{function.__name__}", function, cases, regime=inside)
    return registry


def nearly(case):
    """It is nearly missed."""
    yield Claim("a loose one", 1.0, 1.0 + 1e-12, tolerance=1e-7)
    yield Claim("the tight one", 1.0, 1.0 + 9e-8, tolerance=1e-7)
    yield Claim("certificate gap", 3e-13, 0.0, tolerance=1e-10, witness=True)


def missed(case):
    """An array is missed."""
    yield Claim(
        "an array",
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        np.array([[1.0, 2.0], [3.5, 4.0]]),
        tolerance=1e-7,
        scale=2.0,
    )


def test_a_line_a_theorem(capsys):
    assert command.main(["--no-cache"], registry=several(one=[nearly])) == 0
    heading, title, line, *_ = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        "verdict",
        "theorem",
        "cases",
        "worst",
        "claim",
        "of",
        "tol.",
        "gap",
        "statement",
    ]
    assert title == "The paper one"
    assert [part.strip() for part in line.split("  ") if part.strip()] == [
        "holds",
        "nearly",
        "1",
        "the tight one",
        "90 %",
        "3e-13",
        "It is nearly missed.",
    ]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_of_a_table_is_wider_than_the_screen(width):
    from theory_checks.engine.catalogue import load

    layout = terminal.Layout.of(load().matching(), terminal.Look(width))
    (row,) = runner.run(several(one=[nearly]).matching())
    long = dataclasses.replace(row, check=dataclasses.replace(row.check, key="one/" + "n" * 40))
    for line in (*layout.heading(), *layout.paper("A title " * 40, [row, long])):
        assert len(line) <= width
    if width >= 80:
        assert layout.paper("A title", [row])[1].endswith(("missed.", "…"))


def test_a_paper_is_shown_when_its_last_check_is_done(capsys):
    shown = []

    def second(case):
        """It looks at what is shown so far."""
        shown.append(capsys.readouterr().out)
        yield GOOD

    assert command.main(["--no-cache"], registry=several(one=[nearly, missed], two=[second])) == 1
    assert "The paper one" in shown[0]
    assert "FAILS" in shown[0]
    assert "The paper two" not in shown[0]
    assert "The paper two" in capsys.readouterr().out


def test_what_does_not_hold_is_said_again_with_its_numbers(capsys):
    def broken(case):
        """It breaks down."""
        raise RuntimeError("the\nreason")
        yield

    assert command.main(["--no-cache"], registry=several(one=[nearly, missed, broken])) == 1
    shown = capsys.readouterr().out
    closing = shown[shown.index("\n\n") :].splitlines()
    assert closing[2] == "FAILS one/missed: An array is missed."
    assert closing[3] == (
        "  the case (inside the hypotheses): an array at 1, 0: measured 3, predicted 3.5; error "
        "2.500e-01 relative to 2, tolerance 1e-07"
    )
    assert closing[4] == "ERROR one/broken: It breaks down."
    assert re.fullmatch(
        r"  the case \(inside the hypotheses\): RuntimeError: the reason"
        r" \(engine/test_command\.py, line \d+\)",
        closing[5],
    )
    assert closing[7] == (
        "3 theorems, 3 cases: 1 fails, 1 not decided, 1 holds; "
        "1 tried on one side of the hypotheses only"
    )
    assert re.fullmatch(r"\d+ s by the clock, \d+ s of CPU, 1 process", closing[8])
    assert closing[9].startswith(f"float64 on cpu; ufm {ufm.__version__}, jax ")
    assert closing[10].split("  ")[0] == "next: python -m theory_checks run -k one/missed -v"


def test_verbose_shows_the_cases(capsys):
    assert command.main(["--no-cache", "-v"], registry=several(one=[nearly])) == 0
    shown = capsys.readouterr().out
    assert "if: Always." in shown
    assert re.search(r"holds +inside +90 % +3e-13 +\d\.\d s +the case: the tight one", shown)


@pytest.mark.parametrize(
    ("terminal_here", "variables", "coloured"),
    [
        pytest.param(False, {}, False, id="pipe"),
        pytest.param(True, {}, True, id="terminal"),
        pytest.param(True, {"NO_COLOR": ""}, False, id="terminal-without"),
    ],
)
def test_colours_on_a_terminal_only(terminal_here, variables, coloured, monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal_here, raising=False)
    assert command.main(["--no-cache"], registry=several(one=[missed])) == 1
    shown = capsys.readouterr().out
    assert ("\x1b[1;31mFAILS\x1b[0m" in shown) == coloured
    assert ("\x1b" in shown) == coloured


def test_json_on_the_screen_is_json_and_nothing_else(capsys):
    assert (
        command.main(["--no-cache", "--format", "json"], registry=several(one=[nearly, missed]))
        == 1
    )
    shown = json.loads(capsys.readouterr().out)
    assert [check["verdict"] for check in shown["checks"]] == ["holds", "fails"]
    assert shown["run"]["processes"] == 1
    assert shown["command"] == "python -m theory_checks --no-cache --format json"


def test_markdown_on_the_screen(capsys):
    def piped(case):
        """|x| < 1 | y."""
        yield GOOD

    assert (
        command.main(
            ["--no-cache", "--format", "github"], registry=several(one=[nearly, missed, piped])
        )
        == 1
    )
    title, _, heading, rule, *rows = (
        capsys.readouterr().out.split("\n\n**")[0].rstrip("\n").split("\n")
    )
    assert title == "### The paper one"
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in (heading, rule, *rows)
    ]
    assert {len(line) for line in cells} == {7}
    assert cells[2] == [
        "holds",
        "`nearly`",
        "It is nearly missed.",
        "1",
        "the tight one",
        "90 %",
        "3.0e-13",
    ]
    assert cells[3][0] == "**fails**"
    assert cells[4][2] == "\\|x\\| &lt; 1 \\| y."


def test_list_as_json(capsys):
    assert command.main(["list", "--json"], registry=several(one=[nearly])) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["key"] == "one/nearly"
    assert entry["statement"] == "It is nearly missed."
    assert entry["expected"] == "holds"
    assert entry["cases"] == [
        {"case": "the case", "setting": "inside", "full": False, "parameters": {}}
    ]


def test_list_as_json_holds_every_check():
    from theory_checks.engine.catalogue import load

    registry = load()
    shown = json.loads(listing.shown(registry.matching(), registry.papers, form="json"))
    assert [entry["key"] for entry in shown] == list(registry.checks)


class Closed:
    """A stream that nobody reads after some lines."""

    def __init__(self, lines):
        self.lines, self.text = lines, ""

    def write(self, text):
        if self.text.count("\n") >= self.lines:
            raise BrokenPipeError
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return False


def test_a_closed_pipe_ends_a_run_that_writes_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Closed(0))
    with pytest.raises(BrokenPipeError):
        command.main(["--no-cache"], registry=several(one=[nearly], two=[never]))


def test_a_closed_pipe_costs_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Closed(0))
    target = tmp_path / "rows.json"
    with pytest.raises(BrokenPipeError):
        command.main(
            ["--no-cache", "--json", str(target)], registry=several(one=[nearly], two=[missed])
        )
    document = json.loads(target.read_text())
    assert document["finished"] is True
    assert len(document["rows"]) == 2


def test_a_closed_pipe_is_quiet():
    """As a shell sees it: `python -m theory_checks list | head -1`."""
    command_line = f"{sys.executable} -m theory_checks list | head -1"
    done = subprocess.run(["bash", "-c", command_line], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError], ids=["keyboard", "disk-full"])
def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, stop):
    target = tmp_path / "rows.json"
    files.write_json(target, {"old": True})

    def stopped(handle):
        raise stop

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(stop):
        files.write_json(target, {"new": True})
    assert json.loads(target.read_text())["old"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


def test_cache_folder_that_cannot_be_made_is_no_cache(tmp_path, monkeypatch):
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    before = jax.config.values["jax_compilation_cache_dir"]
    assert ufm.enable_compilation_cache() is None
    assert jax.config.values["jax_compilation_cache_dir"] == before


def test_progress_on_a_terminal_says_what_how_far_and_how_long(capsys, monkeypatch):
    registry = planted(good=good, other=good)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(
        "ufm._system.progress.time.monotonic", iter(np.arange(0.0, 1e4, 5.0)).__next__
    )
    assert command.main(["--no-cache"], registry=registry) == 0
    shown = capsys.readouterr().err
    assert "cases: 0 of 2 (0 %), 5 s, paper/good: the case" in shown
    assert "cases: 1 of 2 (50 %), 10 s, about 10 s left, paper/other: the case" in shown
    assert shown.endswith("\r\x1b[K")
