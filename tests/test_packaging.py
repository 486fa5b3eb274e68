"""What a fresh machine relies on.

Pins that cover what is declared, a CI that runs what the README says, and a wheel and an sdist that
work away from the checkout.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import ufm
from tests.commands import as_a_user
from theory_checks.engine import command as checks_command

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = {
    line: Requirement(line)
    for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    # an extra may bring another one of our own
    if Requirement(line).name != PROJECT["name"]
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


def built(target: str, folder: Path, source: Path = ROOT) -> Path:
    """A wheel or an sdist of a tree of source, made without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder that the wheel is installed in, without its dependencies, which are here."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    command += ["--disable-pip-version-check", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder


def as_installed(installed: Path, folder: Path, *command: str) -> str:
    """What a command of the installed package prints, started in a folder with nothing in it."""
    done = subprocess.run(
        [str(installed / "bin" / command[0]), *command[1:]],
        cwd=folder,
        env=as_a_user(PYTHONPATH=str(installed), XDG_CACHE_HOME=str(folder / "cache")),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_is_what_an_sdist_makes(wheel, tmp_path):
    sdist = built("sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        # (from 3.11.4 on, and asked for from 3.12 on)
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path / "source", **safely)
    (source,) = (tmp_path / "source").iterdir()
    again = built("wheel", tmp_path / "wheel", source)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {i.filename: i.CRC for i in first.infolist()} == {
            i.filename: i.CRC for i in second.infolist()
        }
    # and its tests find what they read
    for name in ("constraints.txt", "CHANGELOG.md", ".ci/run", "docs/writing_a_check.md"):
        assert (source / name).is_file()


def test_the_wheel_holds_every_file_of_both_packages(installed):
    for package in ("ufm", "theory_checks"):
        tree = [path for path in (ROOT / package).rglob("*") if path.is_file()]
        needed = {str(p.relative_to(ROOT)) for p in tree if "__pycache__" not in p.parts}
        assert {name for name in needed if not (installed / name).is_file()} == set()
    assert not (installed / "tests").exists()


@pytest.mark.parametrize("command", ["ufm", "ufm-checks"])
def test_an_installed_command_says_its_version_and_its_name(command, installed, tmp_path):
    assert as_installed(installed, tmp_path, command, "--version") == f"ufm {ufm.__version__}\n"
    assert as_installed(installed, tmp_path, command, "--help").startswith(f"usage: {command} ")


def test_the_installed_package_works_outside_the_checkout(installed, tmp_path):
    solve = ("ufm", "solve", "--class-counts", "4,4", "--lambda-W", "1e-2", "--lambda-H", "1e-2")
    document = json.loads(as_installed(installed, tmp_path, *solve, "--json"))
    assert document["ufm"] == ufm.__version__
    assert document["solution"]["result"] == "CONVERGED"
    checks = as_installed(installed, tmp_path, "ufm-checks", "list", "-k", "mse-balanced")
    assert "mse-balanced" in checks


def test_a_page_without_its_extra_is_refused_before_anything_is_run(monkeypatch, tmp_path, capsys):
    for name in [name for name in sys.modules if name.startswith("theory_checks.engine.html")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("theory_checks.engine.html_report", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for command in ("report", "all"):
        assert checks_command.main([command, "--out", str(tmp_path / "page")]) == 2
        assert "a page needs the extra `ufm[report]`" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_the_dated_edition_is_the_one_to_cite():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(r"^## (\d+\.\d+\.\d+) – (\S+)$", changes, re.MULTILINE)
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert heading is not None
    assert f"\nversion: {heading[1]}\n" in cited
    assert f'\ndate-released: "{heading[2]}"\n' in cited
    # what is not released yet has a version of its own
    assert Version(ufm.__version__) > Version(heading[1]) or "## Unreleased" not in changes


@pytest.mark.parametrize("name", ["theorem", "counterexample"])
def test_a_template_of_an_issue_is_that_of_contributing(name):
    template = (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.md").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert template.partition("\n---\n")[2].strip() in contributing
    title = re.search(r"^name: (.+)$", template, re.MULTILINE)
    assert title is not None
    assert f"## {title[1]}\n" in contributing
