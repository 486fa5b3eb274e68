"""Figures are drawn from records, written beside their data, and drawn again from it."""

from __future__ import annotations

import ast
import base64
import dataclasses
import inspect
import json
import re

import numpy as np
import pytest

import ufm
from theory_checks.engine import catalogue, figures, html_report, page_figures, registry, runner
from theory_checks.engine.document import as_document
from theory_checks.engine.figures import captions, legibility, style
from theory_checks.engine.figures.data import Data, Source, by_case
from theory_checks.engine.files import write_json
from theory_checks.engine.registry import Record
from ufm import plotting

FIGURES = figures.load()
REGISTRY = catalogue.load()
T = np.linspace(0, 1, 12)
_FALLS = np.geomspace(1, 1e-17, 12)


def _mixed():
    """Three pairs of classes at four λ, and the three classes."""
    first, second = (
        np.repeat([0, 0, 1, 0, 1, 2], [4, 4, 4, 1, 1, 1]),
        np.repeat([1, 2, 2, 0, 1, 2], [4, 4, 4, 1, 1, 1]),
    )
    lam = np.array([0.2, 0.4, 0.6, 0.8] * 3 + [1.0] * 3)
    places = {
        "x1": np.cos(lam),
        "x2": np.sin(lam),
        "theory_x1": np.cos(lam),
        "theory_x2": np.sin(lam),
    }
    return {
        "first": first,
        "second": second,
        "lam": lam,
        "same": first == second,
        "width": lam,
        "depth": 1 + lam,
        **places,
    }


_SPACE = {
    "class": np.arange(1, 4),
    "x": np.array([1.0, 0, 0]),
    "y": np.array([0, 1.0, 0]),
    "z": np.array([0, 0, 1.0]),
}
_GAINS = {
    name: T + 0.1
    for effect in ("in span", "off span", "stretch", "cross-talk")
    for name in (effect, f"law: {effect}")
}
# by how the name of a record begins: columns of the right kind, for the tests that need no solving
PLANTED = {
    "neural collapse along the script": {"step": 1000 * T}
    | {name: _FALLS for name in ("NC1", "NC2 W", "NC2 H", "NC3")},
    "class means in space": _SPACE,
    "rows of the classifier in space": {**_SPACE, "x": 0.5 * _SPACE["x"]},
    "mixed points": _mixed(),
    "classifiers in the plane": {
        "x1": np.array([1.0, -1.0, 0.0]),
        "x2": np.array([-0.5, -0.5, 1.0]),
    },
    "theory of a channel": {"lam": T, "logit_lam": T - 0.5, "width": T, "depth": T}
    | {f"{x}_{pair}": T for x in ("x1", "x2") for pair in ("12", "13", "23")},
    "decades of s": {"s": _FALLS}
    | {name: T + 1 for name in ("depth", "depth_law", "own_gap", "own_gap_law")},
    "reliability of mixed points": {"confidence": T, "accuracy": T, "mass": np.arange(12.0)},
    "calibration": {
        name: np.array([0.1])
        for name in ("decay", "ece", "ece_without", "ece_clean", "ece_clean_without")
    },
    "staircase": {"i": T, "measured": 1 - T, "law": 1 - T},
    "NC1": {"t": T, "measured": _FALLS, "within": _FALLS, "between": 1 / _FALLS},
    "attenuation": {"lambda_H": T + 0.1, "lambda_W": T + 0.1, "c": T, **_GAINS},
    "loss and bound": {
        "beta": T + 0.1,
        "loss": _FALLS,
        "bound": _FALLS / 2,
        "condition": T + 0.5,
    },
    "rows and features": {
        f"{x}{i}": row
        for x in "wh"
        for i, row in enumerate(ufm.frames.icosahedron().vectors.T.astype(float))
    },
    "coherence over N": {
        "N": np.arange(4, 16),
        "coherence": T + 0.3,
        "Welch": T / 2 + 0.2,
        "Levenshtein": np.where(T > 0.5, T, 0),
    },
    "phases": {"R": T + 1, "s": T + 0.3, "phase": np.arange(12) % 4},
    "thresholds": {"R": T + 1, "merge": T + 1, "vanish": T + 2, "zero": T + 3},
    "angles": {"i": np.arange(10) % 4, "j": np.arange(10) % 4 + 1, "degrees": T[:10]},
    "lengths and cosines": {
        "n": np.ones(4),
        "length": np.ones(4),
        "cosine to the next": -np.ones(4) / 3,
    },
    "ETF and found": {
        "claimed": np.ones(1),
        "found": np.array([0.9]),
        "certified": np.array([0.9]),
    },
    "gap of": {"step": np.arange(12), "products": np.arange(12), "gap": _FALLS, "excess": _FALLS},
}


