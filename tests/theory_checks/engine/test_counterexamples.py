"""A refutation is a lower value that anyone can evaluate.

The file, the ten lines that read it, and when the verdict is given.
"""

import dataclasses
import inspect
import io
import json
import os
import re
from pathlib import Path

import jax
import numpy as np
import pytest

import ufm
from tests.theory_checks.planting import plant
from theory_checks.engine import command, files, runner
from theory_checks.engine.counterexamples import Refutation, file_name
from theory_checks.engine.proofs import value_above
from theory_checks.engine.registry import Case, Claim, Registry, Setting, Verdict, narrowed
from theory_checks.engine.summary import Theorem, by_theorem, told_again
from theory_checks.papers import dang2023_cross_entropy

WITNESS = Claim("witness", 1.0, 1.0, tolerance=1e-7, witness=True)


def problem_of(bias=None, M=2):
    labels = ufm.one_hot((3, 2, 1))
    lambda_W = tuple(0.1 / (m + 1) for m in range(M))
    return ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(4, 3, 5)[:M],
        lambda_W=lambda_W,
        lambda_H=0.02,
        bias=bias,
    )


def refutation(claimed, *, bias=None, M=2):
    """A random point held against a claimed value."""
    problem = problem_of(bias, M)
    params = ufm.solvers.random_start(problem, key=jax.random.key(1))
    if bias is not None:
        params = ufm.Params(params.weights, params.features, jax.numpy.arange(3.0))
    return Refutation.at("a point", claimed, problem, params), float(
        ufm.model.objective(problem, params)
    )


@pytest.mark.parametrize("M", [1, 2, 3])
@pytest.mark.parametrize("bias", [None, "free", 0.3])
def test_plain_numpy_agrees_with_the_objective(M, bias):
    found, value = refutation(1.0, M=M, bias=bias)
    assert found.value == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    ("setting", "above", "claims", "verdict"),
    [
        pytest.param(Setting.INSIDE, 1e-6, (WITNESS,), Verdict.REFUTED, id="lower"),
        pytest.param(Setting.BOUNDARY, 1e-6, (WITNESS,), Verdict.REFUTED, id="on-the-boundary"),
        pytest.param(
            Setting.INSIDE,
            1e-6,
            (WITNESS, Claim("theorem", 1.0, 2.0, 1e-7)),
            Verdict.REFUTED,
            id="its-claim-is-missed",
        ),
        pytest.param(Setting.INSIDE, 1e-10, (WITNESS,), Verdict.FAILS, id="lower-by-rounding"),
        pytest.param(Setting.INSIDE, -1e-3, (WITNESS,), Verdict.FAILS, id="higher"),
        pytest.param(Setting.INSIDE, np.nan, (WITNESS,), Verdict.FAILS, id="not-a-number"),
        pytest.param(Setting.INSIDE, 1e-6, (), Verdict.FAILS, id="no-witness"),
        pytest.param(
            Setting.INSIDE, 1e-6, (WITNESS.shifted(1e-3),), Verdict.FAILS, id="a-witness-is-missed"
        ),
    ],
)
def test_verdict(setting, above, claims, verdict):
    _, value = refutation(0.0)
    found, _ = refutation(value * (1 + above))
    assert found.is_lower == (above == 1e-6)
    assert runner.judge(setting, claims, (found,)) is verdict


def test_one_unproved_refutation_spoils_the_verdict():
    _, value = refutation(0.0)
    proved, unproved = refutation(2 * value)[0], refutation(0.5 * value)[0]
    assert runner.judge(Setting.INSIDE, (WITNESS,), (proved, unproved)) is Verdict.FAILS


def test_outside_the_hypotheses_nothing_is_refuted():
    """The verdict was `fails`, which hid what is refuted inside."""
    _, value = refutation(0.0)

    def lower_everywhere(case):
        """The least value is a quarter higher."""
        yield WITNESS
        yield Claim("value", value, 1.25 * value, 1e-7)
        yield refutation(1.25 * value)[0]

    registry = Registry()
    registry.paper("paper", "A paper")
    cases = tuple(
        Case(setting, setting, {}, build=lambda: None)
        for setting in (Setting.INSIDE, Setting.OUTSIDE)
    )

    def regime(case):
        """As declared."""
        return case.setting

    registry.check(key="paper/lower", formula="", source="", regime=regime, cases=cases)(
        lower_everywhere
    )
    inside, outside = runner.run(registry.matching())
    assert (inside.verdict, outside.verdict) == (Verdict.REFUTED, Verdict.HOLDS)
    assert not outside.refutations
    (theorem,) = by_theorem([inside, outside])
    assert theorem.verdict is Verdict.REFUTED
    assert [row.case.id for row, _ in theorem.refutations] == ["inside"]


def test_a_boundary_is_named_as_one(capsys):
    """It was "boundary the hypotheses"."""
    registry, _ = planted_registry(Setting.BOUNDARY, claimed=0.5)
    assert command.main(["run", "--no-cache"], registry=registry) == 1
    assert "M=2, the case (on the boundary of the hypotheses): " in capsys.readouterr().out


