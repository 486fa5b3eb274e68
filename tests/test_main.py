"""`python -m ufm`: what it prints, its exit status, and the specifications it reads."""

from __future__ import annotations

import inspect
import json
import os
import pathlib
import pty
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from tests.commands import as_a_user, help_without
from ufm import __main__ as command
from ufm.command_line import catalogue
from ufm.command_line.class_counts import counts_of
from ufm.command_line.making import problem_of
from ufm.command_line.printing import plain
from ufm.command_line.settings import checked, domain_of
from ufm.command_line.spec import read_spec, spec_of
from ufm.command_line.swept import range_of
from ufm.maps.activated import ACTIVATIONS

SQUARED_ERROR = [
    "solve",
    "--class-counts",
    "20,10,5,5",
    "--loss",
    "squared-error",
    "--widths",
    "6",
    "--lambda-W",
    "5e-3",
    "--lambda-H",
    "5e-3",
]
SPEC = """
[problem]
loss = "cross-entropy"
widths = [6]
lambda_W = 1e-3
bias = "free"

[sweep]
class_counts = ["5x20", { classes = 5, largest = 100, ratio = 10 }]
lambda_H = { from = 1e-4, to = 1e-2, points = 3, scale = "log" }
seed = { from = 0, to = 1 }

[solver]
tolerance = 1e-11

[run]
key = 7
metrics = ["nc1_trace_ratio"]
chunk = 4
"""


@pytest.fixture(autouse=True)
def _settings_of_jax_stay(monkeypatch):
    """The command must not change the settings of the tests.

    They have set double precision, and no cache.
    """
    monkeypatch.setattr(command, "configure", lambda **options: None)


def environment(tmp_path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}


def test_help_is_quick_because_it_imports_nothing_heavy():
    assert "usage: python -m ufm" in help_without("ufm", {"jax", "numpy", "xarray", "matplotlib"})


# solve


def test_solve_in_a_fresh_process_prints_the_comparison(tmp_path):
    arguments = [sys.executable, "-m", "ufm", *SQUARED_ERROR]
    settings = as_a_user(XDG_CACHE_HOME=str(tmp_path / "cache"), JAX_PLATFORMS="cpu")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, env=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "CONVERGED" in done.stdout
    assert "relative gap" in done.stdout
    assert "agrees with the prediction; found: global optimum" in done.stdout
    assert "dtype: float64" in done.stdout
    assert any((tmp_path / "cache").rglob("*-cache"))


