"""The page of the report.

What it says, that it needs nothing but itself, and that everybody can read it.
"""

import base64
import dataclasses
import io
import itertools
import json
import math
import re
from html.parser import HTMLParser
from importlib import resources

import jax
import numpy as np
import pytest
from fontTools.ttLib import TTFont

import ufm
from tests.theory_checks.planting import plant
from theory_checks.engine import (
    catalogue,
    command,
    files,
    html_report,
    registry,
    results,
    runner,
    typesetting,
    verdict_figures,
)
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.document import as_document
from theory_checks.engine.registry import Case, Claim, Record, Registry, Setting

VOID = {"meta", "br", "hr", "img", "link", "input"}
FORMULAS = {key: check.formula for key, check in catalogue.load().checks.items()}
RUN = runner.Run("2026-01-02T03:04:05+01:00", "A processor, 2 cores, Linux x86_64", 2, 61.0, 99.0)
WITNESS = Claim("witness", 1.0, 1.0, tolerance=1e-7, witness=True)
HOSTILE = "<script>alert('x')</script> & \"more\""


# a page to look at
# ----------------------------------------------------------------------


@dataclasses.dataclass
class Node:
    tag: str
    attributes: dict
    parent: "Node | None" = None
    children: list = dataclasses.field(default_factory=list)

    @property
    def text(self):
        inner = (child if isinstance(child, str) else child.text for child in self.children)
        return " ".join("".join(inner).split()) if self.tag not in ("annotation",) else ""

    def all(self, *tags):
        for child in self.children:
            if isinstance(child, Node):
                if not tags or child.tag in tags:
                    yield child
                yield from child.all(*tags)

    def ancestors(self):
        return [] if self.parent is None else [self.parent, *self.parent.ancestors()]