def one_layer(loss, *, widths=(3,), **of):
    lam = dict(lambda_W=0.1, lambda_H=0.02)
    return ufm.Problem(ufm.one_hot((3, 2, 1)), loss=loss, widths=widths, **lam, **of)


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(ufm.losses.AdjustedCrossEntropy(additive=[0.0, 1.0, 2.0]), id="additive"),
        pytest.param(ufm.losses.AdjustedCrossEntropy(multiplicative=[1.0, 0.5, 2]), id="factors"),
    ],
)
def test_adjusted_logits_are_evaluated(loss):
    problem = one_layer(loss)
    params = ufm.solvers.random_start(problem, key=jax.random.key(1))
    found, value = Refutation.at("x", 1.0, problem, params), ufm.model.objective(problem, params)
    assert found.value == pytest.approx(float(value), rel=1e-14)
    assert value_above(found.arrays) == pytest.approx(float(value), rel=1e-14)


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(one_layer(ufm.MeanSquaredError()), id="squared-error"),
        pytest.param(one_layer(ufm.losses.Focal(2.0)), id="focal"),
        pytest.param(
            one_layer(ufm.CrossEntropy(), widths=(3, 3), activation="relu"), id="activation"
        ),
        pytest.param(
            one_layer(ufm.CrossEntropy(), anchor=np.ones((3, 6)), beta=0.1), id="anchored"
        ),
    ],
)
def test_another_objective_is_refused(problem):
    """Activations and anchors were left out, and true minima refuted."""
    params = ufm.solvers.random_start(problem, key=jax.random.key(1))
    with pytest.raises(ValueError, match=r"^`problem` must be linear, .* evaluated as "):
        Refutation.at("x", 1.0, problem, params)


def planted_registry(setting=Setting.INSIDE, *, claimed=1.25):
    _, value = refutation(0.0)

    def refuted(case):
        """A point is claimed to be the least."""
        yield WITNESS
        yield refutation(claimed * value)[0]

    registry = Registry()
    registry.paper("paper", "A paper")
    case = Case("M=2, the case", setting, {}, build=lambda: None)
    plant(registry, "paper/refuted", refuted, (case,), expected=Verdict.REFUTED)
    return registry, value


INSIDE, OUTSIDE, SLOW = (
    Case(name, setting, {}, build=lambda: None, full=name == "slow")
    for name, setting in (
        ("inside", Setting.INSIDE),
        ("outside", Setting.OUTSIDE),
        ("slow", Setting.INSIDE),
    )
)


def refuted_by_a_slow_case(*cases, expected=Verdict.HOLDS):
    """A registry with a check of some of these cases."""
    _, value = refutation(0.0)

    def slowly(case):
        """It is false in a slow case."""
        yield WITNESS
        yield Claim("theorem", 1.0, 1.0 + (case is OUTSIDE), 1e-7)
        if case is SLOW:
            yield refutation(1.25 * value)[0]

    registry = Registry()
    registry.paper("paper", "A paper")
    plant(registry, "paper/slowly", slowly, cases, expected=expected)
    return registry


UNFORESEEN = "nobody expected this: its check expects it to hold"
LEFT_OUT = "its check expects it to be refuted, and no case of this run does; 1 left out"
NONE_DOES = "its check expects it to be refuted, and no case does"


@pytest.mark.parametrize(
    ("cases", "expected", "status", "remark"),
    [
        pytest.param("inside outside", Verdict.HOLDS, 0, "", id="holds"),
        pytest.param("inside outside", Verdict.REFUTED, 1, NONE_DOES, id="none-refutes"),
        pytest.param("inside outside slow", Verdict.REFUTED, 0, "", id="refuted"),
        pytest.param("inside outside slow", Verdict.HOLDS, 1, UNFORESEEN, id="unforeseen"),
        # the case that refutes it may be the one that a quick run leaves out
        pytest.param("inside outside (slow)", Verdict.REFUTED, 0, LEFT_OUT, id="left-out"),
        pytest.param("inside outside (slow)", Verdict.HOLDS, 0, "", id="unforeseen-left-out"),
    ],
)
def test_a_verdict_that_nobody_expected_is_an_exit_status(
    cases, expected, status, remark, tmp_path, capsys
):
    """A refuted theorem that should hold was a success."""
    found = [case for case in (INSIDE, OUTSIDE, SLOW) if case.id in cases]
    registry = refuted_by_a_slow_case(*found, expected=expected)
    full = [] if "(slow)" in cases else ["--full"]
    given = ["report", "--no-cache", "--out", str(tmp_path), *full]
    assert command.main(given, registry=registry) == status
    shown = capsys.readouterr().out
    assert ("; 1 not as expected\n" in shown) == (status == 1)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in (UNFORESEEN, LEFT_OUT, NONE_DOES):
        assert (f"  {said}\n" in shown) == (said == remark)
        assert (f"<p>{said.capitalize()}.</p>" in page) == (said == remark)
    run = ["run", "--no-cache", "--format", "github", *full]
    assert command.main(run, registry=registry) == status
    assert (f"\n  - {remark}\n" in capsys.readouterr().out) == (remark != "")