def test_solve_as_json(capsys):
    assert command.main([*SQUARED_ERROR, "--json", "--starts", "2", "--seed", "3"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert shown.err == ""
    problem = problem_of(
        class_counts=(20, 10, 5, 5), loss="squared-error", widths=(6,), lambda_W=5e-3, lambda_H=5e-3
    )
    np.testing.assert_allclose(
        document["solution"]["value"], ufm.closed_form(problem).value, rtol=1e-12
    )
    assert len(document["solution"]["values"]) == 2
    assert document["solution"]["result"] == "CONVERGED"
    assert document["certificate"]["gap"] < 1e-9
    assert document["comparison"]["ok"] is True
    assert (document["status"], document["dtype"], document["no_closed_form"]) == (0, "float64", "")


@pytest.mark.parametrize(
    ("words", "status", "shown"),
    [
        # a penalised bias and unequal counts: no closed form, but a certificate
        pytest.param(
            "--class-counts 9,3 --lambda-W 1e-2 --lambda-H 1e-2 --bias 0.1",
            0,
            "no closed form: needs balanced",
            id="no-closed-form",
        ),
        pytest.param(
            "--class-counts 2x5 --loss focal --gamma 2 --lambda-W 1e-2 --lambda-H 1e-2",
            0,
            "no certificate: `problem.loss`",
            id="no-certificate",
        ),
        pytest.param(
            "--class-counts 2x5 --loss focal --set gamma=2 --lambda-W 1e-2 --lambda-H 1e-2",
            0,
            "no certificate: `problem.loss`",
            id="a-parameter-by-set",
        ),
        # what a domain bounds needs no decay
        pytest.param(
            "--class-counts 2x5 --features sphere,radius=3 --classifier sphere,radius=1",
            0,
            "CONVERGED",
            id="domains",
        ),
        pytest.param(
            "--class-counts 9,3 --lambda-W 1e-2 --lambda-H 1e-2 --solver newton --max-steps 1",
            1,
            "MAX_STEPS",
            id="not-converged",
        ),
        # from a start near the origin two layers end there
        pytest.param(
            "--class-counts 4x5 --loss squared-error --widths 4 4 --lambda-W 2e-2 2e-2 "
            "--lambda-H 2e-2 --solver lbfgs --max-steps 1",
            1,
            "does not agree with the prediction",
            id="disagreement",
        ),
    ],
)
def test_solve_says_what_is_missing_and_its_status_what_came(words, status, shown, capsys):
    assert command.main(["solve", *words.split()]) == status
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(
            "--class-counts 2x5 --lambda-W 0 --lambda-H 1e-2",
            "`lambda_W` must be finite and > 0 for a minimiser; got",
            id="decay",
        ),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1e-2",
            "`lambda_H` must be given (0 is no decay) where no domain holds the features",
            id="no-decay",
        ),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1 --lambda-H nan",
            "`lambda_H` must be a number >= 0; got nan",
            id="nan",
        ),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1 1 --lambda-H 1",
            "`lambda_W` must be a float or one float per factor",
            id="two-decays",
        ),
        pytest.param(
            "--class-counts 5 --lambda-W 1 --lambda-H 1", ">= 2 classes; got '5'", id="one-class"
        ),
        pytest.param("--class-counts 2y5 --lambda-W 1 --lambda-H 1", "got '2y5'", id="counts"),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1 --lambda-H 1 --bias -2",
            '`bias` must be "none", "free" or a penalty > 0; got -2.0',
            id="bias",
        ),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1 --lambda-H 1 --smoothing 1",
            "`smoothing` must be a number in [0, 1); got 1.0",
            id="smoothing",
        ),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1 --lambda-H 1 --loss focal",
            '`gamma` must be given with loss "focal"',
            id="no-gamma",
        ),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1 --lambda-H 1 --max-steps 9",
            "`max_steps` must be given together with",
            id="whose-budget",
        ),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1 --lambda-H 1 --starts 0",
            "`starts` must be a whole number >= 1; got 0",
            id="no-start",
        ),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1 --lambda-H 1 --seed -1",
            "`--seed` must be a whole number >= 0; got -1",
            id="seed",
        ),
        pytest.param(
            f"--class-counts 2x5 --lambda-W 1 --lambda-H 1 --seed {10**20}",
            f"`--seed` must be a whole number <= 4294967295; got {10**20}",
            id="seed-beyond-32-bits",
        ),
        pytest.param(
            f"--class-counts {10**20}x5 --lambda-W 1 --lambda-H 1",
            f"got '{10**20}x5'",
            id="more-classes-than-memory",
        ),
        pytest.param(
            "--class-counts 2x5 --lambda-W 1 --lambda-H 1 --widths 0",
            "`widths` must be whole numbers >= 1",
            id="no-width",
        ),
    ],
)
def test_bad_input_is_named_on_standard_error(words, message, capsys):
    try:
        status = command.main(["solve", *words.split()])
    except SystemExit as stop:
        status = stop.code
    shown = capsys.readouterr()
    assert status == 2
    assert message in shown.err
    assert shown.out == ""


def test_solve_with_an_activation(capsys):
    words = "--class-counts 5,3,2 --widths 4 6 --lambda-W 5e-3 --lambda-H 5e-3 --loss squared-error"
    assert command.main(["solve", *words.split(), "--activation", "softplus"]) == 0
    shown = capsys.readouterr().out
    assert "CONVERGED" in shown
    assert "no certificate: `problem.map` must be linear" in shown
    assert "no closed form: needs linear layers; got activated" in shown
    assert command.main(["solve", *words.split(), "--activation", "step"]) == 2
    assert "`activation` must be one of 'none', 'relu'" in capsys.readouterr().err