_STRUCTURES = {name: T + 0.5 for name in ("triple", "pairs", "triangular", "polygon", "best sum")}
# features and what enters two ReLUs lie in the plane
_BLOCK = np.indices((5, 3, 3)).reshape(3, -1)
_BLOCK = _BLOCK[:, (_BLOCK[0] > 2) | (_BLOCK[1] < 2)]
PLANTED |= {
    "ratios": {"K": 3 + np.arange(12) % 4, "L": 3 + np.arange(12) % 3, "best known": T + 0.5}
    | _STRUCTURES,
    "over depth": {"L": np.arange(3, 15), **_STRUCTURES, "above": T + 0.5},
    "over classes": {"K": np.arange(3, 15), **_STRUCTURES},
    "layers": dict(zip(("layer", "unit", "class"), _BLOCK, strict=True))
    | {"entry": np.random.default_rng(0).uniform(-1, 1, _BLOCK.shape[1])},
}
PLANTED["rows"] = {
    "count": np.geomspace(1, 100, 4),
    "length": np.ones(4),
    "degrees": np.linspace(0, 1, 4),
    "gap": np.full(4, 1e-14),
}


def _sparse(case):
    """The record of one sparse frame."""
    return {
        "d": np.array([case.parameters["d"]]),
        "density": np.array([0.4]),
        "error": np.array([0.1]),
    }


def _values(case):
    """The record of one point (K, M) of the map."""
    K, M = len(case.parameters["class_counts"]), len(case.parameters["widths"])
    numbers = {
        "K": K,
        "M": M,
        "ETF": 1.0,
        "best known": 0.8,
        "percent below": 3.0 * M,
        "rank": 2,
        "closed form": 0.9,
        "pairs": 0.9,
    }
    return {
        name: np.array([float(number)]) for name, number in {**numbers, "circle": np.nan}.items()
    }


class Asked(dict):
    """Columns that come into being as a figure asks for them."""

    def __missing__(self, name):
        self[name] = T + 1
        return self[name]


def asked(entry) -> dict[tuple[str, str], Asked]:
    """What a figure asks of the records that nobody planted, by case and name."""
    found: dict[tuple[str, str], Asked] = {}
    sources = []
    for need in entry.needs:
        for case in need.cases:
            names = {f"{name}; and how it ends": _planted(name, case) for name in need.records}
            records = {
                name: Asked() if columns is None else dict(columns)
                for name, columns in names.items()
            }
            found |= {(case.id, n): c for n, c in records.items() if isinstance(c, Asked)}
            plain = {"check": need.check, "case": case.id, "records": []}
            source = Source.of({**plain, "parameters": dict(case.parameters)})
            sources.append(dataclasses.replace(source, records=records))
    if found:
        with style.applied():
            entry.draw(Data(entry.key, entry.caption, tuple(sources)))
    return found


def _planted(name: str, case) -> dict | None:
    if name in ("values", "sparse"):
        return _values(case) if name == "values" else _sparse(case)
    return next((c for start, c in PLANTED.items() if name.startswith(start)), None)


