"""What a fresh machine relies on.

Pins that cover what is declared, and a CI that runs what the README says.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = {
    line: Requirement(line)
    for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
}
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
]
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("line", DECLARED)
def test_each_declared_package_is_pinned_once_within_its_bounds(line, python):
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    pins = [
        p
        for p in PINS
        if p.name == DECLARED[line].name and (p.marker is None or p.marker.evaluate(environment))
    ]
    assert len(pins) == 1, pins
    (pin,) = pins[0].specifier
    assert pin.operator == "=="
    assert DECLARED[line].specifier.contains(pin.version)


def test_the_pins_record_no_place():
    assert [pin for pin in PINS if pin.url is not None] == []
    assert (
        re.findall(r"https?:|file:|--", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
        == []
    )


@pytest.mark.parametrize(
    "command",
    [
        "pip install -c constraints.txt -e .",
        'pip install -c constraints.txt -e ".[tests]"',
        "pytest",
    ],
)
def test_the_readme_says_what_ci_runs(command):
    """CI adds the extra of the linters; the environment it makes is its own."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace("[tests,dev]", "[tests]")
    pattern = re.compile(rf"(?:\.venv/bin/|step ){re.escape(command)}(?: |$)", re.MULTILINE)
    assert pattern.search(readme)
    assert pattern.search(script)