def test_a_large_problem_is_solved_like_any_other(capsys, monkeypatch):
    monkeypatch.setattr("ufm.labels.constructors.MOST_HELD", 10)
    monkeypatch.setattr("ufm.labels.base.MOST_WRITTEN", 100)
    monkeypatch.setattr("ufm.optima.choice.MOST_WRITTEN", 100)
    words = "--class-counts 9x9,2x60 --widths 11 --lambda-W 1e-2 --lambda-H 1e-2 --json"
    assert command.main(["solve", *words.split()]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["solution"]["result"] == "CONVERGED"
    assert document["certificate"]["gap"] < 1e-9
    assert document["certificate"]["failure_probability"] == 1e-12
    assert document["no_closed_form"].startswith("predictions write down")


def test_interrupt_while_solving(capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ufm.solvers.minimise", interrupted)
    assert command.main(SQUARED_ERROR) == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_interrupted_solution_is_shown(capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ufm.solvers.pieces.go_on", interrupted)
    monkeypatch.setattr("ufm.solvers.loop._ONE_PIECE", 1)
    monkeypatch.setattr("ufm.solvers.loop.first_piece", lambda problem: 1)
    assert command.main([*SQUARED_ERROR, "--json"]) == 130
    document = json.loads(capsys.readouterr().out)
    assert (document["solution"]["result"], document["solution"]["num_steps"]) == ("INTERRUPTED", 1)
    assert document["certificate"] is document["comparison"] is None


def test_a_solution_outlives_an_interrupt_of_its_certificate(capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ufm.certificates.bound.certify", interrupted)
    assert command.main([*SQUARED_ERROR, "--json"]) == 130
    document = json.loads(capsys.readouterr().out)
    assert document["solution"]["result"] == "INTERRUPTED"
    assert document["solution"]["codes"] == [int(ufm.Result.CONVERGED)]
    assert document["certificate"] is document["comparison"] is None


def test_what_is_not_finite_is_null_in_json():
    assert plain({"gap": np.array([np.inf, 1.0, np.nan]), "n": np.int64(3)}) == {
        "gap": [None, 1.0, None],
        "n": 3,
    }


# Settings and specifications


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        pytest.param([3, 2], (3, 2), id="list"),
        pytest.param("2x5", (5, 5), id="balanced"),
        pytest.param("1x500, 2x5", (500, 5, 5), id="step"),
        pytest.param("4 3 2", (4, 3, 2), id="words"),
        pytest.param({"classes": 3, "largest": 100, "ratio": 100}, (100, 10, 1), id="long-tail"),
    ],
)
def test_class_counts(value, counts):
    assert counts_of(value) == counts


@pytest.mark.parametrize(
    ("table", "seeds", "values"),
    [
        pytest.param(
            {"from": 1e-4, "to": 1e-2, "points": 3, "scale": "log"},
            False,
            [1e-4, 1e-3, 1e-2],
            id="log",
        ),
        pytest.param(
            {"from": 0, "to": 1, "points": 5}, False, [0, 0.25, 0.5, 0.75, 1], id="linear"
        ),
        pytest.param(
            {"from": 1e-2, "to": 1e-3, "points": 2, "scale": "log"},
            False,
            [1e-2, 1e-3],
            id="downwards",
        ),
        pytest.param(
            {"from": 0.3, "to": 0.9, "points": 5},
            False,
            [0.3, 0.45, 0.6, 0.75, 0.9],
            id="linear-with-both-ends",
        ),
        pytest.param(
            {"from": 1, "to": 1e-20, "points": 3}, False, [1, 0.5, 1e-20], id="almost-to-zero"
        ),
        pytest.param({"from": 2, "to": 4}, True, [2, 3, 4], id="whole-numbers-with-both-ends"),
        pytest.param({"from": 2, "to": 2}, True, [2], id="one-whole-number"),
    ],
)
def test_ranges(table, seeds, values):
    given = range_of(table, "key", seeds=seeds)
    np.testing.assert_allclose(given, values, rtol=1e-14)
    assert (given[0], given[-1]) == (values[0], values[-1])


def test_settings_make_the_problem_that_they_name():
    settings = checked(
        {
            "class_counts": "2x6",
            "lambda_W": [0.1, 0.2],
            "lambda_H": 1,
            "widths": [3, 4],
            "smoothing": 0.1,
            "columns": "full",
        },
        "",
    )
    problem = problem_of(**settings)
    expected = ufm.Problem(
        ufm.labels.smoothed((6, 6), smoothing=0.1),
        loss=ufm.CrossEntropy(),
        widths=(3, 4),
        lambda_W=(0.1, 0.2),
        lambda_H=1.0,
    )
    assert jax.tree.structure(problem) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(problem), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("given", "loss"),
    [
        pytest.param({"loss": "focal", "gamma": 2}, ufm.losses.Focal(2.0), id="focal"),
        pytest.param(
            {"loss": "rescaled-squared-error", "length": 3.0},
            ufm.losses.RescaledSquaredError(length=3.0),
            id="rescaled",
        ),
        pytest.param(
            {"loss": "adjusted-cross-entropy", "additive": [0.1, 0.2]},
            ufm.losses.AdjustedCrossEntropy(additive=[0.1, 0.2]),
            id="per-class",
        ),
        pytest.param({"loss": "tests.test_main:Steep", "slope": 4.0}, 4.0, id="of-ones-own"),
    ],
)
def test_losses_by_their_names_and_parameters(given, loss):
    problem = problem_of(
        **checked({"class_counts": "2x6", "lambda_W": 0.1, "lambda_H": 1} | given, "")
    )
    if isinstance(loss, float):
        assert isinstance(problem.loss, ufm.losses.AbstractLoss)
        assert (type(problem.loss).__name__, problem.loss.slope) == ("Steep", loss)
    else:
        assert jax.tree.structure(problem.loss) == jax.tree.structure(loss)
        np.testing.assert_array_equal(jax.tree.leaves(problem.loss), jax.tree.leaves(loss))


class Steep(ufm.losses.AbstractLoss):
    """A loss that commands find by its place."""

    slope: float

    def __call__(self, logits, targets):
        return self.slope * jnp.sum((logits - targets) ** 2, axis=0)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("tests.test_main:Nothing", "AbstractLoss; tests.test_main has nothing of this name"),
        ("tests.test_main:SPEC", "AbstractLoss; tests.test_main has '"),
        ("tests.nowhere:Steep", "cannot be imported: No module named 'tests.nowhere'"),
        (
            "test main:Steep",
            "must be one of 'cross-entropy', .*\"package.module:Class\" of a loss;",
        ),
        ("Steep", "must be one of 'cross-entropy', .*\"package.module:Class\" of a loss; got"),
    ],
)
def test_a_place_without_a_loss_is_refused(place, message):
    with pytest.raises(ValueError, match=f"`loss`.* {message}"):
        checked({"loss": place}, "")