def planted(entry) -> list[runner.Row]:
    """Rows with the records that a figure needs, without a run."""
    rows, others = {}, asked(entry)
    for need in entry.needs:
        check = REGISTRY.checks[need.check]
        for case in need.cases:
            records = []
            for name in need.records:
                full, columns = f"{name}; and how it ends", _planted(name, case)
                records.append(
                    Record(full, columns or dict(others[case.id, full]) or {"unasked": T})
                )
            assert (check.key, case.id) not in rows, (
                f"{entry.key} needs {case.id} twice: `Data.one` would find the first only"
            )
            rows[check.key, case.id] = runner.Row(
                check, case, (), 0.0, registry.Verdict.HOLDS, {}, tuple(records)
            )
    return list(rows.values())


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("key", FIGURES)
def test_renders_and_renders_again_from_its_data(key, tmp_path):
    entry = FIGURES[key]
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir()
    again.mkdir()
    written, lacking = figures.make([key], out=first, rows=planted(entry), formats=["pdf"])
    assert not lacking
    kinds = ("pdf", "txt", "tex", "npz")
    assert written == [str(first / f"{entry.stem}.{kind}") for kind in kinds]
    figures.redraw(first / f"{entry.stem}.npz", out=again, formats=["pdf"])
    pdf = files(first)[f"{entry.stem}.pdf"]
    kept = files(first)
    assert files(again) == {n: kept[n] for n in kept if not n.endswith(".npz")}
    assert kept[f"{entry.stem}.txt"].decode() == f"{entry.description}\n"
    caption = kept[f"{entry.stem}.tex"].decode("ascii")
    assert caption.startswith(r"\caption{")
    assert caption.count("$") % 2 == 0
    assert b"/Type3" not in pdf
    assert b"/FontFile2" in pdf, "no font is embedded"
    width, height = (
        float(x) / 72 for x in re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf).groups()
    )
    assert any(width == pytest.approx(wanted, abs=1e-3) for wanted in (style.COLUMN, style.TEXT))
    assert height < 5


@pytest.mark.parametrize("key", FIGURES)
def test_a_reviewer_finds_no_fault(key):
    """Print of six points or more, no text on another, none beyond the edge."""
    entry = FIGURES[key]
    with style.applied():
        drawn = entry.draw(entry.data(by_case(planted(entry))))
        assert legibility.faults(drawn) == []
        for ax in drawn.axes:
            looks = _looks(ax)
            assert len(set(looks.values())) == len(looks), "two curves look alike"


def _looks(ax) -> dict[str, tuple]:
    """How each curve that the legend names looks."""
    return {
        str(line.get_label()): (
            line.get_color(),
            line.get_linestyle(),
            line.get_marker(),
            line.get_markerfacecolor(),
        )
        for line in ax.get_lines()
        if not str(line.get_label()).startswith("_")
    }


@pytest.mark.parametrize("key", FIGURES)
def test_handles_of_legends_tell_dashes_from_dashes_and_dots(key):
    """Two periods of the latter in every legend, as pictures of `ufm.plotting` have."""
    entry = FIGURES[key]
    with style.applied():
        drawn = entry.draw(entry.data(by_case(planted(entry))))
    for legend in [*drawn.legends, *(ax.get_legend() for ax in drawn.axes)]:
        if legend is not None:
            assert legend.handlelength == plotting.HANDLE_LENGTH


def test_legends_have_no_frame():
    """One had, across a line."""
    for entry in FIGURES.values():
        with style.applied():
            drawn = entry.draw(entry.data(by_case(planted(entry))))
        for legend in [*drawn.legends, *(ax.get_legend() for ax in drawn.axes)]:
            assert legend is None or not legend.get_frame_on(), entry.key


def test_pairs_are_of_classes_from_one_on():
    entry = FIGURES["li2024/balanced-singles"]
    with style.applied():
        data = entry.data(by_case(planted(entry)))
        drawn = entry.draw(data)
    angles = data.sources[-1].record("angles")
    pairs = [f"{i + 1:.0f}{j + 1:.0f}" for i, j in zip(angles["i"], angles["j"], strict=True)]
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == pairs


def test_minus_signs_are_no_hyphens():
    entry = FIGURES["ours_relu/triple-layers"]
    rows = planted(entry)
    rows[0].records[0].columns["entry"][:] = -1.05
    with style.applied():
        drawn = entry.draw(entry.data(by_case(rows)))
        texts = [text.get_text() for ax in drawn.axes for text in ax.texts]
    assert "−1.05" in texts
    assert not any(text.startswith("-") for text in texts)


def test_no_structure_leaves_the_panel():
    """The circle is more than twice the ETF where there is one layer."""
    entry = FIGURES["garrod2024/etf-against-low-rank"]
    rows = planted(entry)
    for row in rows:
        row.records[0].columns["circle"][:] = 2.2
    with style.applied():
        drawn = entry.draw(entry.data(by_case(rows)))
    for ax in drawn.axes:
        low, high = ax.get_ylim()
        for line in ax.get_lines():
            values = np.asarray(line.get_ydata())
            assert np.all((low < values) & (values < high))
        assert len(ax.get_lines()) == 4


