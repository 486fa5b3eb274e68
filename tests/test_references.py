"""`docs/references.bib` has what is cited, under the names and numbers by which it is cited."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from theory_checks.engine.catalogue import load

ROOT = Path(__file__).resolve().parents[1]
_ARXIV = re.compile(r"(?<![\d.])\d{4}\.\d{4,5}(?![\d.])")
# "Papyan, Han & Donoho 2020", "Dang et al. 2023" and "Lin et al. (2017)": the last name that is
# written, and the year
_CITED = re.compile(r"([A-ZÉ][\w’'-]*)(?: et al\.)?,? \(?((?:19|20)\d\d)\b(?![-.:]?\d)")
# what else ends in a year, or looks like one
_NO_AUTHORS = {"Nov", "November", "Newton", "Python"}


@dataclass(frozen=True)
class Entry:
    """What is compared of an entry."""

    authors: tuple[str, ...]
    year: str
    arxiv: str | None


def entries() -> dict[str, Entry]:
    text = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8")
    found = {}
    for key, body in re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE))
        assert key not in found, key
        assert len(fields) == len(body.splitlines()), key
        names = tuple(name.partition(",")[0] for name in fields["author"].split(" and "))
        found[key] = Entry(names, fields["year"], fields.get("eprint"))
    assert len(found) == text.count("\n@")
    return found


ENTRIES = entries()
PAPERS = {key: paper for key, paper in load().papers.items() if paper.arxiv}


def sources() -> Iterator[Path]:
    """Where papers are cited."""
    yield from (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    yield from (ROOT / "notebooks").glob("*.md")
    for package in ("ufm", "theory_checks"):
        yield from (ROOT / package).rglob("*.py")


def text_of(path: Path) -> str:
    """In one line, and a string that goes on in the next line of code put together."""
    joined = re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))
    return " ".join(joined.split())


TEXTS = {str(path.relative_to(ROOT)): text_of(path) for path in sources()}


def citations(text: str) -> set[tuple[str, str]]:
    return {(name, year) for name, year in _CITED.findall(text) if name not in _NO_AUTHORS}


@pytest.mark.parametrize("key", PAPERS)
def test_a_paper_that_is_checked_has_its_entry(key):
    entry = ENTRIES[key.partition("_")[0]]
    assert entry.arxiv == PAPERS[key].arxiv
    first, year = entry.authors[0], entry.year
    assert PAPERS[key].title.startswith(first), key
    assert f" {year}, " in PAPERS[key].title


def test_every_number_of_arxiv_that_is_cited_has_its_entry():
    known = {entry.arxiv for entry in ENTRIES.values()}
    cited = {(where, number) for where, text in TEXTS.items() for number in _ARXIV.findall(text)}
    assert len({number for _, number in cited}) > 20
    assert {(where, number) for where, number in cited if number not in known} == set()


def test_every_name_with_a_year_has_its_entry():
    known = {(name, entry.year) for entry in ENTRIES.values() for name in entry.authors}
    cited = {(where, pair) for where, text in TEXTS.items() for pair in citations(text)}
    assert {(where, pair) for where, pair in cited if pair not in known} == set()


def test_every_entry_is_cited():
    everything = " ".join(TEXTS.values())
    cited = citations(everything)
    numbers = set(_ARXIV.findall(everything))
    for key, entry in ENTRIES.items():
        named = any((name, entry.year) in cited for name in entry.authors)
        assert named or entry.arxiv in numbers, key


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("Papyan, Han & Donoho 2020", {("Donoho", "2020")}, id="three-authors"),
        pytest.param("(Dang et al. 2023)", {("Dang", "2023")}, id="and-others"),
        pytest.param("in 2023, of 2000 steps", set(), id="numbers"),
    ],
)
def test_citations_are_found(text, found):
    assert citations(text) == found