def test_a_loss_beside_which_the_command_is_run_is_found(tmp_path):
    """By the installed command too, which does not look there by itself."""
    source = inspect.getsource(Steep)
    text = f"import jax.numpy as jnp\nimport ufm\n\n\n{source}"
    (tmp_path / "steep_here.py").write_text(text, encoding="utf-8")
    code = (
        "import sys; sys.path = [p for p in sys.path if p]; "
        "from ufm.command_line.settings import checked; "
        "print(checked({'loss': 'steep_here:Steep', 'slope': 2.0}, '')['slope'])"
    )
    root = pathlib.Path(__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.stdout == "2.0\n", done.stderr


def test_a_sum_of_losses_can_be_asked_for():
    settings = {
        "class_counts": (5, 3),
        "lambda_W": 0.1,
        "lambda_H": 0.1,
        "loss": "cross-entropy + 0.5*focal+0.1*squared-error",
        "gamma": 2.0,
    }
    problem = problem_of(**checked(settings, "problem"))
    parts = (ufm.CrossEntropy(), ufm.losses.Focal(2.0), ufm.MeanSquaredError())
    assert str(problem.loss) == str(ufm.losses.Sum(parts, (1.0, 0.5, 0.1)))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        pytest.param("cross-entropy+", "a sum of them with weights > 0", id="no-loss"),
        pytest.param("-1*cross-entropy", "a sum of them with weights > 0", id="negative"),
        pytest.param("x*cross-entropy", "a sum of them with weights > 0", id="no-number"),
        pytest.param("cross-entropy+focal", "`gamma` must be given", id="parameter"),
    ],
)
def test_a_sum_that_is_none_is_refused(loss, message):
    settings = {"class_counts": (5, 3), "lambda_W": 0.1, "lambda_H": 0.1, "loss": loss}
    with pytest.raises(ValueError, match=message):
        problem_of(**checked(settings, "problem"))