def test_laws_and_what_is_measured_share_the_legend():
    entry = FIGURES["tirer2023/hyperparameters"]
    with style.applied():
        drawn = entry.draw(entry.data(by_case(planted(entry))))
    (legend,) = drawn.legends
    looks = {(line.get_linestyle(), line.get_marker()) for line in legend.findobj(style.Line2D)}
    laws, marks = ("-", "--", "-.", ":"), ("o", "s", "^", "D")
    assert looks == {*((dash, "None") for dash in laws), *(("None", mark) for mark in marks)}
    assert drawn.axes[0].get_ylabel() == "attenuation, cross-talk"


def test_faults_are_found():
    with style.applied():
        drawn, axes = style.canvas(width=style.COLUMN, height=2)
        axes[0, 0].text(0.5, 0.5, "one")
        axes[0, 0].text(0.52, 0.5, "other", fontsize=5)
        axes[0, 0].text(2, 0.5, "outside", clip_on=False)
        found = legibility.faults(drawn)
    assert [fault.partition("'")[2].partition("'")[0] for fault in found] == [
        "other",
        "one",
        "outside",
    ]


@pytest.mark.parametrize(
    ("end", "found"), [(1.0, ["the legend of panel 1 lies on 'curve'"]), (0.2, [])]
)
def test_a_legend_on_data_is_found(end, found):
    """A curve into the upper right corner, where the legend is, or below it; a reference line
    there is none."""
    with style.applied():
        drawn, axes = style.canvas(width=style.COLUMN, height=2)
        ax = axes[0, 0]
        ax.plot([0, 1, np.nan], [0, end, np.nan], label="curve")
        ax.axhline(0.9, label="reference")
        ax.set_ylim(0, 1)
        ax.legend(loc="upper right")
        assert legibility.covered(drawn) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("λ_W = √2 & 5 %", r"$\lambda_{W}$ = $\surd$2 \& 5 \%"),
        ("n_A / n_B", "$n_{A}$ / $n_{B}$"),
        ("of H̄ᵀ H̄", r"of $\bar H^{\top}$ $\bar H$"),
        ("an_option", r"an\_option"),
    ],
)
def test_captions_are_latex(words, found):
    assert captions.latex(words) == found


def test_every_format_is_the_same_for_the_same_data(tmp_path):
    entry = FIGURES["tirer2023/staircase"]
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        folder.mkdir()
        figures.make([entry.key], out=folder, rows=planted(entry), formats=figures.FORMATS)
    kinds = (*figures.FORMATS, "txt", "tex", "npz")
    assert files(first).keys() == {f"{entry.stem}.{kind}" for kind in kinds}
    assert files(first) == files(again)


@pytest.mark.parametrize("key", FIGURES)
def test_what_it_needs_exists(key):
    entry = FIGURES[key]
    assert entry.caption.endswith(".")
    for need in entry.needs:
        assert set(need.cases) <= set(REGISTRY.checks[need.check].cases), need.check
        assert need.cases
        assert need.records


def test_figures_are_found_beside_the_checks():
    drawn = {entry.draw.__module__ for entry in FIGURES.values()}
    papers = [key for key in catalogue.folders() if catalogue.FIGURES in catalogue.modules(key)]
    assert drawn == {f"{catalogue.PAPERS}.{key}.{catalogue.FIGURES}" for key in papers}
    assert {entry.key for entry in figures.wanted(["ours", "dang2023/frames"])} == {
        "dang2023/frames",
        "ours/phase-diagram",
        "ours/etf-beaten",
        "ours/certificate-gap",
    }


def test_only_the_needed_cases_run():
    assert figures.needed(("tirer2023/staircase",)) == {
        "tirer2023/gain-spectrum": set(FIGURES["tirer2023/staircase"].needs[0].cases)
    }