def test_the_refutation_that_nobody_expected_is_told_first():
    registry, _ = planted_registry()
    (check,) = registry.matching()
    unforeseen = dataclasses.replace(check, expected=Verdict.HOLDS)
    rows = [row for one in (check, unforeseen) for row in runner.run([one])]
    theorems = [Theorem(row.check, (row,)) for row in rows]
    assert [theorem.check for theorem in told_again(theorems)] == [unforeseen, check]


def test_a_check_of_which_a_figure_shows_a_part_may_be_refuted_elsewhere():
    registry = refuted_by_a_slow_case(INSIDE, OUTSIDE, SLOW, expected=Verdict.REFUTED)
    part = narrowed(registry.matching()[0], [INSIDE])
    (theorem,) = by_theorem(runner.run([part]))
    assert (theorem.verdict, theorem.left_out) == (Verdict.HOLDS, 2)
    assert theorem.as_expected
    assert theorem.one_sided


def ten_lines():
    """The reader's code, from the words of the check."""
    indented = re.findall(r"^    (.+)$", inspect.getdoc(dang2023_cross_entropy), flags=re.M)
    start = indented.index("import numpy as np")
    return indented[start:]


def test_the_file_is_read_by_ten_lines_of_numpy(tmp_path, capsys):
    registry, value = planted_registry()
    target = tmp_path / "rows.json"
    assert (
        command.main(
            ["run", "--json", str(target), "--counterexamples", str(tmp_path)], registry=registry
        )
        == 0
    )
    said = capsys.readouterr().out
    news = said.index("REFUTED paper/refuted: A point is claimed to be the least.")
    assert "  M=2, the case: a point has value" in said[news:]
    assert "20.00 % below" in said[news:]
    assert news < said.index("1 theorem, 1 case: 1 refuted")
    (row,) = json.loads(target.read_text())["rows"]
    (entry,) = row["refutations"]
    assert (row["verdict"], entry["is_lower"], entry["value"]) == (
        "refuted",
        True,
        pytest.approx(value),
    )
    path = tmp_path / entry["file"]
    assert str(path) in said
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([target.name, path.name])

    lines = ten_lines()
    assert len(lines) == 10
    names = {"path": path}
    exec("\n".join(lines), names)
    assert names["value"] == pytest.approx(value, rel=1e-14)
    assert float(names["c"]["claimed"]) == pytest.approx(1.25 * value)
    with np.load(path, allow_pickle=False) as content:
        assert all(content[name].dtype == np.float64 for name in content.files)


def test_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    registry, _ = planted_registry()
    rows = list(runner.run(registry.matching()))
    (path,) = files.write_counterexamples(tmp_path, rows)
    written = Path(path)
    before = written.read_bytes()

    def stopped(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(KeyboardInterrupt):
        files.write_counterexamples(tmp_path, rows)
    assert written.read_bytes() == before
    assert list(tmp_path.iterdir()) == [written]


def test_only_refuted_rows_are_written(tmp_path):
    registry, _ = planted_registry()
    rows = [
        dataclasses.replace(row, verdict=Verdict.FAILS) for row in runner.run(registry.matching())
    ]
    assert files.write_counterexamples(tmp_path, rows) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_stops_the_command(tmp_path, capsys):
    registry, _ = planted_registry()
    (tmp_path / "file").write_text("")
    assert (
        command.main(["run", "--counterexamples", str(tmp_path / "file" / "no")], registry=registry)
        == 2
    )
    assert "Not a directory" in capsys.readouterr().err


def test_file_names_are_plain():
    assert (
        file_name("paper/what", "K=8, M=3, λ=0.03", "a point of rank 3")
        == "paper-what-k-8-m-3-0.03-a-point-of-rank-3.npz"
    )


def test_offsets_and_fixed_weights_are_in_the_file():
    shifts = np.array([[0.3, -np.inf, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.5]])
    labels = ufm.labels.with_offsets(ufm.one_hot((3, 2, 1), collapsed=True), shifts)
    rng = np.random.default_rng(0)
    W, H = rng.normal(size=(3, 4)), rng.normal(size=(4, 3))
    problem = ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=(4,), lambda_W=0.0, lambda_H=0.1, fixed_weights=(W,)
    )
    params = ufm.Params((jax.numpy.asarray(W),), jax.numpy.asarray(H), None)
    found = Refutation.at("a point", 1.0, problem, params)
    value = float(ufm.model.objective(problem, params))
    assert found.value == pytest.approx(value, rel=1e-14)
    assert value_above(found.arrays) == pytest.approx(value, rel=1e-14)
    with np.load(io.BytesIO(found.as_npz()), allow_pickle=False) as file:
        assert np.array_equal(file["offsets"], shifts)