def test_a_parameter_of_a_domain_is_given_once():
    with pytest.raises(ValueError, match="`features` must be given radius once; got 'sphere,"):
        domain_of("sphere,radius=1,radius=2")
    assert domain_of("sphere,radius=2").radius == 2.0


def test_every_loss_of_the_library_can_be_asked_for():
    public = {getattr(ufm.losses, name) for name in ufm.losses.__all__}
    classes = {
        kind
        for kind in public
        if isinstance(kind, type) and issubclass(kind, ufm.losses.AbstractLoss)
    } - {ufm.losses.AbstractLoss, ufm.losses.Sum}  # (a sum has no name of its own)
    entries = catalogue.losses()
    assert {kind.name for kind in classes} == set(entries)
    for kind in classes:
        entry = entries[kind.name]
        assert (entry.kind, entry.module, entry.parameters) == (
            kind.__name__,
            kind.__module__,
            kind.parameters(),
        )
        signature = inspect.signature(kind.__init__).parameters
        assert entry.required == tuple(
            name for name in entry.parameters if signature[name].default is inspect.Parameter.empty
        )


def test_solve_with_a_loss_of_ones_own(capsys):
    words = (
        "--class-counts 2x5 --lambda-W 1e-2 --lambda-H 1e-2 --loss tests.test_main:Steep --set "
        "slope=4 --json"
    )
    assert command.main(["solve", *words.split()]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["solution"]["result"] == "CONVERGED"
    assert "must define `conjugate`" in document["no_certificate"]


def test_a_parameter_that_the_loss_does_not_have_is_named(capsys):
    words = "--class-counts 2x5 --lambda-W 1 --lambda-H 1 --loss tests.test_main:Steep --set slop=4"
    assert command.main(["solve", *words.split()]) == 2
    assert "`--set` must be a parameter of the loss (slope); got 'slop'" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"[problem\n", b"loss = \xff\n"])
def test_what_is_not_toml_is_named(tmp_path, content):
    path = tmp_path / "spec.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"spec\.toml must be a TOML file: "):
        read_spec(path)