def test_data_survives_the_file_and_the_rows_of_a_report(tmp_path):
    """Rows, rows of the JSON file, and the data file say the same, NaN included."""
    entry = FIGURES["tirer2023/staircase"]
    rows = planted(entry)
    awkward = {
        "i": np.array([1.0, np.nan, -0.0]),
        "law": np.array([1e-300, 0.1, 1 / 3]),
        "measured": np.array([1.0, 2.0, 3.0]),
    }
    rows = [
        runner.Row(
            r.check,
            r.case,
            (),
            0.0,
            r.verdict,
            {},
            (Record("staircase", awkward), Record("unused", awkward)),
        )
        for r in rows
    ]
    document = json.loads(json.dumps(as_document(rows, {})))
    figures.make([entry.key], out=tmp_path, rows=rows)
    from_file = Data.load(tmp_path / f"{entry.stem}.npz")
    assert from_file.figure == entry.key
    assert from_file.caption == entry.caption
    for row, source, other in zip(
        rows, from_file.sources, by_case(document["rows"]).values(), strict=True
    ):
        assert (
            (source.check, source.case) == (other.check, other.case) == (row.check.key, row.case.id)
        )
        assert (
            source.parameters["lambda_H"]
            == other.parameters["lambda_H"]
            == row.case.parameters["lambda_H"]
        )
        assert source.records.keys() == {"staircase"}
        for name, column in awkward.items():
            np.testing.assert_array_equal(source.record("staircase")[name], column)
            np.testing.assert_array_equal(other.record("staircase")[name], column)


def test_parameters_that_are_functions_are_left_out():
    row = {
        "check": "a/b",
        "case": "c",
        "parameters": {"labels": len, "s": 0.1, "counts": [1, 2], "bias": None},
        "records": [],
    }
    assert Source.of(row).parameters == {"s": 0.1, "counts": [1, 2], "bias": None}


def test_what_the_rows_lack_is_named_and_the_rest_drawn(tmp_path):
    stairs, path = FIGURES["tirer2023/staircase"], FIGURES["tirer2023/central-path"]
    rows = [*planted(stairs)[1:], *planted(path)]
    written, lacking = figures.make(["tirer2023"], out=tmp_path, rows=rows)
    assert lacking["tirer2023/staircase"] == [
        f"tirer2023/gain-spectrum, {stairs.needs[0].cases[0].id}: staircase"
    ]
    assert "tirer2023/hyperparameters" in lacking
    assert {"tirer2023-central-path.pdf", "tirer2023-central-path.npz"} <= {
        name.rpartition("/")[2] for name in written
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda path: figures.wanted(["dang2024"]),
            "PAPER must be a paper or a figure among",
            id="paper",
        ),
        pytest.param(
            lambda path: figures.wanted(["hong2023"]),
            "; got 'hong2023', which has no figure",
            id="no-figure",
        ),
        pytest.param(
            lambda path: figures.wanted(["tirer2023/gain"]),
            "PAPER must be a paper or a figure among tirer2023/staircase, tirer2023/central-path, "
            "tirer2023/hyperparameters; got 'tirer2023/gain'",
            id="of-the-paper",
        ),
        pytest.param(
            lambda path: figures.make(["nobody/nothing"], out=path, rows=[]),
            "got 'nobody/nothing'",
            id="figure",
        ),
        pytest.param(
            lambda path: figures.make(out=path, rows=[], formats=["gif"]),
            "`formats` must be among pdf, png, svg",
            id="format",
        ),
        pytest.param(
            lambda path: figures.make(out=path, rows=[], formats=[]), "got none", id="no-format"
        ),
    ],
)
def test_bad_input(call, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="must be a data file written beside a figure"):
        figures.redraw(tmp_path / "other.npz", out=tmp_path)


def test_data_that_was_changed_is_refused(tmp_path):
    entry = FIGURES["tirer2023/staircase"]
    figures.make([entry.key], out=tmp_path, rows=planted(entry), formats=["svg"])
    path = tmp_path / f"{entry.stem}.npz"
    whole = path.read_bytes()
    with np.load(path) as file:
        held = dict(file)
    name = next(name for name in held if held[name].dtype == float)
    np.savez(path, **held | {name: held[name] + 1})
    changed = path.read_bytes()
    for content, said in (
        (changed, "changed since"),
        (whole[:-50], "not an .npz file"),
        (b"", "not an .npz file"),
    ):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=f"must be a data file written beside a figure .*{said}"
        ):
            figures.redraw(path, out=tmp_path)


def test_a_crash_leaves_the_old_figure(tmp_path, monkeypatch):
    entry = FIGURES["tirer2023/staircase"]
    figures.make([entry.key], out=tmp_path, rows=planted(entry))
    before = files(tmp_path)

    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(figures, "encoded", stopped)
    with pytest.raises(KeyboardInterrupt):
        figures.make([entry.key], out=tmp_path, rows=planted(entry))
    assert files(tmp_path) == before