class Tree(HTMLParser):
    """The elements of a page; refuses one that is not closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.root = self.here = Node("root", {})
        self.feed(text)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is not closed"

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), attributes
        node = Node(tag, dict(attributes), self.here)
        self.here.children.append(node)
        if tag not in VOID:
            self.here = node

    def handle_startendtag(self, tag, attributes):
        self.here.children.append(Node(tag, dict(attributes), self.here))

    def handle_endtag(self, tag):
        assert tag == self.here.tag, f"</{tag}> closes <{self.here.tag}>"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)


def holding(case):
    """All of it holds, `in code`, for λ_W <= 1."""
    yield WITNESS
    yield Claim("value", 0.125 + 1e-9, 0.125, tolerance=1e-7)
    yield Claim("logits", np.full((3, 4), 2.0), np.full((3, 4), 2.0), tolerance=1e-7)
    yield Claim("pair", np.array([1.5, -2.5]), np.array([1.5, -2.5]), tolerance=1e-7)
    yield Claim("certificate gap", 3e-13, 0.0, tolerance=1e-10, witness=True)
    ts = np.linspace(0, 2, 21)
    yield Record("decline", {"t": ts, "measured": np.exp(-ts), "law": np.exp(-ts)})
    yield Record("short", {"rank": np.array([1.0, 2.0]), "size": np.array([0.5, np.nan])})


def missed_outside(case):
    """Inside it holds, outside it does not."""
    outside = case.setting is Setting.OUTSIDE
    yield WITNESS
    yield Claim("slightly", 1.0 + outside * 1e-6, 1.0, tolerance=1e-7)
    yield Claim("clearly", 1.0 + outside, 1.0, tolerance=1e-7)


def never_inside(case):
    """It is only tried outside."""
    yield Claim("theorem", 1.0, 2.0, tolerance=1e-7)


def failing(case):
    """It does not hold."""
    yield Claim(HOSTILE, math.nan, 1.0, tolerance=1e-7)
    for name in ("length", "angle", "rank", "gap"):
        yield Claim(name, 1.0, 2.0, tolerance=1e-7)


def undecided(case):
    """It was not tried."""
    yield WITNESS
    raise registry.NotConverged("the solve stopped at its limit")


def refuted(case):
    """The point is claimed to be the least."""
    problem = registry.one_hot_problem(
        (2, 1), widths=(3, 2), lambda_W=0.1, lambda_H=0.1, loss="CrossEntropy", collapsed=True
    )
    params = ufm.solvers.random_start(problem, key=jax.random.key(0))
    yield WITNESS
    yield Refutation.at("a point", 2 * float(ufm.model.objective(problem, params)), problem, params)


INSIDE, OUTSIDE = (
    Case("the case", Setting.INSIDE, {"class_counts": (2, 1), "lambda_W": 0.1}),
    Case("beyond", Setting.OUTSIDE, {"loss": HOSTILE, "labels": holding}),
)
CHECKS = {
    holding: (INSIDE,),
    missed_outside: (INSIDE, OUTSIDE),
    never_inside: (OUTSIDE,),
    failing: (INSIDE,),
    undecided: (INSIDE,),
    refuted: (dataclasses.replace(INSIDE, full=True),),
}


@pytest.fixture(scope="module")
def rows():
    registry = Registry()
    registry.paper("good", "A paper & its title")
    registry.paper("bad", "Another paper")
    for function, cases in CHECKS.items():
        paper = "good" if function in (holding, missed_outside, never_inside) else "bad"
        key = f"{paper}/{function.__name__.replace('_', '-')}"
        formula = r"\bar H < \tfrac1K \quad b = 0"
        plant(registry, key, function, cases, formula=formula, source=HOSTILE)
    return list(runner.run(registry.matching(), full=True)), registry.papers


@pytest.fixture(scope="module")
def written(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    document = as_document(
        *rows, finished=False, command="python -m theory_checks report --out DIR", run=RUN
    )
    return folder, results.write_page(folder, rows[0], document)


@pytest.fixture(scope="module")
def text(written):
    return (written[0] / html_report.PAGE).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Tree(text).root


def one(nodes):
    (node,) = nodes
    return node


def article(page, name):
    return one(a for a in page.all("article") if next(a.all("h3")).text == name)


# what it says
# ----------------------------------------------------------------------


def test_files(written):
    folder, paths = written
    assert sorted(paths) == sorted(str(path) for path in folder.iterdir())
    assert sorted(path.suffix for path in folder.iterdir()) == [".html", ".json", ".npz"]


def test_first_screen_counts_each_verdict(page):
    tally = one(node for node in page.all("ul") if node.attributes.get("class") == "tally")
    assert [item.text for item in tally.all("li")] == [
        "6 tried",
        "1 ≠ refuted",
        "1 ✗ fails",
        "1 ? not decided",
        "2 ✓ hold",
        "1 ○ outside its regime",
    ]
    title = one(node for node in page.all("title") if node.parent.tag == "head")
    assert (
        title.text
        == "6 theorems on neural collapse, tried: 1 refuted, 1 fails, 1 not decided, 2 hold, 1 "
        "outside its regime"
    )


def test_theorems_tried_on_one_side_are_named(page):
    """A page said of them that they are missed outside."""
    told = one(p for p in page.all("p") if p.text.startswith("Tried on one side"))
    assert [a.text for a in told.all("a")] == ["good/holding", "good/never-inside"]


def test_first_screen_has_the_news_first_and_says_why(page):
    verdicts = one(s for s in page.all("section") if s.attributes["aria-labelledby"] == "verdicts")
    news = [node for node in verdicts.all("div") if "news" in node.attributes.get("class", "")]
    assert [next(node.all("h3")).text for node in news] == [
        "≠ refuted: bad/refuted",
        "✗ fails: bad/failing",
        "? not decided: bad/undecided",
    ]
    assert "length: measured 1, predicted 2; error 1.000e+00, tolerance 1e-07" in news[1].text
    assert "and 2 more below" in news[1].text
    assert "gap: measured" not in news[1].text
    assert "gap: measured" in article(page, "failing").text
    assert "NotConverged: the solve stopped at its limit" in news[2].text
    assert "class_counts = (2, 1), lambda_W = 0.1" in news[0].text
    assert "50.00 % below" in news[0].text
    # what is claimed stands beside the point that refutes it
    assert [one(m.all("annotation")).children for m in news[0].all("math")] == [
        [r"\bar H < \tfrac1K"],
        ["b = 0"],
    ]
    sources = one(page.all("nav")).text
    assert sources.index("Another paper") < sources.index("A paper & its title")


def test_counterexample_is_linked_to_its_file(page, written):
    links = {
        node.attributes["href"]
        for node in page.all("a")
        if node.attributes["href"].endswith(".npz")
    }
    assert (written[0] / one(links)).is_file()


def test_a_file_of_another_run_is_no_counterexample(written, tmp_path):
    """It may bear the name: the page links to the point of its own rows or to none."""
    document = files.read_json(written[0] / html_report.DOCUMENT)
    (point,) = written[0].glob("*.npz")
    for content, linked in (
        (point.read_bytes(), True),
        (point.read_bytes() + b" ", False),
        (b"", False),
    ):
        (tmp_path / point.name).write_bytes(content)
        html_report.write_document(tmp_path, document)
        text = (tmp_path / html_report.PAGE).read_text(encoding="utf-8")
        assert point.name in text
        assert (f'href="{point.name}"' in text) is linked


def test_unfinished_run_says_so(page, rows):
    assert "Interrupted" in page.text
    assert "Interrupted" not in html_report.render(as_document(*rows))


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("ufm-checks report --out DIR", "ufm-checks run -k good/holding"),
        ("python -m theory_checks all --out DIR", "python -m theory_checks run -k good/holding"),
        (None, "python -m theory_checks run -k good/holding"),
    ],
)
def test_the_command_is_named_as_it_was_typed(rows, typed, named):
    document = as_document(*rows) | {"command": typed}
    assert f"<code>{named}" in html_report.render(document)


def test_theorem_has_its_words_formula_command_and_numbers(page):
    shown = article(page, "holding")
    assert "All of it holds, in code, for λW ≤ 1." in shown.text
    assert "As declared." in shown.text
    assert [one(m.all("annotation")).children for m in shown.all("math")] == [
        [r"\bar H < \tfrac1K"],
        ["b = 0"],
    ]
    assert [m.attributes for m in shown.all("math")] == [{"displaystyle": "true"}] * 2
    assert "python -m theory_checks run -k good/holding" in shown.text
    assert "python -m theory_checks run -k bad/refuted --full" in article(page, "refuted").text
    facts = dict(
        zip((n.text for n in shown.all("dt")), (n.text for n in shown.all("dd")), strict=True)
    )
    assert facts["Cases"] == "1: 1 inside the hypotheses, 0 on their boundary, 0 outside"
    assert facts["Worst error"] == "1.0e−9, tolerance 1.0e−7 (value)"
    assert facts["Certificate gap"] == "3.0e−13"
    cases, claims, record = [
        [[cell.text for cell in row.all("td", "th")] for row in table.all("tr")]
        for table in shown.all("table")
    ]
    assert cases[1][:4] == ["1", "the case", "inside", "value"]
    assert cases[1][4:9] == ["0.125000001", "0.125", "1.0e−9", "1.0e−7", "3.0e−13"]
    assert cases[2][1] == "class_counts = (2, 1), lambda_W = 0.1"
    by_name = {row[1]: row for row in claims[1:]}
    assert by_name["logits"][2:4] == ["array 3 × 4"] * 2
    assert by_name["pair"][2:4] == ["(1.5, −2.5)"] * 2
    assert [row[6:] for row in claims[1:]] == [["yes", "yes"]] * 5
    assert record == [["rank", "size"], ["1", "0.5"], ["2", "–"]]


def test_each_case_is_decided_by_the_right_claim(page):
    def decided(name):
        tables = [
            table
            for table in article(page, name).all("table")
            if "setting" in next(table.all("thead")).text
        ]
        rows = [
            [cell.text for cell in row.all("td", "th")]
            for table in tables
            for row in table.all("tr")
        ]
        return [(row[2], row[3], row[9]) for row in rows if len(row) > 2 and row[0] != "#"]

    # both claims outside are over their tolerance; the one that is missed by most is shown
    assert decided("missed-outside") == [
        ("inside", "witness", "✓ holds"),
        ("outside", "clearly", "○ outside its regime"),
    ]
    # an error that is not a number is worse than any number
    assert decided("failing") == [("inside", HOSTILE, "✗ fails")]
    assert decided("refuted") == [("inside", "value of a point", "≠ refuted")]
    assert decided("undecided") == [("inside", "witness", "? not decided")]


def test_settings_of_the_run_are_told(page, rows):
    settings = rows[0][0].settings
    for value in (
        settings["dtype"],
        settings["device"],
        settings["versions"]["jax"],
        "python -m theory_checks report --out DIR",
    ):
        assert (
            value
            in one(
                s for s in page.all("section") if s.attributes["aria-labelledby"] == "measured-with"
            ).text
        )


def test_first_screen_says_when_and_on_what(page, rows):
    versions = rows[0][0].settings["versions"]
    shown = one(page.all("header")).text
    for value in (
        "2026-01-02 03:04 UTC+01:00",
        "A processor, 2 cores",
        f"jax {versions['jax']}",
        f"ufm {versions['ufm']}",
        "float64",
    ):
        assert value in shown


def test_cases_are_folded_except_the_worst_the_boundary_and_the_news():
    def each(case):
        """Its errors are its own."""
        yield Claim("value", 1.0 + case.options["error"], 1.0, tolerance=1e-7)
        if "witness" in case.options:
            yield Claim("witness", 1.0 + case.options["witness"], 1.0, tolerance=1e-7, witness=True)

    def at(name, setting, error):
        return Case(name, setting, {}, build=lambda: None, options={"error": error})

    inside, boundary, outside = Setting.INSIDE, Setting.BOUNDARY, Setting.OUTSIDE
    cases = (
        at("small", inside, 1e-12),
        at("large", inside, 5e-8),
        at("edge", boundary, 1e-12),
        at("beyond", outside, 1.0),
        at("missed", inside, 1e-3),
        at("not missed", outside, 1e-12),
    )
    for chosen, open_ones in (
        (cases[:4], ["large", "edge"]),
        (cases[:5], ["edge", "missed"]),
        (cases[:4] + cases[5:], ["large", "edge", "not missed"]),
        (cases[3:4], ["beyond"]),
        # the witness of an outside case uses more of its tolerance than the theorem does
        (
            (cases[0], dataclasses.replace(cases[3], options={"error": 1.0, "witness": 9e-8})),
            ["small"],
        ),
    ):
        registry = planted()
        plant(registry, "good/each", each, chosen, formula="a")
        page = Tree(
            html_report.render(as_document(runner.run(registry.matching()), registry.papers))
        ).root
        tables = [
            t for t in article(page, "each").all("table") if "setting" in next(t.all("thead")).text
        ]
        names = [
            [
                cell.text
                for row in t.all("tr")
                for cell in row.all("th")
                if cell.attributes["scope"] == "row"
            ]
            for t in tables
        ]
        assert names[0] == open_ones
        assert sorted(name for group in names for name in group) == sorted(
            case.id for case in chosen
        )
        for table in tables[1:]:
            assert any(node.tag == "details" for node in table.ancestors())


def test_the_filter_finds_words_of_a_theorem(page):
    """What it looks through; that it does is tested in a browser."""
    words = {a.attributes["id"]: a.attributes["data-words"] for a in page.all("article")}
    assert "bad/refuted" in words["theorem-bad-refuted"]
    for wanted in (
        "refuted",
        "another paper",
        "the point is claimed to be the least.",
        "as declared.",
    ):
        assert wanted in words["theorem-bad-refuted"]
    assert all(text == text.lower() for text in words.values())
    form = one(page.all("form"))
    assert "hidden" in form.attributes, "without the script there is nothing to type into"
    assert one(form.all("label")).attributes["for"] == one(form.all("input")).attributes["id"]


def test_the_top_is_one_step_away(page):
    bar = one(node for node in page.all("div") if node.attributes.get("class") == "bar")
    assert one(bar.all("a")).attributes["href"] == "#top"
    assert one(page.all("body")).attributes["id"] == "top"


def test_the_same_rows_give_the_same_page(written, text, tmp_path):
    """The page is made from the JSON document, so that it can be made again without a run."""
    document = files.read_json(written[0] / html_report.DOCUMENT)
    for path in written[0].glob("*.npz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    html_report.write_document(tmp_path, document)
    assert (tmp_path / html_report.PAGE).read_text(encoding="utf-8") == text
    assert (tmp_path / html_report.DOCUMENT).read_bytes() == (
        written[0] / html_report.DOCUMENT
    ).read_bytes()


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": []}'])
def test_what_is_no_document_is_refused(content, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="`path` must be a JSON file written by this command"):
        files.read_json(path)


def test_rows_that_were_changed_are_refused(written, tmp_path):
    text = (written[0] / html_report.DOCUMENT).read_text()
    for changed in (
        text.replace('"verdict": "fails"', '"verdict": "holds"', 1),
        text[:-200],
        text.replace("1e-07", "1e-06", 1),
    ):
        assert changed != text
        (tmp_path / "rows.json").write_text(changed)
        with pytest.raises(ValueError, match="`path` must be a JSON file written by this command"):
            files.read_json(tmp_path / "rows.json")


def test_rows_of_another_version_are_refused(rows, tmp_path):
    files.write_json(tmp_path / "rows.json", as_document(*rows) | {"format": 99})
    with pytest.raises(ValueError, match="`path` must be a JSON file written by this version"):
        files.read_json(tmp_path / "rows.json")


def test_a_page_that_cannot_be_made_leaves_the_old_files(rows, tmp_path, monkeypatch):
    results.write_page(tmp_path, rows[0], as_document(*rows))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    document = as_document(*rows)
    del document["rows"][0]["claims"]
    with pytest.raises(KeyError):
        html_report.write_document(tmp_path, document)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_rows_at_all(tmp_path):
    results.write_page(tmp_path, [], as_document([], {}, finished=False))
    assert "0 tried" in Tree((tmp_path / html_report.PAGE).read_text(encoding="utf-8")).root.text


# the command
# ----------------------------------------------------------------------


def never(case):
    """It must not run."""
    raise AssertionError("ran")
    yield


def interrupted(case):
    """It does not end."""
    raise KeyboardInterrupt
    yield


def planted(*functions):
    registry = Registry()
    registry.paper("good", "A paper")
    for function in functions:
        plant(registry, f"good/{function.__name__}", function, (INSIDE,), formula="a")
    return registry


def test_command_writes_the_page_and_writes_it_again_without_a_run(tmp_path, capsys):
    first, second = tmp_path / "a folder", tmp_path / "deeper" / "second"
    arguments = ["report", "--no-cache", "--out", str(first)]
    assert command.main(arguments, registry=planted(holding)) == 0
    page = (first / "report.html").read_text(encoding="utf-8")
    assert f"python -m theory_checks report --no-cache --out &#39;{first}&#39;" in page
    assert str(first / "report.html") in capsys.readouterr().out
    assert (
        command.main(
            ["report", "--from", str(first / "report.json"), "--out", str(second)],
            registry=planted(never),
        )
        == 0
    )
    assert (second / "report.html").read_text(encoding="utf-8") == page


def test_command_writes_what_was_done_before_an_interrupt(tmp_path):
    assert (
        command.main(
            ["report", "--no-cache", "--out", str(tmp_path)], registry=planted(holding, interrupted)
        )
        == 130
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Interrupted" in page
    assert "1</b> tried" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--from", "absent.json", "--out", "."], "No such file", id="no-such-file"),
        pytest.param(
            ["--from", "empty.json", "--out", "."],
            "must be a JSON file written by this command",
            id="not-a-document",
        ),
        pytest.param(
            ["--from", "empty.json", "--out", ".", "-k", "good"],
            "-k, --full and --prove choose what is run",
            id="choosing",
        ),
        pytest.param(
            ["--out", "empty.json/deeper"],
            "--out empty.json/deeper: Not a directory",
            id="no-folder",
        ),
    ],
)
def test_command_refuses_before_it_runs(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.json").write_text("{}")
    assert command.main(["report", *arguments], registry=planted(never)) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "share", "reason"),
    [
        pytest.param(Setting.INSIDE, 1.0, "is not below", id="no-lower"),
        pytest.param(Setting.OUTSIDE, 2.0, "nothing was claimed of the theorem", id="outside"),
    ],
)
def test_a_refutation_that_proves_nothing_is_not_shown_as_one(setting, share, reason):
    def unproved(case):
        """A point is claimed to be the least."""
        (witness, found) = refuted(case)
        yield witness
        yield dataclasses.replace(found, claimed=share * found.value)

    registry = planted()
    cases = (dataclasses.replace(INSIDE, setting=setting),)
    plant(registry, "good/unproved", unproved, cases)
    page = Tree(
        html_report.render(as_document(runner.run(registry.matching()), registry.papers))
    ).root
    title = one(node for node in page.all("title") if node.parent.tag == "head")
    assert title.text.startswith("1 theorem on neural collapse")
    shown = article(page, "unproved").text
    assert "fails" in shown
    assert reason in shown
    assert "that the theorem calls the least" not in shown


# it needs nothing but itself
# ----------------------------------------------------------------------


def test_nothing_comes_from_elsewhere(page, text):
    assert not re.search(r"(?:https?|ftp|file):|@import|src=", text.replace("src:url(data:", ""))
    assert re.findall(r"url\((?!data:)", text) == []
    assert list(page.all("link", "img", "iframe", "object", "embed")) == []
    script = one(page.all("script"))
    assert script.attributes == {}
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|document\.write", script.text)
    for node in page.all():
        for name, value in node.attributes.items():
            assert not (value or "").startswith("//"), (node.tag, name)
            assert not name.startswith("on"), (node.tag, name)


def test_words_of_a_check_are_no_markup(page, text):
    assert text.count("<script") == 1
    assert HOSTILE in article(page, "failing").text


# everybody can read it
# ----------------------------------------------------------------------


def test_outline(page):
    levels = [int(node.tag[1]) for node in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert one(page.all("html")).attributes["lang"] == "en"
    for landmark in ("header", "main", "nav", "footer"):
        assert one(page.all(landmark)) is not None


def test_every_reference_has_its_target(page):
    ids = [node.attributes["id"] for node in page.all() if "id" in node.attributes]
    assert len(set(ids)) == len(ids)
    wanted = {
        node.attributes["href"][1:]
        for node in page.all("a")
        if node.attributes["href"].startswith("#")
    }
    wanted |= {
        node.attributes["aria-labelledby"]
        for node in page.all()
        if "aria-labelledby" in node.attributes
    }
    assert wanted <= set(ids)
    skip = next(one(page.all("body")).all("a"))
    assert skip.attributes["class"] == "skip"


def test_tables_have_captions_scopes_and_a_frame_that_scrolls(page):
    tables = list(page.all("table"))
    assert len(tables) > 2 * len(CHECKS)
    for table in tables:
        assert one(table.all("caption")).text
        assert all(cell.attributes["scope"] in ("row", "col") for cell in table.all("th"))
        assert next(iter(table.all("thead"))) is not None
        frame = table.parent
        assert "scroll" in frame.attributes["class"]
        assert (frame.attributes["role"], frame.attributes["tabindex"]) == ("group", "0")
        columns = len(list(next(table.all("tr")).all("th")))
        for row in table.all("tr"):
            assert (
                sum(int(cell.attributes.get("colspan", 1)) for cell in row.all("th", "td"))
                == columns
            )


def test_figures_have_words(page):
    figures = list(page.all("svg"))
    # all but the check that claimed nothing, and one trajectory
    assert len(figures) == len(CHECKS) + 1
    for svg in figures:
        title = one(svg.all("title"))
        assert svg.attributes["role"] == "img"
        assert svg.attributes["aria-labelledby"] == title.attributes["id"]
        assert len(title.text) > 40
        assert any(
            node.tag == "figure" and list(node.all("figcaption")) for node in svg.ancestors()
        )


def test_no_verdict_is_told_by_colour_alone(page):
    """Each is a word, or a sign inside a list whose link is named by the word."""
    marks = [
        node for node in page.all("span") if node.attributes.get("class", "").startswith("verdict")
    ]
    told = {name for one_, many, *_ in html_report.WORDS.values() for name in (one_, many)}
    for mark in marks:
        if not any(word in mark.text for word in told):
            link = one(mark.parent.all("a"))
            assert any(word in link.attributes["aria-label"] for word in told)
    assert len({sign for _, _, sign, _ in html_report.WORDS.values()}) == len(html_report.WORDS)


def colours(scheme):
    css = (
        resources.files("theory_checks.engine")
        .joinpath("templates/report.css")
        .read_text(encoding="utf-8")
    )
    light, dark = re.findall(r":root \{(.*?)\}", css, flags=re.S)
    read = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))
    assert len(read) >= 14
    outside_of_variables = re.sub(r":root \{.*?\}", "", css, flags=re.S)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl", outside_of_variables) == []
    return read


def contrast(first, second):
    """WCAG 2: the ratio of relative luminances."""

    def luminance(colour):
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme):
    found = colours(scheme)
    for ground in ("page", "panel"):
        for ink in ("text", "quiet", "link", "holds", "refuted", "fails", "error", "outside"):
            assert contrast(found[ink], found[ground]) >= 4.5, (ink, ground)
    for ink in ("mark", "law", "grid"):
        # WCAG 2, 1.4.11: parts of a figure
        assert contrast(found[ink], found["page"]) >= 3, ink


# its parts
# ----------------------------------------------------------------------


@pytest.mark.parametrize("key", FORMULAS)
def test_every_formula_is_typeset(key):
    shown = str(typesetting.mathml(FORMULAS[key]))
    drawn = re.sub(r"<annotation.*?</annotation>", "", shown)
    assert "\\" not in drawn
    assert "$" not in drawn
    # a command that was taken for letters would be a row of them
    assert not re.search(r"(?:<mi>[a-z]</mi>){6}", drawn)
    Tree(shown)


def test_a_formula_that_cannot_be_typeset_is_shown_as_it_was_written():
    with pytest.raises(ValueError, match=r"`formula` must be LaTeX that can be typeset.*mine"):
        typesetting.mathml(r"\mine{x}")
    assert html_report.typeset(r"\mine{x} < y") == r"<code>\mine{x} &lt; y</code>"


@pytest.mark.parametrize(
    ("latex", "parts"),
    [
        pytest.param(r"a,\quad b", 2, id="apart"),
        pytest.param(r"a,\qquad b", 2, id="far-apart"),
        pytest.param(r"\left\{a\quad b\right\}", 1, id="in-brackets"),
        pytest.param(r"\text{a\quad b}", 1, id="in-braces"),
        pytest.param(r"\{a\}\quad\{b\}", 2, id="between-literal-braces"),
        pytest.param(r"\quad a", 1, id="at-the-start"),
        pytest.param(r"a\leftarrow b\quad c", 2, id="a-longer-command"),
    ],
)
def test_formula_is_cut_only_between_its_parts(latex, parts):
    assert str(typesetting.mathml(latex)).count("<math") == parts


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        ("λ_b <= c0/(1 − c0)", "λ<sub>b</sub> ≤ c0/(1 − c0)"),
        (
            "e^{−2 λ_H t} & `a_b <= c`",
            "e<sup>−2 λ<sub>H</sub> t</sup> &amp; <code>a_b &lt;= c</code>",
        ),
        ("F dH_0, λ_max, l_2", "F dH<sub>0</sub>, λ<sub>max</sub>, l<sub>2</sub>"),
        ("t_c = (M−1)^{(M−1)/M}/M", "t<sub>c</sub> = (M−1)<sup>(M−1)/M</sup>/M"),
        ("class_counts", "class_counts"),
    ],
)
def test_words(plain, shown):
    assert typesetting.words(plain) == shown


def test_font_holds_the_letters_that_browsers_draw():
    face = typesetting.font_face(str(typesetting.mathml(r"\bar H = \sqrt n\,\mathbb R, \lambda")))
    font = TTFont(io.BytesIO(base64.b64decode(re.search(r"base64,([^)]*)", face)[1])))
    assert "MATH" in font
    # the time of writing would make two pages of the same rows differ
    assert font["head"].modified < font["head"].created + 365 * 86400
    letters = set(map(chr, font.getBestCmap()))
    assert {"\U0001d43b", "\U0001d45b", "\U0001d706", "√", "ℝ", "="} <= letters
    assert "\U0001d44a" not in letters
    assert len(face) < 20_000


def row_of(*claims, setting="inside"):
    binding = setting == "inside"
    return {
        "setting": setting,
        "case": "case",
        "records": [],
        "claims": [
            {
                "error": e,
                "tolerance": 1e-7,
                "binding": binding,
                "holds": e is not None and e <= 1e-7,
            }
            for e in claims
        ],
    }


def test_errors_stand_where_they_should():
    figure = verdict_figures.errors(
        [row_of(1e-16, 1e-7), row_of(0.0), row_of(None), row_of(1.0, setting="outside")]
    )
    (small, at_tolerance, zero, nan), ((missed, _),) = (
        (x for x, _ in figure.required),
        figure.missed,
    )
    assert zero == figure.left
    assert nan == figure.right
    assert zero < small < figure.eps < at_tolerance == figure.tolerances[0][0] < missed < nan
    # logarithmic: as far from 1e-16 to 1e-7 as from 1e-9 to 1
    decade = (missed - at_tolerance) / 7
    assert at_tolerance - small == pytest.approx(9 * decade)
    assert figure.eps - small == pytest.approx(math.log10(2.220446049250313) * decade)
    assert [line.label for line in figure.lines] == ["1", "2", "3", "4"]
    assert figure.description == (
        "Errors on a logarithmic axis, one line for each of 4 cases: 4 claims that must hold, "
        "the largest error 1.0e-07, "
        "1 errors not a number, 1 over the tolerance, 1 claims that need not hold."
    )
    assert verdict_figures.errors([row_of()]) is None


@pytest.mark.parametrize(
    ("columns", "curves"),
    [
        pytest.param({"t": [0, 1, 2], "measured": [1, 2, 3], "law": [1, 2, 3]}, 1, id="one"),
        pytest.param(
            {
                "t": [0, 1, 2],
                "u_0": [1, 2, 3],
                "u_1": [1, 2, 3],
                "law_0": [1, 2, 3],
                "law_1": [1, 2, 4],
            },
            2,
            id="two",
        ),
        pytest.param({"t": [0, 1, 2], "measured": [1, 2, 3], "limit": [4, 4, 4]}, 1, id="limit"),
        pytest.param({"t": [0, 1, 2], "measured": [1, None, 3], "law": [1, 2, 3]}, 1, id="a-gap"),
        pytest.param({"t": [0, 1, 2], "measured": [0, 0, 0], "law": [0, 0, 0]}, 1, id="zeros"),
        pytest.param(
            {"t": [0, 1e-3, 1e3], "measured": [1e-9, 1, 2], "law": [1e-9, 1, 2]}, 1, id="decades"
        ),
        pytest.param({"t": [0, 1, 2], "measured": [1, 2, 3]}, 0, id="no-law"),
        pytest.param({"t": [0], "measured": [1], "law": [1]}, 0, id="too-short"),
    ],
)
def test_curves(columns, curves):
    row = {
        "setting": "inside",
        "case": "case",
        "records": [{"name": "record", "columns": columns}],
        "claims": [],
    }
    figure = verdict_figures.curves([row])
    assert (figure is None) == (curves == 0)
    if figure is None:
        return
    assert len(figure.curves) == curves
    for curve in figure.curves:
        line = [
            tuple(map(float, pair.split())) for pair in curve.path.removeprefix("M").split(" L")
        ]
        for x, y in [*line, *curve.points]:
            assert figure.left - 0.1 <= x <= figure.right + 0.1
            assert figure.top - 0.1 <= y <= figure.bottom + 0.1
    assert len(figure.x_ticks) >= 2


def test_equal_curves_lie_on_each_other():
    ts = np.geomspace(1e-2, 1e4, 9)
    row = {
        "setting": "inside",
        "case": "c",
        "records": [{"name": "r", "columns": {"t": ts, "measured": ts**2, "law": ts**2}}],
        "claims": [],
    }
    (curve,) = verdict_figures.curves([row]).curves
    line = [tuple(map(float, pair.split())) for pair in curve.path.removeprefix("M").split(" L")]
    for x, y in curve.points:
        assert min(math.hypot(x - a, y - b) for a, b in line) < 0.1
    # both axes are logarithmic, so the law is straight
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(line)]
    assert slopes == pytest.approx([slopes[0]] * len(slopes), rel=0.02)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "yes"),
        (None, "none"),
        (0.1, "0.1"),
        ([1, 2], "(1, 2)"),
        ([7] * 100, "(7, …, 7), 100 of them"),
        (list(range(20)), "(0, 1, 2, …, 19), 20 of them"),
        ([[1, 2], [3, 4]], "array 2 × 2"),
        ("CrossEntropy", "CrossEntropy"),
    ],
)
def test_parameters(value, shown):
    assert html_report.entry(value) == shown


def test_json_says_which_claims_bind_and_why_a_case_failed(written):
    document = json.loads((written[0] / html_report.DOCUMENT).read_text())
    by_check = {row["check"]: row for row in document["rows"]}
    # of the case outside, which comes last, only the witness
    assert [claim["binding"] for claim in by_check["good/missed-outside"]["claims"]] == [
        True,
        False,
        False,
    ]
    assert (
        by_check["bad/failing"]["reasons"][1]
        == "length: measured 1, predicted 2; error 1.000e+00, tolerance 1e-07"
    )
    assert by_check["good/holding"]["reasons"] == []
    assert by_check["bad/refuted"]["full"] is True
    # a function among the parameters must not cost a finished run its file
    assert by_check["good/never-inside"]["parameters"] == {"loss": HOSTILE, "labels": "holding"}
    assert document["command"] == "python -m theory_checks report --out DIR"
