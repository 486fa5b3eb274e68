"""The README's example prints what the README says it prints."""

import re
import subprocess
import sys
from pathlib import Path

from tests.commands import as_a_user
from theory_checks.engine.catalogue import load
from theory_checks.engine.figures import registry as figures
from theory_checks.engine.markdown import table_of_papers

ROOT = Path(__file__).resolve().parents[1]


def blocks() -> list[str]:
    return re.findall(
        r"^```(?:python)?\n(.*?)^```",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )


def without_rounding(text: str) -> list[str]:
    """Lines without numbers of rounding size (they differ between machines), and other numbers to
    nine digits."""
    text = re.sub(r"\d\.\d*e-1\d", "~0", text)
    return [" ".join(line.split()) for line in re.sub(r"(\d\.\d{9})\d+", r"\1", text).splitlines()]


def test_the_example_prints_what_is_shown():
    code, shown = blocks()[:2]
    command = [sys.executable, "-c", code]
    run = subprocess.run(
        command, cwd=ROOT, env=as_a_user(), capture_output=True, text=True, check=True, timeout=300
    )
    assert without_rounding(run.stdout) == without_rounding(shown)


def test_the_example_is_short():
    assert len([line for line in blocks()[0].splitlines() if line.strip()]) <= 15


def test_the_first_screen_ends_with_a_picture():
    first = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    picture = re.fullmatch(r"!\[[^\]]{30,}\]\((\S+\.png)\)", first.strip().splitlines()[-1])
    assert picture is not None
    data = (ROOT / picture[1]).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 150_000
    # made by a figure that there is
    command = re.search(r"`python -m theory_checks figures (\S+) --out DIR`", first)
    assert command is not None
    assert command[1] in figures.load()


def test_the_table_of_papers_is_that_of_the_registry():
    """`python -m theory_checks list --format github` prints it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    registry = load()
    assert table_of_papers(registry.matching(), registry.papers) in readme