def test_drawing_changes_nothing_global(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.make(
        ["tirer2023/staircase"], out=tmp_path, rows=planted(FIGURES["tirer2023/staircase"])
    )
    assert dict(matplotlib.rcParams) == before


def test_figures_solve_nothing():
    """They are drawn from rows: no figure module imports ufm's solvers or jax."""
    for module in {inspect.getmodule(entry.draw) for entry in FIGURES.values()}:
        names = [
            a.name
            for node in ast.walk(ast.parse(inspect.getsource(module)))
            if isinstance(node, ast.Import)
            for a in node.names
        ]
        assert set(names) <= {"numpy"}, module


def test_the_page_shows_the_figures_that_its_rows_allow(tmp_path):
    """A picture in the page and links to its files, but not to those of other numbers."""
    stairs, path = FIGURES["tirer2023/staircase"], FIGURES["tirer2023/central-path"]
    document = as_document([*planted(stairs), *planted(path)[1:]], REGISTRY.papers)
    folder = tmp_path / page_figures.FOLDER
    folder.mkdir()
    figures.make([stairs.key], out=folder, rows=document["rows"])
    html_report.write_document(tmp_path, document)
    page = (tmp_path / html_report.PAGE).read_text(encoding="utf-8")
    (image,) = re.findall(r"<img [^>]*>", page)
    assert 'src="data:image/svg+xml;base64,' in image
    assert f'alt="{stairs.description}"'.replace("'", "&#39;") in image
    picture = base64.b64decode(re.search(r'base64,([^"]*)"', image)[1])
    figures.redraw(folder / f"{stairs.stem}.npz", out=folder, formats=["svg"])
    assert picture == (folder / f"{stairs.stem}.svg").read_bytes()
    for kind in ("pdf", "png", "npz"):
        assert f'href="figures/{stairs.stem}.{kind}"' in page
    other = planted(stairs)
    other[0] = dataclasses.replace(
        other[0], records=(Record("staircase", {**PLANTED["staircase"], "law": T}),)
    )
    html_report.write_document(tmp_path, as_document(other, REGISTRY.papers))
    page = (tmp_path / html_report.PAGE).read_text(encoding="utf-8")
    assert page.count("<img ") == 1
    assert "figures/" not in page


# the command
# ----------------------------------------------------------------------


def command(*arguments) -> int:
    from theory_checks.engine.command import main

    return main(["figures", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["dang2024"], "got 'dang2024'", id="paper"),
        pytest.param(["--format", "pdf,gif"], "got pdf, gif", id="format"),
        pytest.param(["--from", "absent.json"], "No such file", id="no-rows"),
        pytest.param(["--from", "absent.npz"], "No such file", id="no-data"),
        pytest.param(["--from", __file__], "must be a JSON file", id="not-rows"),
    ],
)
def test_bad_arguments_stop_the_command_before_anything_runs(arguments, message, tmp_path, capsys):
    assert command("--out", tmp_path / "figures", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "figures").exists() or not list((tmp_path / "figures").iterdir())


def test_command_draws_the_rows_of_a_file_and_a_data_file(tmp_path, capsys):
    stairs = FIGURES["tirer2023/staircase"]
    write_json(tmp_path / "rows.json", as_document(planted(stairs), {}, command="none"))
    out = tmp_path / "out"
    assert (
        command(
            "tirer2023/staircase", "--from", tmp_path / "rows.json", "--out", out, "--format", "svg"
        )
        == 0
    )
    kinds = ("svg", "npz", "txt", "tex")
    assert files(out).keys() == {f"tirer2023-staircase.{kind}" for kind in kinds}
    again = tmp_path / "again"
    assert (
        command("--from", out / "tirer2023-staircase.npz", "--out", again, "--format", "svg") == 0
    )
    assert files(again)["tirer2023-staircase.svg"] == files(out)["tirer2023-staircase.svg"]
    # the file has no rows of any other figure
    capsys.readouterr()
    assert (
        command("tirer2023", "--from", tmp_path / "rows.json", "--out", again, "--format", "svg")
        == 1
    )
    assert (
        "tirer2023/central-path is not drawn: the rows lack tirer2023/central-path"
        in capsys.readouterr().err
    )


