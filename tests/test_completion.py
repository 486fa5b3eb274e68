"""What a shell completes, asked of bash itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import as_a_user
from theory_checks.engine import options
from ufm import __main__ as command
from ufm._system.completion import SHELLS, script

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = {
    "ufm": script(command.parser(), prog="ufm", shell="bash", words=command._words()),
    "ufm-checks": script(options.parser(), prog="ufm-checks", shell="bash", words=options._words()),
}


def completed(line: str) -> list[str]:
    """What bash offers at the end of a line."""
    words = line.split(" ")
    prog = words[0]
    function = f"_{prog.replace('-', '_')}_complete"
    given = " ".join(f"'{word}'" for word in words)
    asked = f"{SCRIPTS[prog]}\nCOMP_WORDS=({given}) COMP_CWORD={len(words) - 1}\n{function}\n"
    asked += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ufm s", ["solve", "sweep"]),
        ("ufm solve --class", ["--class-counts", "--classifier"]),
        ("ufm solve --loss sq", ["squared-error"]),
        ("ufm sweep --re", ["--resume"]),
        ("ufm-checks a", ["all"]),
        ("ufm-checks run --format g", ["github"]),
        ("ufm-checks run -k hong", ["hong2023"]),
        ("ufm-checks report --fr", ["--from"]),
        ("ufm sweep pyproj", ["pyproject.toml"]),
    ],
)
def test_bash_offers(line, offered):
    assert completed(line) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_is_completed_in_every_shell(shell):
    text = script(command.parser(), prog="ufm", shell=shell, words={})
    for name in ("solve", "sweep", "measure", "class-counts", "resume"):
        assert name in text


@pytest.mark.parametrize("module", ["ufm", "theory_checks"])
def test_a_command_prints_its_completion_without_jax(module):
    code = (
        "import sys, runpy; sys.argv = [sys.argv[1], '--completion', 'bash']\n"
        f"try: runpy.run_module('{module}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'jax' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, module],
        env=as_a_user(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "complete -o filenames -F" in done.stdout