def test_specification_is_read(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    spec = read_spec(path)
    assert spec.problem.shared == {
        "loss": "cross-entropy",
        "widths": (6,),
        "lambda_W": 1e-3,
        "bias": "free",
    }
    assert list(spec.over) == ["class_counts", "lambda_H", "seed"]
    assert spec.over["class_counts"][0] == (20.0,) * 5
    np.testing.assert_allclose(spec.over["lambda_H"], [1e-4, 1e-3, 1e-2], rtol=1e-14)
    assert spec.over["seed"] == [0, 1]
    assert (spec.key, spec.run_by, spec.solver, spec.flow) == (
        7,
        {"metrics": ("nc1_trace_ratio",), "chunk": 4},
        {"tolerance": 1e-11},
        None,
    )
    assert spec.method().tolerance == 1e-11


MINIMAL = {"problem": {"class_counts": "2x5", "lambda_W": 1.0}, "sweep": {"lambda_H": [1.0]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"problems": {}},
            "`a specification` must be made of the tables problem, .*; got 'problems'",
            id="no-such-table",
        ),
        pytest.param(
            {"problem": {"lambda_w": 1.0}},
            "`problem` must be made of class_counts, .*; got 'lambda_w'",
            id="no-such-setting",
        ),
        pytest.param(
            {"problem": {"class_counts": "2x5"}},
            r"`problem\.lambda_W` must be given, or swept",
            id="missing",
        ),
        pytest.param(
            {"problem": {"class_counts": "2x5", "features": "sphere,radius=1"}},
            r"`problem\.lambda_W` must be given, or swept",
            id="missing-beside-a-domain",
        ),
        pytest.param(
            {"problem": {"lambda_W": "a"}},
            r"`problem\.lambda_W` must be a number >= 0.*; got 'a'",
            id="word-for-a-number",
        ),
        pytest.param(
            {"problem": {"loss": "hinge"}},
            r"`problem\.loss` must be one of 'cross-entropy'.*; got 'hinge'",
            id="no-such-loss",
        ),
        pytest.param(
            {"problem": {"widths": [0]}},
            r"`problem\.widths` must be whole numbers >= 1; got \[0\]",
            id="no-width",
        ),
        pytest.param(
            {"problem": {"class_counts": {"classes": 1, "largest": 9, "ratio": 3}}},
            r"`problem\.class_counts\.classes` .*; got 1",
            id="one-class",
        ),
        pytest.param(
            {"sweep": {}}, "`sweep` must be a table with at least one name", id="nothing-swept"
        ),
        pytest.param(
            {"sweep": {"lambda_H": 1.0}},
            r"`sweep\.lambda_H` must be a list of values.*; got 1\.0",
            id="no-list",
        ),
        pytest.param(
            {"sweep": {"lambda_H": [1.0, -1.0]}},
            r"`sweep\.lambda_H\[1\]` must be a number >= 0; got -1\.0",
            id="one-bad-value",
        ),
        pytest.param(
            {"sweep": {"lambda_H": [1.0], "lambda_W": [1.0]}},
            r"`sweep\.lambda_W` must be swept or shared, not both; got 1\.0",
            id="both",
        ),
        pytest.param(
            {"sweep": {"lambda_H": [1.0], "seed": [-1]}},
            r"`sweep\.seed\[0\]` must be a whole number >= 0; got -1",
            id="seed",
        ),
        pytest.param(
            {"sweep": {"lambda_H": [1.0], "depth": [1]}},
            "`sweep` must be over seed, .*; got 'depth'",
            id="no-such-sweep",
        ),
        pytest.param(
            {"sweep": {"lambda_H": {"from": 1, "to": 2}}},
            r"`sweep\.lambda_H\.points` must be a whole number >= 2",
            id="no-points",
        ),
        pytest.param(
            {"sweep": {"lambda_H": {"from": 0, "to": 2, "points": 3, "scale": "log"}}},
            r"`sweep\.lambda_H` must be positive at both",
            id="log-zero",
        ),
        pytest.param(
            {"sweep": [{"lambda_H": 1.0}, {"seed": 1}]},
            "`sweep` must be points of equal names",
            id="uneven-points",
        ),
        pytest.param(
            {"solver": {"name": "adam"}},
            r"`solver\.name` must be one of 'newton'.*; got 'adam'",
            id="no-such-solver",
        ),
        pytest.param(
            {"solver": {}, "flow": {"times": [1]}},
            r"`flow` must be given without \[solver\]",
            id="flow-and-solver",
        ),
        pytest.param({"flow": {}}, r"`flow\.times` must be given", id="flow-without-times"),
        pytest.param(
            {"run": {"key": 10**20}},
            rf"`run\.key` must be a whole number <= 4294967295; got {10**20}",
            id="key-beyond-32-bits",
        ),
        pytest.param(
            {"sweep": {"lambda_H": [1.0], "seed": {"from": 0, "to": 10**9}}},
            r"`sweep\.seed\.to` must be a whole number <= 10000000",
            id="more-seeds-than-memory",
        ),
        pytest.param(
            {"sweep": {"lambda_H": {"from": 1, "to": 2, "points": 10**20}}},
            r"`sweep\.lambda_H\.points` must be a whole number <= 10000000",
            id="more-points-than-memory",
        ),
        pytest.param(
            {"sweep": {"lambda_H": [10**400]}},
            r"`sweep\.lambda_H\[0\]` must be a number >= 0",
            id="no-float-holds-it",
        ),
        pytest.param(
            {"problem": {"class_counts": "2x5", "lambda_W": "decay"}},
            r"`problem\.lambda_W` must be a number >= 0, or \"lambda_H\"; got 'decay'",
            id="tied-to-nothing",
        ),
        pytest.param(
            {"problem": {"lambda_W": "lambda_H", "lambda_H": "lambda_W"}},
            r"`problem\.lambda_H` must be a number >= 0, or swept, as lambda_W is tied to it; got",
            id="tied-to-each-other",
        ),
        pytest.param(
            {"sweep": {"lambda_H": [1.0], "ratio": [2.0]}},
            r"`problem\.class_counts` must be a table .* where sweep\.ratio is swept",
            id="no-profile-for-a-ratio",
        ),
        pytest.param(
            {
                "problem": {
                    "class_counts": {"classes": 3, "largest": 9, "smallest": 1},
                    "lambda_W": 1.0,
                },
                "sweep": {"lambda_H": [1.0], "ratio": [2.0]},
            },
            r"`problem\.class_counts` must be a table .* and { largest } or { smallest }",
            id="both-ends-and-a-ratio",
        ),
        pytest.param(
            {
                "problem": {"class_counts": {"classes": 3, "largest": 9}, "lambda_W": 1.0},
                "sweep": {"lambda_H": [1.0], "ratio": [0.5]},
            },
            r"`sweep\.ratio\[0\]` must be a number >= 1; got 0\.5",
            id="ratio-below-one",
        ),
        pytest.param(
            {"run": {"jobs": 2}}, "`run` must be made of key, .*; got 'jobs'", id="no-such-option"
        ),
    ],
)
def test_bad_specification_is_refused_by_key_and_value(change, message):
    with pytest.raises(ValueError, match=message):
        spec_of({**MINIMAL, **change})


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"classes": 3, "largest": 80.0}, (80, 40, 20)),
        ({"classes": 3, "smallest": 5}, (20, 10, 5)),
        ({"majority": 1, "minority": 2, "smallest": 5}, (20, 5, 5)),
        ({"majority": 2, "minority": 1, "largest": 80}, (80, 80, 20)),
    ],
)
def test_counts_follow_a_swept_ratio_and_one_decay_the_other(counts, found):
    spec = spec_of(
        {
            "problem": {"class_counts": counts, "lambda_W": "lambda_H"},
            "sweep": {"ratio": [1.0, 4.0], "lambda_H": [0.1, 0.2]},
        }
    )
    problem = spec.problem(ratio=spec.over["ratio"][1], lambda_H=spec.over["lambda_H"][0])
    np.testing.assert_allclose(problem.labels.class_counts, found, rtol=1e-14)
    np.testing.assert_array_equal(problem.lambda_W, [0.1])
    assert float(problem.lambda_H) == 0.1