def test_command_runs_what_a_figure_needs(tmp_path, capsys):
    assert (
        command(
            "tirer2023/hyperparameters",
            "--out",
            tmp_path,
            "--format",
            "pdf",
            "--jobs",
            "1",
            "--no-cache",
        )
        == 0
    )
    shown = capsys.readouterr()
    assert "1 theorem, 2 cases" in shown.out
    assert shown.err == ""
    kinds = ("pdf", "npz", "txt", "tex")
    assert files(tmp_path).keys() == {f"tirer2023-hyperparameters.{kind}" for kind in kinds}


def test_all_runs_each_case_once_and_writes_page_and_figures(tmp_path, monkeypatch, capsys):
    """The quick cases of a check, and the slow ones that a figure shows."""
    from theory_checks.engine.command import main

    needed = {"tirer2023/hyperparameters": set(FIGURES["tirer2023/hyperparameters"].needs[0].cases)}
    slow = dataclasses.replace(next(iter(needed["tirer2023/hyperparameters"])), full=True)
    check = REGISTRY.checks["tirer2023/hyperparameters"]
    cases = tuple(slow if case.id == slow.id else case for case in check.cases)
    chosen = registry.Registry()
    chosen.papers = REGISTRY.papers
    chosen.checks = {check.key: dataclasses.replace(check, cases=cases)}
    monkeypatch.setattr(figures, "needed", lambda names: {check.key: set(cases[:2])})
    assert main(["all", "--out", str(tmp_path), "--no-cache"], registry=chosen) == 1
    shown = capsys.readouterr()
    assert f"1 theorem, {len(cases)} cases" in shown.out
    # of other papers there are no rows
    assert "tirer2023/staircase is not drawn: the rows lack" in shown.err
    drawn = [f"tirer2023-hyperparameters.{kind}" for kind in ("npz", "pdf", "png", "tex", "txt")]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == drawn
    assert {path.name for path in tmp_path.iterdir()} == {
        "figures",
        html_report.PAGE,
        html_report.DOCUMENT,
    }
    page = (tmp_path / html_report.PAGE).read_text(encoding="utf-8")
    assert "figures/tirer2023-hyperparameters.pdf" in page
    assert f"python -m theory_checks all --out {tmp_path} --no-cache" in page


def test_all_of_a_part_draws_what_shows_it_and_complains_of_nothing_else(tmp_path, capsys):
    from theory_checks.engine.command import main

    given = ["all", "-k", "tirer2023/hyperparameters", "--format", "svg", "--no-cache"]
    assert main([*given, "--jobs", "1", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""
    drawn = [f"tirer2023-hyperparameters.{kind}" for kind in ("npz", "svg", "tex", "txt")]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == drawn


def test_all_of_a_part_that_no_figure_shows_draws_none(tmp_path, monkeypatch, capsys):
    from theory_checks.engine.command import main

    monkeypatch.setattr(figures, "needed", lambda names: {})
    monkeypatch.setattr(figures, "wanted", lambda names=(): [])
    given = ["all", "-k", "tirer2023/hyperparameters", "--no-cache", "--jobs", "1"]
    assert main([*given, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "figures: none shows anything of this part" in shown.out
    assert shown.err == ""


def test_rows_outlive_a_fault_in_drawing_them(tmp_path, monkeypatch, capsys):
    from theory_checks.engine.command import main

    def broken(*given, **options):
        raise RuntimeError("a figure is broken")

    monkeypatch.setattr(figures, "make", broken)
    given = ["all", "-k", "tirer2023/hyperparameters", "--no-cache", "--jobs", "1"]
    with pytest.raises(RuntimeError, match="a figure is broken"):
        main([*given, "--out", str(tmp_path)])
    kept = tmp_path / "rows.json"
    assert f"rows: {kept}; go on with report --from" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["report", "--from", str(kept), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / html_report.PAGE).exists()


def test_all_refuses_a_format_before_it_runs(tmp_path, capsys):
    from theory_checks.engine.command import main

    assert main(["all", "--format", "gif", "--out", str(tmp_path / "new")]) == 2
    assert "`formats` must be among pdf, png, svg; got gif" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_command_makes_all_figures(tmp_path):
    assert command("--out", tmp_path) == 0
    assert files(tmp_path).keys() == {
        f"{entry.stem}.{kind}"
        for entry in FIGURES.values()
        for kind in ("pdf", "png", "npz", "txt", "tex")
    }
