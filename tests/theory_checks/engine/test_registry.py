"""The rules by which rows are judged, on checks that solve nothing."""

import contextlib
import dataclasses
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.theory_checks.planting import as_declared, plant
from theory_checks.engine import runner
from theory_checks.engine.claims import worst_of
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.document import as_document
from theory_checks.engine.registry import Case, Claim, Record, Registry, Setting, Verdict
from theory_checks.engine.summary import by_theorem, evidence

TRUE = Claim("true", 1.0, 1.0 + 1e-9, tolerance=1e-7)
FALSE = Claim("false", 1.0, 1.1, tolerance=1e-7)
NEARLY = Claim("nearly", 1.0, 1.0 + 5e-7, tolerance=1e-7)
NOT_A_NUMBER = Claim("nan", np.nan, 1.0, tolerance=1e-7)
WITNESS = Claim("witness", 0.0, 0.0, tolerance=1e-10, witness=True)
BROKEN_WITNESS = Claim("broken witness", 1.0, 0.0, tolerance=1e-10, witness=True)


def registry_with(function, *, setting=Setting.INSIDE, regime=None, **options) -> Registry:
    """A registry with one check of one case that builds no problem."""

    registry = Registry()
    registry.paper("paper", "A paper")
    case = Case("case", setting, {}, build=lambda: None, **options)

    def what(case):
        """A statement."""
        yield from function(case)

    plant(registry, "paper/what", what, (case,), regime=regime or as_declared)
    return registry


HOLDS = registry_with(lambda case: [TRUE])


def only_row(registry: Registry) -> runner.Row:
    (row,) = runner.run(registry.matching())
    return row


@pytest.mark.parametrize(
    ("setting", "claims", "verdict"),
    [
        pytest.param(Setting.INSIDE, [TRUE, WITNESS], Verdict.HOLDS, id="inside-all-hold"),
        pytest.param(Setting.INSIDE, [TRUE, FALSE], Verdict.FAILS, id="inside-one-fails"),
        pytest.param(Setting.INSIDE, [TRUE, NOT_A_NUMBER], Verdict.FAILS, id="inside-nan"),
        pytest.param(Setting.INSIDE, [], Verdict.FAILS, id="nothing-claimed"),
        pytest.param(Setting.INSIDE, [WITNESS], Verdict.FAILS, id="inside-witness-alone"),
        pytest.param(Setting.BOUNDARY, [WITNESS], Verdict.FAILS, id="boundary-witness-alone"),
        pytest.param(Setting.BOUNDARY, [TRUE, FALSE], Verdict.FAILS, id="boundary-one-fails"),
        pytest.param(Setting.OUTSIDE, [TRUE, FALSE, WITNESS], Verdict.HOLDS, id="outside-violated"),
        pytest.param(Setting.OUTSIDE, [TRUE, WITNESS], Verdict.FAILS, id="outside-not-violated"),
        pytest.param(
            Setting.OUTSIDE, [TRUE, NEARLY], Verdict.FAILS, id="outside-missed-by-rounding-only"
        ),
        pytest.param(
            Setting.OUTSIDE, [NOT_A_NUMBER], Verdict.FAILS, id="outside-nan-is-no-violation"
        ),
        pytest.param(
            Setting.OUTSIDE, [FALSE, BROKEN_WITNESS], Verdict.FAILS, id="outside-witness-broken"
        ),
    ],
)
def test_verdict_of_a_row(setting, claims, verdict):
    assert only_row(registry_with(lambda case: claims, setting=setting)).verdict is verdict


@pytest.mark.parametrize(
    ("setting", "found", "brief", "reason"),
    [
        pytest.param(Setting.INSIDE, [], "nothing is claimed", "nothing was claimed$", id="none"),
        pytest.param(
            Setting.INSIDE,
            [WITNESS],
            "nothing is claimed",
            "nothing was claimed of the theorem",
            id="witness-alone",
        ),
        pytest.param(
            Setting.OUTSIDE,
            [TRUE, WITNESS],
            "nothing is missed outside",
            "no claim .* error is 1.0e-09, true$",
            id="outside",
        ),
    ],
)
def test_a_case_that_fails_with_all_claims_held_says_what_it_lacks(setting, found, brief, reason):
    """Inside the hypotheses nothing was missed outside."""
    row = only_row(registry_with(lambda case: found, setting=setting))
    (theorem,) = by_theorem([row])
    assert theorem.deciding == brief
    (said,) = evidence(row)
    assert re.match(reason, said)


