"""With `--prove`: what is said to be proved is, and what is not is named with the reason."""

import dataclasses
import io
import json
import pickle
import sys

import jax
import numpy as np
import pytest

import ufm
from tests.theory_checks.planting import plant
from tests.theory_checks.refuted import refutation
from theory_checks.engine import command, proofs, runner
from theory_checks.engine.claims import CERTIFICATE_CLAIM, Claim
from theory_checks.engine.document import as_document
from theory_checks.engine.html_report import render
from theory_checks.engine.measure import Point
from theory_checks.engine.registry import Case, Registry, Setting, Verdict

NUMBER = Claim("number", 1.0, 1.0, 1e-7)
LABELS = ufm.one_hot((3, 2, 1), collapsed=True)


class Secret(ufm.MeanSquaredError):
    """A loss without an interval form."""

    enclose = ufm.losses.AbstractLoss.enclose


def problem_of(loss=None):
    return ufm.Problem(
        LABELS, loss=loss or ufm.MeanSquaredError(), widths=(3,), lambda_W=0.02, lambda_H=0.02
    )


def certified(loss=None, *, off=0.0):
    """The certificate of a minimum, or of a point that is `off` and whose gap nobody looks at."""
    problem = problem_of()
    params = jax.tree.map(
        lambda x: x * (1 + off), ufm.minimise(problem, key=jax.random.key(0), progress=False).params
    )
    point = Point(problem_of(loss), params, 0.0)
    return dataclasses.replace(point.certificate_claim(), tolerance=5e-6)


# the checks of one planted paper
# ----------------------------------------------------------------------


def minimum(case):
    """It has a minimum."""
    yield NUMBER
    yield certified()


def mixed(case):
    """Some of its minima can be enclosed."""
    yield NUMBER
    yield certified()
    yield certified(Secret())


def on_spheres(case):
    """Its minimum has the length of its vectors given."""
    problem = ufm.Problem(
        LABELS,
        loss=ufm.CrossEntropy(),
        widths=(3,),
        lambda_W=0.0,
        lambda_H=0.0,
        features=ufm.domains.Sphere(2.0),
        classifier=ufm.domains.Sphere(1.0),
    )
    params = ufm.minimise(problem, key=jax.random.key(0), progress=False).params
    yield NUMBER
    yield Point(problem, params, 0.0).certificate_claim()


def pointless(case):
    """It keeps no point."""
    yield NUMBER
    yield Claim(CERTIFICATE_CLAIM, 0.0, 0.0, 1e-10, witness=True)


def loose(case):
    """Its point is not the minimum."""
    yield NUMBER
    yield certified(off=1e-3)


def uncertified(case):
    """It has no certificate."""
    yield NUMBER


def refuted(case):
    """A point is claimed to be the least."""
    yield Claim("witness", 1.0, 1.0, 1e-7, witness=True)
    yield refutation()


def refuted_in_floats(case):
    """Nobody knows a lower end of what is claimed."""
    yield Claim("witness", 1.0, 1.0, 1e-7, witness=True)
    yield dataclasses.replace(refutation(), least=None)


def planted(*functions) -> Registry:
    registry = Registry()
    registry.paper("paper", "A paper")
    case = Case("the case", Setting.INSIDE, {}, build=lambda: None)
    for function in functions:
        expected = Verdict.REFUTED if "refuted" in function.__name__ else Verdict.HOLDS
        plant(registry, f"paper/{function.__name__}", function, (case,), expected=expected)
    return registry


def row_of(function, *, prove=True) -> runner.Row:
    (row,) = runner.run(planted(function).matching(), prove=prove)
    return row


SAID = {
    minimum: (Verdict.HOLDS, True, []),
    on_spheres: (Verdict.HOLDS, True, []),
    mixed: (Verdict.HOLDS, False, ["`problem.loss` must have an interval form"]),
    pointless: (Verdict.HOLDS, False, ["its check keeps no point to prove"]),
    loose: (Verdict.FAILS, False, ["its enclosure is "]),
    uncertified: (Verdict.HOLDS, False, []),
    refuted: (Verdict.REFUTED, True, []),
    refuted_in_floats: (
        Verdict.REFUTED,
        False,
        [f"{refutation().name}: its check has no lower end"],
    ),
}


@pytest.fixture(scope="module")
def rows():
    registry = planted(*SAID)
    return list(runner.run(registry.matching(), prove=True)), registry.papers


@pytest.mark.parametrize("function", SAID, ids=lambda function: function.__name__)
def test_what_is_proved_and_why_not(rows, function):
    from theory_checks.engine.summary import unproved

    row = next(row for row in rows[0] if row.check.function is function)
    verdict, proved, reasons = SAID[function]
    assert (row.verdict, row.proved, row.message) == (verdict, proved, "")
    found = unproved(row)
    assert len(found) == len(reasons)
    assert all(said.startswith(reason) for said, reason in zip(found, reasons, strict=True))


def test_an_enclosure_is_of_the_minimum_and_a_witness_of_its_width():
    row = row_of(minimum)
    (proof,) = row.proofs
    value = float(ufm.closed_form(problem_of()).value)
    # a closed form is rounded as well
    slack = 4 * np.spacing(value)
    assert proof.lower - slack <= value <= proof.upper + slack
    *_, width = row.claims
    assert (width.name, width.witness, width.holds) == (proofs.WIDTH_CLAIM, True, True)
    assert (
        width.error
        == proof.width
        == pytest.approx((proof.upper - proof.lower) / proof.upper, rel=1)
    )
    assert not row_of(loose).claims[-1].holds


