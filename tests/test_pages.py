"""The pages of the documentation: what they show is what is printed, and made pages are as made."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import textwrap
from pathlib import Path

import pytest

import ufm
from docs.site import support
from docs.site.__main__ import KEPT, start
from docs.site.api import as_markdown, namespaces, pages, public_names
from docs.site.theorems import page as page_of_theorems
from theory_checks.engine.catalogue import load
from ufm.command_line import spec

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```(python)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")
SHOWN = ("certificates", "your_network", "writing_a_loss", "writing_a_domain")


def without_rounding(text: str) -> list[str]:
    """Lines without numbers of the size of rounding, and the others to six digits."""
    text = re.sub(r"\d+(\.\d+)?e-1\d", "~0", text)
    return [" ".join(line.split()) for line in re.sub(r"(\d\.\d{6})\d+", r"\1", text).splitlines()]


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_shows_what_its_code_prints(name, tmp_path, monkeypatch):
    """`docs/site/fill.py` writes what is printed into a page."""
    from docs.site.fill import shown

    monkeypatch.chdir(tmp_path)
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    found = list(shown(text))
    assert found
    for printed, page in found:
        assert without_rounding(printed) == without_rounding(page)


def test_the_page_of_domains_names_all_that_a_domain_is_asked_for():
    """And which of it is obligatory."""
    page = (DOCS / "writing_a_domain.md").read_text(encoding="utf-8")
    base = ufm.domains.AbstractDomain
    asked = {name for name in {*vars(base), *base.__annotations__} if not name.startswith("_")}
    assert {name for name in asked if f"`{name}`" not in page} == set()
    (sentence,) = re.findall(r"^Four methods are obligatory.*?\. ", page, re.MULTILINE | re.DOTALL)
    assert set(re.findall("`(.*?)`", sentence)) == base.__abstractmethods__


@pytest.mark.parametrize("name", SHOWN)
def test_prose_repeats_no_digits_of_rounding(name):
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert not re.findall(r"\d\.\d+e-1\d", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def test_what_can_be_put_in_is_what_the_library_says():
    """`python -m docs.site --write` makes the page anew."""
    assert KEPT.read_text(encoding="utf-8") == support.page()


@pytest.mark.parametrize("labels", support.LABELS)
@pytest.mark.parametrize("bias", support.BIASES)
def test_closed_forms_beyond_the_last_threshold_are_those_that_the_page_names(labels, bias):
    for loss in (ufm.CrossEntropy(), ufm.MeanSquaredError(), ufm.losses.Focal(2.0)):
        for widths in support.WIDTHS.values():
            given = {"widths": widths, "bias": support.BIASES[bias]}
            make = functools.partial(support.problem_of, loss, support.LABELS[labels](), **given)
            weak, strong = (
                support.ask(functools.partial(make, lambda_W=lam, lambda_H=lam))
                for lam in (support.DECAY, 3.0)
            )
            said = weak.closed
            if type(loss) is ufm.CrossEntropy:
                said |= len(widths) == 1
                assert strong.closed == said
            assert strong.closed or not said
            assert not strong.closed or strong.words.startswith("trivial.")


def test_a_cell_says_what_the_library_does(key):
    """Solved, certified and predicted, or refused in the words of the page."""
    answer = support.ask(lambda: support.problem_of(ufm.CrossEntropy(), ufm.one_hot([10] * 4)))
    assert (answer.letters, answer.words.partition(".")[0]) == ("S C F", "simplex ETF")
    deep = support.problem_of(ufm.CrossEntropy(), ufm.one_hot([10] * 4), widths=(8, 8))
    answer = support.ask(lambda: deep)
    assert answer.letters == "S"
    assert "what works: ufm.minimise, ufm.search" in answer.words
    with pytest.raises(ValueError, match="must have one entry"):
        ufm.certify(deep, ufm.solvers.random_start(deep, key=key))
    answer = support.ask(
        lambda: support.problem_of(ufm.CrossEntropy(), ufm.one_hot([4, 4]), lambda_H=-1.0)
    )
    assert answer == support.Answer(
        False, False, False, "no such problem: `lambda_H` must be finite and >= 0"
    )


def test_the_page_of_sweeps_shows_the_file_and_the_format():
    """The specification beside it, and what the command's help prints."""
    text = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert first == (ROOT / "docs" / "phase.toml").read_text(encoding="utf-8")
    form = re.findall(r"^(?: {4}.*)?\n", spec.__doc__ or "", re.MULTILINE)
    assert second.strip() == textwrap.dedent("".join(form)).strip()


def test_every_public_name_is_on_its_page():
    made = pages()
    for name, module in namespaces().items():
        headings = re.findall(r"^## (\w+)$", made[f"{name}.md"], re.MULTILINE)
        assert headings == public_names(module)
        # annotations as they are written, not as strings
        assert re.findall(r"(?:: |-> )'[^']*'", made[f"{name}.md"].replace("\n", " ")) == []
    assert len(public_names(ufm)) >= 35


def test_sections_of_docstrings_become_lists():
    parameters = "Parameters\n----------\nx\n    What it is,\n    in $x$."
    text = f"Do it.\n\n{parameters}\n\nRaises\n------\nE\n    No."
    assert as_markdown(text) == (
        "Do it.\n\n\n**Parameters**\n\n- `x`: What it is, in $x$.\n\n**Raises**\n\n- `E`: No.\n"
    )


def test_every_check_is_on_the_page_of_theorems():
    page = page_of_theorems(DOCS / "references.bib")
    assert re.findall(r"^### `(.*)`$", page, re.MULTILINE) == [c.key for c in load().matching()]


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_links_between_pages_lead_somewhere(path):
    for link in _LINK.findall(path.read_text(encoding="utf-8")):
        assert (DOCS / link).exists(), link


def test_the_first_page_holds_the_example_and_no_path_of_the_tree():
    assert "ufm.closed_form(problem)" in start()
    assert "](docs/" not in start()


def test_no_printed_output_is_lost():
    """A page without output would pass as well."""
    text = "```python\nprint(1)\n```\n\n```\n2\n```\n"
    from docs.site.fill import shown

    with contextlib.redirect_stdout(io.StringIO()):
        assert list(shown(text)) == [("1\n", "2\n")]