def test_exception_is_an_error_with_its_message_and_keeps_what_came_before():
    def function(case):
        yield TRUE
        yield Record("numbers", {"x": np.arange(3)})
        raise RuntimeError("no convergence")

    row = only_row(registry_with(function))
    assert row.verdict is Verdict.ERROR
    (line,) = re.findall(
        r"^RuntimeError: no convergence \(engine/test_registry\.py, line (\d+)\)$", row.message
    )
    assert (
        "no convergence" in Path(__file__).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    )
    assert row.claims == (TRUE,)
    assert row.records[0].name == "numbers"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        pytest.param(lambda: Record("x", [1, 2]), "x: columns [1, 2]", id="no-columns"),
        pytest.param(lambda: Record("x", {"a": 3.0}), "a is no column of numbers", id="number"),
        pytest.param(lambda: Record("x", {"a": ["u"]}), "a is no column of numbers", id="words"),
        pytest.param(
            lambda: Refutation("x", 1.0, {"W_1": np.eye(2)}), "KeyError: 'lambda_W'", id="no-point"
        ),
    ],
)
def test_what_cannot_be_written_is_an_error_of_its_case(made, message):
    """The run ended where it was written."""

    def function(case):
        yield TRUE
        yield made()

    registry = registry_with(function)
    row = only_row(registry)
    assert row.verdict is Verdict.ERROR
    assert message in row.message
    as_document([row], registry.papers)


def _generator(case):
    yield TRUE
    yield from (found for found in [3.0])


@pytest.mark.parametrize(
    "function",
    [pytest.param(_generator, id="generator"), pytest.param(lambda case: [TRUE, 3.0], id="list")],
)
def test_what_is_no_claim_is_an_error_of_its_case(function):
    """It ended the run, and all other rows were lost."""
    row = only_row(registry_with(function))
    assert row.verdict is Verdict.ERROR
    assert row.message.startswith(
        "TypeError: a check must yield claims, records and refutations; got 3.0 "
        "(engine/test_registry.py, line "
    )
    assert row.claims == (TRUE,)


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        pytest.param("", {"li2023/etf-2", "kothapalli2023/nc"}, id="all"),
        # (it was found in kothapalli2023 too)
        pytest.param("LI2023", {"li2023/etf-2"}, id="paper"),
        pytest.param("2023", {"li2023/etf-2", "kothapalli2023/nc"}, id="year"),
        pytest.param("23", set(), id="end-of-a-number"),
        pytest.param("2", {"li2023/etf-2", "kothapalli2023/nc"}, id="beginning-of-a-number"),
        pytest.param("-2", {"li2023/etf-2"}, id="no-word"),
        pytest.param("li2023/etf", {"li2023/etf-2"}, id="beginning-of-a-key"),
    ],
)
def test_patterns_begin_words(pattern, keys):
    registry = Registry()
    for key in ("li2023/etf-2", "kothapalli2023/nc"):
        registry.checks[key] = dataclasses.replace(HOLDS.checks["paper/what"], key=key)
    assert {check.key for check in registry.matching(pattern)} == keys


def test_declared_setting_must_agree_with_the_hypotheses():
    def regime(case):
        """Never."""
        return Setting.OUTSIDE

    row = only_row(registry_with(lambda case: [TRUE], regime=regime))
    assert row.verdict is Verdict.ERROR
    assert "declared inside but its hypotheses say outside" in row.message


def test_unconverged_solve_is_an_error_not_a_failure():
    import ufm
    from theory_checks.engine.measure import solve

    parameters = {"class_counts": (2, 2), "widths": (2,), "lambda_W": 0.1, "lambda_H": 0.1}
    case = Case("two steps", Setting.INSIDE, parameters)

    def function(_):
        solve(case, solver=ufm.solvers.Newton(max_steps=1))
        yield TRUE

    row = only_row(registry_with(function))
    assert row.verdict is Verdict.ERROR
    assert row.message.startswith("NotConverged")


def test_float32_is_refused():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="jax_enable_x64"):
            only_row(registry_with(lambda case: [TRUE]))
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        pytest.param(0.97, Setting.INSIDE, id="below"),
        pytest.param(1.0 + 1e-12, Setting.BOUNDARY, id="at-to-rounding"),
        pytest.param(1.0 + 1e-6, Setting.OUTSIDE, id="just-above"),
    ],
)
def test_settings_of_a_threshold(value, setting):
    mirrored = {Setting.INSIDE: Setting.OUTSIDE, Setting.OUTSIDE: Setting.INSIDE}.get(
        setting, setting
    )
    assert Setting.below(value, 1.0) is setting
    assert Setting.above(value, 1.0) is mirrored
    assert Setting.all_of(True, Setting.below(value, 1.0)) is setting
    assert Setting.all_of(False, Setting.below(value, 1.0)) is Setting.OUTSIDE


@pytest.mark.parametrize("predicted", [0.0, 1.0, -1.0, 1e-9, -0.5, 1e6])
@pytest.mark.parametrize("amount", [1e-5, -1e-5])
def test_shift_never_cancels(predicted, amount):
    """The error after a shift is at least the shift, whatever the sign and size of the
    prediction."""
    claim = Claim("exact", predicted, predicted, tolerance=1e-7, scale=2.0)
    assert claim.error == 0
    assert claim.shifted(amount).error >= abs(amount) * (1 - 1e-3)