def test_a_step_of_counts_is_a_table():
    step = {"majority": 2, "minority": 3, "largest": 500, "ratio": 100}
    assert counts_of(step) == (500, 500, 5, 5, 5)
    with pytest.raises(ValueError, match=r"`class_counts\.ratio` must be such that"):
        counts_of({**step, "ratio": 2000})


def test_points_and_flows_are_understood():
    spec = spec_of(
        {
            "problem": MINIMAL["problem"],
            "sweep": [{"lambda_H": 1.0, "bias": "none"}, {"lambda_H": 2.0, "bias": 0.5}],
            "flow": {"times": {"from": 0, "to": 2, "points": 3}, "rtol": 1e-6},
        }
    )
    assert spec.over == [{"lambda_H": 1.0, "bias": None}, {"lambda_H": 2.0, "bias": 0.5}]
    flow = spec.method()
    assert (flow.ts, flow.path) == ([0.0, 1.0, 2.0], "gradient")
    assert flow.integration == ufm.flows.Integration(rtol=1e-6)


# sweep


@pytest.fixture(scope="module")
def spec_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("spec") / "spec.toml"
    path.write_text(SPEC)
    return path


def test_sweep_fills_a_store_and_resumes_it(spec_path, tmp_path, capsys):
    store = tmp_path / "store"
    arguments = ["sweep", str(spec_path), "--out", str(store)]
    assert command.main([*arguments, "--json"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert shown.err == ""
    assert (document["lanes"], document["done"], document["failed"], document["complete"]) == (
        12,
        12,
        0,
        True,
    )
    assert document["results"] == {"CONVERGED": 12}
    assert document["largest_gap"] < 1e-9

    dataset = ufm.open_sweep(store)
    problem = problem_of(
        class_counts=(20,) * 5, widths=(6,), lambda_W=1e-3, lambda_H=1e-3, bias="free"
    )
    np.testing.assert_allclose(
        dataset["value"].values[0, 1], ufm.closed_form(problem).value, rtol=1e-10
    )

    assert command.main(arguments) == 2
    assert "add --resume" in capsys.readouterr().err
    assert command.main([*arguments, "--resume"]) == 0
    told = capsys.readouterr().out
    assert "12 of 12 lanes done, 12 of them stored before and 0 solved now" in told
    other = tmp_path / "other.toml"
    other.write_text(SPEC.replace("1e-2", "2e-2"))
    assert command.main(["sweep", str(other), "--out", str(store), "--resume"]) == 2
    assert "`store` must belong to this sweep" in capsys.readouterr().err


def test_sweep_with_a_lane_that_fails(tmp_path, capsys):
    path = tmp_path / "spec.toml"
    shorter = SPEC.replace('"5x20", ', "").replace("points = 3", "points = 2")
    path.write_text(shorter.replace("tolerance = 1e-11", 'name = "newton"\nmax_steps = 2'))
    assert command.main(["sweep", str(path), "--out", str(tmp_path / "store")]) == 1
    assert "4 MAX_STEPS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(None, "No such file", id="no-file"),
        pytest.param("[problem", "spec.toml must be a TOML file: Expected", id="no-toml"),
        pytest.param(
            "[sweep]\nseed = [0]",
            "`problem.class_counts` must be given, or swept; got None",
            id="no-problem",
        ),
    ],
)
def test_sweep_of_a_bad_file(text, message, tmp_path, capsys):
    path = tmp_path / "spec.toml"
    if text is not None:
        path.write_text(text)
    assert command.main(["sweep", str(path), "--out", str(tmp_path / "store")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


# `python -m ufm`, also where the tests run in the background, whose processes ignore Ctrl-C from
# the start
HEEDS_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("ufm", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_leaves_a_store_that_can_be_resumed(tmp_path):
    """A real process on a terminal.

    Progress is shown, Ctrl-C ends it with 130, and the next run finishes with the same numbers.
    """
    path, store = tmp_path / "spec.toml", tmp_path / "store"
    path.write_text(
        SPEC.replace("to = 1 }", "to = 59 }").replace("chunk = 4", "chunk = 2\nthreads = 1")
    )
    arguments = [
        sys.executable,
        "-c",
        HEEDS_CTRL_C,
        "sweep",
        str(path),
        "--out",
        str(store),
        "--resume",
        "--json",
    ]
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=end, env=environment(tmp_path), text=True
    )
    os.close(end)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if store.exists() and lanes_in(store) >= 4:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.02)
    output, _ = process.communicate(timeout=200)
    document = json.loads(output)
    assert process.returncode == 130
    assert document["complete"] is False
    assert 4 <= document["done"] < document["lanes"] == 360
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "sweep" in shown
    assert "left" in shown
    assert "interrupted: go on with --resume" in shown
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=400, env=environment(tmp_path)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["done"] == 360


def lanes_in(store) -> int:
    """Lanes that are in an unfinished store; none while it is being made."""
    try:
        return int(ufm.open_sweep(store, partial=True).attrs["done"])
    except (ValueError, OSError):
        return 0


def test_help_names_both_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "solve" in shown
    assert "sweep" in shown


def test_help_names_every_activation(capsys):
    """In words of its own: it does not wait for JAX."""
    with pytest.raises(SystemExit):
        command.main(["solve", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"between the factors: {', '.join(ACTIVATIONS)} (default: none)" in shown


def test_the_example_of_the_documentation_is_valid():
    import tomllib

    from ufm.command_line import spec as module

    assert module.__doc__ is not None
    indented = [line[4:] for line in module.__doc__.splitlines() if line.startswith("    ")]
    text = "\n".join(indented)
    tables = tomllib.loads(text)
    assert tables["problem"]["class_counts"] == "10x100"
    for name in ("solver", "flow"):
        tables.pop(name)
    spec = spec_of(tables)
    assert len(spec.over["lambda_H"]) == 25
    assert len(spec.over["seed"]) == 40


def test_the_phase_diagram_of_the_documentation_is_short_and_valid():
    path = pathlib.Path(__file__).parents[1] / "docs" / "phase.toml"
    spec = read_spec(path)
    assert {name: len(values) for name, values in spec.over.items()} == {
        "ratio": 40,
        "lambda_H": 40,
    }
    assert len(path.read_text().split("\n")) <= 12
