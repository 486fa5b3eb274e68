"""Commands of the project, started as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys


def as_a_user(**variables: str) -> dict[str, str]:
    """An environment in which XLA compiles as it does by default, not as conftest.py asks of it.

    And `variables`.
    """
    return {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | variables


def help_without(module: str, heavy: set[str]) -> str:
    """What `python -m module --help` prints, in a process that must not have imported any of
    `heavy`."""
    script = (
        "import runpy, sys\n"
        f"sys.argv = [{module + '/__main__.py'!r}, '--help']\n"
        f"try:\n    runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        f"heavy = set({sorted(heavy)!r}) & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