def test_rounding_does_not_choose_the_worst_claim():
    """Which of several exact claims it hits most differs between machines."""
    claims = [Claim(name, error, 0.0, 1e-10) for name, error in (("value", 0.0), ("gap", 9e-14))]
    assert max(claims, key=lambda claim: claim.rank).name == "value"
    claims.append(Claim("logits", 2e-13, 0.0, 1e-10))
    assert max(claims, key=lambda claim: claim.rank).name == "logits"
    claims.append(Claim("features", np.nan, 0.0, 1e-10))
    assert max(claims, key=lambda claim: claim.rank).name == "features"


@pytest.mark.parametrize(
    "errors", [(3e-11, 9e-11, 0.0), (3e-11, np.nan, 0.0)], ids=["largest", "not-a-number"]
)
def test_the_worst_of_several_keeps_the_points_of_all(errors):
    points = [((f"problem {i}", f"params {i}"),) for i in range(3)]
    made = [
        Claim("gap", error, 0.0, 1e-10, points=at) for error, at in zip(errors, points, strict=True)
    ]
    worst = worst_of(made)
    np.testing.assert_equal(worst.error, errors[1])
    assert worst.points == (*points[0], *points[1], *points[2])
    assert worst.without_points().points == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(([], [], 1e-7), "x: nothing measured", id="empty"),
        pytest.param((5.0, 0.0, 1e-7, np.inf), "x: scale inf", id="scale"),
        pytest.param((5.0, 0.0, np.inf), "x: tolerance inf, which must", id="tolerance"),
        pytest.param((5.0, 0.0, 0.0), "x: tolerance 0.0, which must", id="no-tolerance"),
        pytest.param((5.0, 5.0, 6e-6), "x: tolerance 6e-06, .* at most 5e-06", id="forgiving"),
    ],
)
def test_a_claim_that_could_not_fail_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Claim("x", *arguments)


def test_registration_refuses_what_a_report_could_not_show():
    registry = registry_with(lambda case: [TRUE])

    def regime(case):
        """Always."""
        return Setting.INSIDE

    def silent(case):
        yield TRUE

    case = Case("a", Setting.INSIDE, {})
    options = {"formula": "", "source": "", "regime": regime}
    for key, cases, message in (
        ("paper/what", (case,), "needs|twice|docstrings"),
        ("unknown/what", (case,), "paper"),
        ("paper/other", (case, case), "docstrings|distinct"),
    ):
        with pytest.raises(ValueError, match=message):
            registry.check(key=key, cases=cases, **options)(silent)


def registered(settings, **options):
    """Register a check with a case of each setting, in capital letters a slow one."""

    def what(case):
        """A statement."""
        yield TRUE

    registry = Registry()
    registry.paper("paper", "A paper")
    cases = [Case(word, Setting(word.lower()), {}, full=word.isupper()) for word in settings]
    told = {"formula": "", "source": "", "regime": as_declared, "cases": cases}
    registry.check(key="paper/what", **told, **options)(what)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            "inside boundary", "of its cases .* got only inside and boundary$", id="no-out"
        ),
        pytest.param("outside", "of its cases one .* got only outside$", id="no-in"),
        pytest.param("inside OUTSIDE", "of its quick cases .* got only inside$", id="slow-outside"),
        pytest.param("outside INSIDE", "of its quick cases .* got only outside$", id="slow-inside"),
        pytest.param("INSIDE OUTSIDE", "", id="all-slow"),
        pytest.param("boundary outside INSIDE", "", id="both-sides"),
    ],
)
def test_registration_refuses_a_check_on_one_side_of_its_hypotheses(settings, message):
    """It held, and could not fail."""
    refused = pytest.raises(ValueError, match=f"^paper/what: {message}")
    with refused if message else contextlib.nullcontext():
        registered(settings.split())


def test_registration_refuses_to_expect_a_failure():
    with pytest.raises(ValueError, match=r"paper/what: `expected` must be .* got <Verdict.FAILS"):
        registered([Setting.INSIDE, Setting.OUTSIDE], expected=Verdict.FAILS)


def test_refuted_is_no_failure():
    assert Verdict.REFUTED.ok
    assert Verdict.worst([Verdict.HOLDS, Verdict.REFUTED]) is Verdict.REFUTED
    # what refutes a theorem refutes it, whatever its other cases do
    assert Verdict.worst([Verdict.REFUTED, Verdict.ERROR, Verdict.FAILS]) is Verdict.REFUTED
    assert Verdict.worst([Verdict.ERROR, Verdict.FAILS, Verdict.HOLDS]) is Verdict.FAILS


def test_document_is_plain_json_with_null_for_nan():
    row = only_row(registry_with(lambda case: [NOT_A_NUMBER, WITNESS]))
    document = as_document([row], {"paper": "A paper"})
    (found,) = document["rows"]
    assert found["claims"][0]["error"] is None
    assert found["claims"][0]["measured"] is None
    assert found["settings"]["dtype"] == "float64"
    assert document["checks"][0]["hypotheses"] == "As declared."
    assert document["checks"][0]["statement"] == "A statement."