def test_nothing_is_proved_unless_asked_for():
    for function in (minimum, refuted):
        row = row_of(function, prove=False)
        assert (row.proofs, row.proved) == (None, False)
        assert all(claim.name != proofs.WIDTH_CLAIM for claim in row.claims)
        assert all(r.upper is r.claimed_lower is None for r in row.refutations)


def test_a_row_travels_without_arrays_of_a_device():
    for function in (minimum, refuted):
        row = row_of(function)
        assert all(claim.points == () for claim in row.claims)
        assert all(r.least is None for r in row.refutations)
        assert runner.Row(row.check, row.case, **pickle.loads(pickle.dumps(row.plain()))).proved


@pytest.mark.parametrize("bias", [None, 0.3])
def test_the_value_in_balls_is_that_of_the_objective(bias):
    found = refutation(bias=bias)
    if bias is not None:
        found = dataclasses.replace(found, arrays={**found.arrays, "b": np.arange(4.0)})
    above = proofs.value_above(found.arrays)
    assert above == pytest.approx(found.value, rel=1e-14)


def test_a_refutation_by_less_than_rounding_is_not_proved():
    found = proofs.enclosed(refutation())
    assert found.proved
    assert found.upper < found.claimed_lower <= found.claimed * (1 + 1e-14)
    tie = dataclasses.replace(found, claimed_lower=found.upper)
    assert not tie.proved
    assert "at most" in tie.reason
    with np.load(io.BytesIO(found.as_npz())) as file:
        assert (float(file["upper"]), float(file["claimed_lower"])) == (
            found.upper,
            found.claimed_lower,
        )


# what is shown
# ----------------------------------------------------------------------


def test_the_screen_says_so(capsys):
    assert (
        command.main(["--no-cache", "--prove", "-v"], registry=planted(minimum, mixed, refuted))
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    starts = [line[:18].strip() for line in lines[2:] if line.startswith("  ") and line[2] != " "]
    assert starts[:3] == ["holds, proved", "holds", "REFUTED, proved"]
    assert any(line.startswith("          holds, proved   inside ") for line in lines)
    assert any(f": proved, {proofs.enclosed(refutation()).upper!r} < " in line for line in lines)
    (at,) = [
        i
        for i, line in enumerate(lines)
        if line.startswith("proved: 1 of 2 certified cases, the widest enclosure ")
    ]
    assert lines[at - 1].startswith("3 theorems, 3 cases: 1 refuted, 2 hold; 2 tried on one side")
    assert lines[at].endswith("; 1 of 1 refutation")
    assert lines[at + 1].startswith("  not proved: paper/mixed: the case: `problem.loss` must have")


def test_markdown_says_so(capsys):
    assert (
        command.main(
            ["--no-cache", "--prove", "--format", "github"],
            registry=planted(minimum, mixed, refuted),
        )
        == 0
    )
    shown = capsys.readouterr().out
    for part in (
        "| holds, proved | `minimum` |",
        "| holds | `mixed` |",
        "| **refuted**, proved |",
        "proved: 1 of 2 certified cases",
    ):
        assert part in shown
    assert "- not proved: `paper/mixed`, the case: `problem.loss`" in shown


def test_the_page_and_its_numbers_say_so(rows):
    document = as_document(*rows)
    json.dumps(document, allow_nan=False)
    assert [row["proved"] for row in document["rows"]] == [proved for _, proved, _ in SAID.values()]
    assert [check["proved"] for check in document["checks"]] == [
        proved for _, proved, _ in SAID.values()
    ]
    page = render(document)
    assert "Proved: 2 of 5 certified cases" in page
    assert "Not proved: paper/mixed, the case: `problem.loss` must have" in page
    assert "<dt>Proofs</dt><dd>1 of 2 minima enclosed" in page
    assert "✓</span> holds, proved</span>" in page
    assert "≠</span> refuted, proved</span>" in page
    assert f"<code>{proofs.enclosed(refutation()).claimed_lower!r}</code>" in page
    assert "proved" not in render(as_document([row_of(minimum, prove=False)], {})).replace(
        "improved", ""
    )


def test_without_the_library_nothing_is_solved(monkeypatch, capsys):
    def never(case):
        """It must not run."""
        raise AssertionError("ran")
        yield

    monkeypatch.setitem(sys.modules, "flint", None)
    assert command.main(["--no-cache", "--prove"], registry=planted(never)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line == "--prove: a proof needs the interval library python-flint, the extra `ufm[proofs]`"
    )


def test_what_needs_the_library_is_left_out_by_name(monkeypatch, capsys):
    """In an installation without extras no theorem is undecided for want of a library."""
    registry = planted_registry()
    monkeypatch.setattr(proofs, "without_library", lambda: "there is none")
    assert command.main(["--no-cache"], registry=registry) == 0
    shown = capsys.readouterr()
    assert "1 theorem, 1 case: 1 holds" in shown.out
    assert shown.err == "left out without the extra `ufm[proofs]`: paper/exact\n"
    assert command.main(["-k", "exact", "--no-cache"], registry=registry) == 2
    monkeypatch.setattr(proofs, "without_library", lambda: None)
    assert command.main(["--no-cache"], registry=registry) == 0
    assert "2 theorems, 2 cases" in capsys.readouterr().out


def planted_registry() -> Registry:
    """Two checks that hold, of which one asks for exact arithmetic."""

    def plain(case):
        """It holds."""
        yield Claim("one", 1.0, 1.0, tolerance=1e-7)

    def exact(case):
        """It holds exactly."""
        yield from plain(case)

    registry = Registry()
    registry.paper("paper", "A paper")
    for function, extra in ((plain, ""), (exact, "proofs")):
        case = Case("case", Setting.INSIDE, {}, build=lambda: None)
        plant(registry, f"paper/{function.__name__}", function, (case,), extra=extra)
    return registry
