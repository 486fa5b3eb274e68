"""`theory`: what speaks about a problem and what is silent, and each statement against the thing it
is about."""

from __future__ import annotations

import importlib
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from ufm.optima import statements as room
from ufm.optima.facts import Facts
from ufm.optima.statement import KINDS
from ufm.optima.statements import statements, threshold_rules
from ufm.optima.statements.mixed_labels import simplex_scale
from ufm.optima.survey import formula_thresholds


def make(counts=(4, 4, 4), *, loss=None, d=6, lam=0.05, labels=None, **options):
    labels = ufm.one_hot(counts, collapsed=True) if labels is None else labels
    given = {
        "loss": ufm.CrossEntropy() if loss is None else loss,
        "widths": (d,),
        "lambda_W": lam,
        "lambda_H": lam,
    }
    return ufm.Problem(labels, **(given | options))


MSE = ufm.MeanSquaredError()
FRAME = np.sqrt(1.5) * (np.eye(3) - 1 / 3)
# (id, problem, what speaks beside balance and imbalance)
SPEAKING = (
    (
        "balanced",
        make(),
        {
            "simplex ETF of cross-entropy",
            "duality gap",
            "no spurious minima",
            "simplex-encoded labels (SELI)",
        },
    ),
    (
        "long-tail-with-bias",
        make((6, 4, 2), bias="free"),
        {"duality gap", "no spurious minima", "decay"},
    ),
    (
        "deep",
        make(widths=(4, 4)),
        {"origin of a deep product", "structures of low rank", "decay, other stationary points"},
    ),
    (
        "squared",
        make(labels=ufm.one_hot((3, 2)), loss=MSE),
        {"squared error, direction by direction", "modes of squared error"},
    ),
    ("focal", make(loss=ufm.losses.Focal(2.0)), {"simplex ETF of focal loss"}),
    (
        "nonnegative",
        make(features=ufm.domains.Nonnegative()),
        {"nonnegative features under cross-entropy", "decay"},
    ),
    (
        "codes",
        make(
            (1,) * 6,
            d=3,
            lam=0.0,
            features=ufm.domains.Sphere(2.0),
            classifier=ufm.domains.Sphere(1.5),
        ),
        {"duality gap", "sharp codes", "linear programming"},
    ),
    (
        "mixup",
        make(labels=ufm.mixup(3, 1.0, nodes=4)),
        {"mixtures of two classes under cross-entropy", "multiplier of mixup"},
    ),
    (
        "fixed-ETF",
        make(fixed_weights=(FRAME,), d=3),
        {"channels under a simplex ETF", "columns of a fixed classifier"},
    ),
    (
        "fixed-ETF-shifted",
        make(
            loss=ufm.losses.AdjustedCrossEntropy(additive=[0.3, 0.1, 0.0]),
            fixed_weights=(FRAME,),
            d=3,
        ),
        {"balanced softmax under a simplex ETF"},
    ),
    ("pulled", make(loss=MSE, anchor=np.zeros((6, 3)), beta=0.1), {"perturbation near collapse"}),
    ("full-columns", make(labels=ufm.one_hot((4, 2))), {"within-class collapse"}),
    ("no-decay", make(lam=0.0), {"maximal margin", "margin on the symmetric configuration"}),
    (
        "no-decay-squared",
        make(lam=0.0, loss=MSE),
        {"flow from a small start", "flow of the balanced Gram", "modes of unbalanced factors"},
    ),
    (
        "no-decay-fixed",
        make(lam=0.0, fixed_weights=(FRAME,), d=3),
        {"features under a fixed simplex ETF"},
    ),
    (
        "relu-triple",
        make(loss=MSE, widths=(3,) * 4, lam=0.01, activation="relu"),
        {
            "structures of ReLU layers",
            "below deep neural collapse",
            "complexity of ReLU layers",
            "decay, other stationary points",
        },
    ),
    (
        "central-path",
        make(labels=ufm.one_hot((4, 4, 4)), lam=0.0, loss=MSE, bias="free", d=4),
        {"renormalised flow", "flow from a small start"},
    ),
)


@pytest.mark.parametrize(
    ("problem", "names"), [pytest.param(*case[1:], id=case[0]) for case in SPEAKING]
)
def test_what_speaks(problem, names):
    theory = ufm.theory(problem)
    found = {entry.name for entry in theory.entries}
    assert names <= found, found
    for entry in theory.entries:
        assert all((entry.kind in KINDS, entry.says, entry.source, entry.call.startswith("ufm.")))
    kinds = [KINDS.index(entry.kind) for entry in theory.entries]
    assert kinds == sorted(kinds)
    # what does not speak says why, and nothing is lost
    asked = {form.name for form in ufm.forms.known()} | {
        statement.name for statement in statements()
    }
    assert (
        found - {"decay", "decay, other stationary points"}
        | {silent.name for silent in theory.silent}
        == asked
    )
    assert all(
        silent.failing and not any(h.holds for h in silent.failing) for silent in theory.silent
    )
    assert str(theory).count("\n") == 2 * len(theory.entries)


SPHERES = {"features": ufm.domains.Sphere(2.0), "classifier": ufm.domains.Sphere(1.0), "lam": 0.0}


class WithoutConjugate(ufm.losses.AbstractLoss):
    """Of a user's: convex, and no more is known of it."""

    def __call__(self, logits, targets):
        return 0.5 * jnp.sum((logits - targets) ** 2, axis=0)


SUM_WITHOUT = ufm.losses.Sum((ufm.CrossEntropy(), WithoutConjugate()), (1.0, 0.5))
TIED = {
    "labels": ufm.labels.contrastive([2, 2]),
    "map": ufm.maps.Tied(0.5),
    "lambda_W": 0.0,
    "fixed_weights": (np.zeros((4, 5)),),
}


@pytest.mark.parametrize(
    ("options", "bounded"),
    [
        pytest.param({"loss": WithoutConjugate()}, False, id="no-conjugate"),
        pytest.param({}, True, id="decay"),
        pytest.param(SPHERES, True, id="spheres"),
        pytest.param({"features": ufm.domains.Nonnegative()}, True, id="nonnegative"),
        pytest.param({"fixed_weights": (np.eye(3, 5),)}, True, id="frozen"),
        pytest.param({"anchor": np.ones((5, 3)), "beta": 0.1}, True, id="anchor"),
        pytest.param({"lambda_H": 0.0, "features": ufm.domains.Ball(1.0)}, True, id="ball"),
        pytest.param({"lambda_H": 0.0}, False, id="no-decay"),
        pytest.param({"lambda_W": 0.0, "features": ufm.domains.Ball(1.0)}, False, id="half-held"),
        pytest.param({"widths": (5, 5)}, False, id="deep"),
        pytest.param({"loss": ufm.losses.Focal(2.0)}, False, id="not-convex"),
        pytest.param({"loss": SUM_WITHOUT}, False, id="no-conjugate-of-a-part"),
        pytest.param(
            {"labels": ufm.one_hot([3000, 2001]), "features": ufm.domains.Nonnegative()},
            False,
            id="nonnegative-columns",
        ),
        pytest.param(TIED, True, id="tied"),
        pytest.param({**TIED, "anchor": np.ones((5, 4)), "beta": 0.1}, False, id="tied-anchor"),
    ],
)
def test_the_bound_is_listed_where_certify_gives_one(options, bounded, key):
    problem = make(**{"d": 5, **options})
    assert bool(ufm.theory(problem).of_kind("bound")) is bounded
    point = ufm.solvers.random_start(problem, key=key, std=0.5)
    if bounded:
        assert np.isfinite(ufm.certify(problem, point).lower_bound)
    else:
        with pytest.raises(ValueError, match=r"`problem|`lambda"):
            ufm.certify(problem, point)


def test_mixtures_with_different_main_classes_have_channels():
    """As many as classes: one target a class, which is smoothing for the forms of decay alone."""
    targets = np.array([[0.9, 0.0, 0.1], [0.1, 0.9, 0.0], [0.0, 0.1, 0.9]])
    problem = make(labels=ufm.soft(targets), fixed_weights=(FRAME,), d=3)
    assert "channels under a simplex ETF" in {entry.name for entry in ufm.theory(problem).entries}


@pytest.mark.parametrize(
    ("features", "collapses"),
    [
        pytest.param(ufm.domains.Ball(1.0), True, id="ball"),
        pytest.param(ufm.domains.Ball([0.1, 2, 1, 1, 1, 1]), False, id="balls"),
        pytest.param(ufm.domains.Budget(1.0), True, id="budget"),
        pytest.param(ufm.domains.Budget(1.0, [5.0, 1, 1, 1, 1, 1]), False, id="weights"),
        # the same set in other units
        pytest.param(ufm.domains.Budget(1e-16, [5e-16] + [1e-16] * 5), False, id="small-weights"),
        pytest.param(ufm.domains.Budget(1e4, [1e4 * (0.1 + 0.2)] + [3e3] * 5), True, id="rounded"),
        pytest.param(ufm.domains.Nonnegative(), True, id="nonnegative"),
        pytest.param(ufm.domains.Sphere(1.0), False, id="sphere"),
    ],
)
def test_domains_on_which_classes_collapse(features, collapses):
    problem = make(labels=ufm.one_hot((4, 2)), features=features)
    laws = {entry.name for entry in ufm.theory(problem).of_kind("law")}
    assert ("within-class collapse" in laws) is collapses


@pytest.mark.parametrize(
    ("options", "speaks"),
    [
        pytest.param({}, True, id="codes"),
        pytest.param(
            {"features": ufm.domains.Sphere(0.5), "classifier": ufm.domains.Sphere(0.2)},
            True,
            id="proved",
        ),
        pytest.param({"d": 5}, False, id="simplex"),
        pytest.param({"bias": "free"}, False, id="bias"),
        pytest.param({"counts": (2, 2, 2, 1, 1, 1)}, False, id="imbalance"),
        pytest.param({"features": ufm.domains.Ball(2.0)}, False, id="ball"),
        pytest.param({"classifier": ufm.domains.Sphere([1, 1, 1, 1, 1, 2])}, False, id="radii"),
        pytest.param({"loss": MSE}, False, id="squared"),
    ],
)
def test_bounds_of_codes_are_listed_where_there_is_no_room_for_a_simplex(options, speaks, key):
    """The octahedron is the optimum of six classes in three dimensions."""
    problem = make(**({"counts": (1,) * 6, "d": 3} | SPHERES | options))
    bounds = {entry.name: entry for entry in ufm.theory(problem).of_kind("bound")}
    names = ("sharp codes", "linear programming")
    assert [name in bounds for name in names] == [speaks] * 2
    if not speaks:
        return
    pytest.importorskip("flint")
    said = bounds["sharp codes"].says
    beta = float(said.removeprefix("β = ").partition(":")[0])
    proof = ufm.certificates.code_bound(ufm.frames.orthoplex(3), beta, theorem="B")
    found = ufm.minimise(problem, key=key, starts=4)
    assert proof.proved == (beta < 0.11)
    assert proof.lower(beta) <= float(found.value)
    if proof.proved:
        assert_allclose(float(found.value), proof.lower(beta), rtol=1e-9)
    assert ufm.certificates.linear_programming_bound(6, 3, beta) <= float(found.value)


PRIORS = np.array([4.0, 2.0, 1.0])
CLIENTS = ufm.labels.federated([[4, 2, 1], [1, 0, 5]], balanced=True)


@pytest.mark.parametrize(
    ("options", "counts", "columns"),
    [
        pytest.param(
            {"loss": ufm.losses.AdjustedCrossEntropy(additive=np.log(PRIORS)), "lambda_H": 0.05},
            PRIORS,
            slice(0, 3),
            id="decay",
        ),
        pytest.param(
            {
                "loss": ufm.losses.AdjustedCrossEntropy(additive=np.log(PRIORS)),
                "features": ufm.domains.Sphere(2.0),
            },
            PRIORS,
            slice(0, 3),
            id="sphere",
        ),
        pytest.param(
            {"labels": CLIENTS, "lambda_H": 0.05}, np.array([1.0, 0, 5]), slice(3, 5), id="client"
        ),
    ],
)
def test_balanced_softmax_under_a_simplex_etf(options, counts, columns):
    given = {"labels": ufm.one_hot((4, 2, 1), collapsed=True), "lambda_W": 0.0, "lambda_H": 0.0}
    problem = make(d=4, **(given | {"fixed_weights": (np.pad(FRAME, ((0, 0), (0, 1))),)} | options))
    laws = {entry.name: entry for entry in ufm.theory(problem).of_kind("law")}
    says = laws["balanced softmax under a simplex ETF"].says
    size = float(says.rpartition("= ")[2])
    form = "length" if "length" in says else "strength"
    logits = ufm.laws.balanced_softmax_logits(counts, **{form: size})[:, counts > 0]
    point = ufm.minimise(problem, key=jax.random.key(0), starts=4)
    assert_allclose(problem.logits(point.params)[:, columns], logits, rtol=0, atol=1e-7)
    skew = {"fixed_weights": (np.pad(np.diag([1.0, 1, 2]) @ FRAME, ((0, 0), (0, 1))),)}
    others = {entry.name for entry in ufm.theory(problem.replace(**skew)).of_kind("law")}
    assert not others & {"balanced softmax under a simplex ETF"}


@pytest.mark.parametrize(
    ("options", "closes"),
    [
        pytest.param({}, "rank of the convex one", id="product"),
        pytest.param(SPHERES, "rank of the lifted one", id="spheres"),
        pytest.param({"features": ufm.domains.Nonnegative()}, "nonnegative features", id="signs"),
        pytest.param({"fixed_weights": (np.eye(3, 5),)}, "closes at the optimum", id="frozen"),
        pytest.param(
            {"fixed_weights": (np.eye(3, 5),), "features": ufm.domains.Sphere(1.0)},
            "rank of the lifted one",
            id="frozen-sphere",
        ),
        pytest.param(TIED, "rank of the lifted one", id="tied"),
    ],
)
def test_the_bound_says_where_it_closes(options, closes):
    (bound,) = ufm.theory(make(**{"d": 5, **options})).of_kind("bound")
    assert closes in bound.says


SINGLES = [{k} for k in range(4)]
PAIRS = [{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(
            {"labels": ufm.labels.smoothed([20, 10, 5, 5], smoothing=0.1)},
            "K = 4, soft labels, class counts [20, 10, 5, 5], widths",
            id="smoothed",
        ),
        pytest.param(
            {"labels": ufm.labels.pick_all(SINGLES + PAIRS, [10] * 10, num_classes=4)},
            "K = 4, soft labels, 100 columns of 10 targets, class counts [25, 25, 25, 25], widths",
            id="pick-all",
        ),
        pytest.param(
            {**TIED, "labels": ufm.labels.contrastive([4, 2]), "fixed_weights": (np.eye(6),)},
            "K = 6, soft labels, 6 columns of 6 targets, class counts [1, 1, 1, 1, 1, 1], ",
            id="contrastive",
        ),
        pytest.param(
            {"labels": ufm.soft(np.arange(20.0).reshape(2, 10)), "loss": MSE},
            "K = 2, soft labels, 10 columns of 10 targets, widths",
            id="regression",
        ),
        pytest.param({"labels": ufm.one_hot([2] * 13)}, "one-hot labels, N = 26, ", id="many"),
    ],
)
def test_labels_are_described_as_what_they_are(options, words):
    assert words in ufm.theory(make(**options)).about


def test_where_nothing_is_known_the_way_to_the_reasons_is_named():
    theory = ufm.theory(make(widths=(3, 3), activation="tanh"))
    assert str(theory).splitlines()[1:] == [
        f"nothing is known; `.silent` says why, of {len(theory.silent)} statements"
    ]


def test_behind_an_activation_the_nearest_form_is_that_of_the_same_loss_and_labels():
    for loss, name in ((None, "simplex ETF of cross-entropy"), (MSE, "squared error, direction")):
        with pytest.raises(ufm.NoClosedForm, match=f"needs linear layers; .*{name}"):
            ufm.closed_form(make(widths=(3, 3), activation="relu", loss=loss))


@pytest.mark.parametrize(("d", "speaks"), [(9, True), (10, False)])
def test_a_covariance_of_full_rank_needs_as_many_columns_as_means_and_dimensions(d, speaks):
    problem = make(labels=ufm.one_hot((4, 4, 4)), lam=0.0, loss=MSE, bias="free", d=d)
    assert speaks == ("renormalised flow" in {entry.name for entry in ufm.theory(problem).entries})


@pytest.mark.parametrize(("d", "speaks"), [(1, False), (2, True)])
def test_margins_of_cross_entropy_have_the_rank_of_a_simplex(d, speaks):
    spoken = {entry.name for entry in ufm.theory(make(lam=0.0, d=d)).entries}
    names = {"maximal margin", "margin on the symmetric configuration"}
    assert spoken & names == (names if speaks else set())


def test_features_flow_alike_where_samples_count_alike():
    labels = ufm.one_hot((4, 4, 4), class_weights=(4.0, 2.0, 1.0), collapsed=True)
    theory = ufm.theory(make(labels=labels, lam=0.0, fixed_weights=(FRAME,), d=3))
    assert "features under a fixed simplex ETF" in {silent.name for silent in theory.silent}


def test_a_simplex_is_known_to_rounding():
    """Turned in a larger space its Gram is off by many roundings, and by no more."""
    K, rng = 10, np.random.default_rng(0)
    turned = (np.eye(K) - 1 / K) @ np.linalg.qr(rng.normal(size=(40, 40)))[0][:K]
    for W, scale in ((turned, 1.0), (30.0 * turned, 900.0)):
        facts = Facts.of(make((1,) * K, fixed_weights=(W,), d=40))
        assert simplex_scale(facts) == pytest.approx(scale, rel=1e-13)
    stretched = turned * (1 + 1e-12 * rng.normal(size=(K, 1)))
    assert simplex_scale(Facts.of(make((1,) * K, fixed_weights=(stretched,), d=40))) is None


def test_every_statement_speaks_about_one_of_these_problems():
    spoken = {entry.name for case in SPEAKING for entry in ufm.theory(case[1]).entries}
    assert {statement.name for statement in statements()} <= spoken


def test_every_call_is_a_public_name():
    for statement in statements():
        owner = ufm
        for part in re.match(r"ufm\.([\w.]+)\(", statement.call)[1].split("."):
            owner = getattr(owner, part)
        assert callable(owner)


def test_every_file_of_the_folder_has_statements_or_thresholds():
    for module in pkgutil.iter_modules(room.__path__):
        found = importlib.import_module(f"{room.__name__}.{module.name}")
        assert getattr(found, "STATEMENTS", ()) or getattr(found, "THRESHOLDS", ())


def test_a_problem_beyond_all_theory_has_a_list_too():
    theory = ufm.theory(
        make(
            (5, 3, 1),
            loss=ufm.losses.Focal(2.0),
            features=ufm.domains.Nonnegative(),
            bias=0.1,
            widths=(3, 3),
        )
    )
    assert theory.of_kind("optimum") == ()
    assert {entry.kind for entry in theory.entries} <= {"law"}


def test_one_class_has_no_smoothing():
    alone = make(labels=ufm.soft(np.ones((1, 2))), loss=MSE)
    assert Facts.of(alone).smoothing is None
    assert ufm.theory(alone).of_kind("law")


def test_theory_takes_the_loss_for_what_it_is():
    plain, disguised = (
        ufm.theory(make(loss=loss)) for loss in (ufm.CrossEntropy(), ufm.losses.Focal(0))
    )
    assert plain.entries == disguised.entries


# thresholds by formula


def strengths(problem, *, of_optimum=True):
    found, room = formula_thresholds(Facts.of(problem))
    return [t for t in found if t.of_optimum == of_optimum], room is not None


def at(problem, strength):
    """The same problem with all λ scaled to a strength N Λ."""
    factor = strength / Facts.of(problem).strength
    bias = problem.lambda_b if problem.bias == "penalised" else problem.bias
    return ufm.Problem(
        problem.labels,
        loss=problem.loss,
        widths=problem.widths,
        lambda_W=factor * problem.lambda_W,
        lambda_H=factor * problem.lambda_H,
        bias=bias,
        features=problem.features,
    )


def rank(problem):
    values = ufm.closed_form(problem).singular_values
    return int(np.sum(values > 1e-8 * max(1.0, values[0])))


COMPLETE = (
    ("balanced", make(), 1),
    (
        "balanced-smoothed",
        make(labels=ufm.labels.smoothed((4, 4, 4), smoothing=0.2, collapsed=True), bias="free"),
        1,
    ),
    ("two-clusters", make((6, 6, 2, 2)), 3),
    ("one-majority-class", make((9, 2, 2)), 2),
    ("one-minority-class", make((6, 6, 2)), 2),
    ("squared", make((6, 4, 2), loss=MSE), 3),
    ("squared-free-bias", make((6, 4, 2), loss=MSE, bias="free"), 2),
    ("squared-penalised-bias", make((4, 4, 4), loss=MSE, bias=0.5), 2),
    ("squared-narrow", make((6, 4, 2), loss=MSE, d=2), 2),
    ("squared-deep", make((6, 4, 2), loss=MSE, widths=(5, 4)), 3),
    ("focal", make(loss=ufm.losses.Focal(3.0)), 1),
    ("focal-by-a-jump", make((4,) * 30, loss=ufm.losses.Focal(2.0), d=30), 1),
    ("nonnegative", make((6, 4, 4, 1), features=ufm.domains.Nonnegative()), 3),
    ("nonnegative-squared", make((6, 4, 1), loss=MSE, features=ufm.domains.Nonnegative()), 3),
    ("mixup", make(labels=ufm.mixup(3, 1.0, nodes=4)), 1),
)


@pytest.mark.parametrize(
    ("problem", "number"), [pytest.param(*case[1:], id=case[0]) for case in COMPLETE]
)
def test_closed_forms_change_their_rank_at_the_thresholds_and_nowhere_else(problem, number):
    found, complete = strengths(problem)
    assert complete
    assert len(found) == number
    ends = [0.3 * found[0].strength, *(t.strength for t in found), 1.5 * found[-1].strength]
    for i, threshold in enumerate(found):
        below, above = (
            rank(at(problem, threshold.strength * (1 + sign * 1e-3))) for sign in (-1, 1)
        )
        assert (below - above, above) == (threshold.drop, threshold.rank), threshold
        # the other end of each interval has the rank of this one
        assert rank(at(problem, 0.5 * (ends[i] + ends[i + 1]))) == below


@pytest.mark.parametrize("bias", [None, "free", 0.1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_of_equal_counts_merge_whatever_the_others_are(bias, smoothing, key):
    labels = ufm.labels.smoothed((7, 4, 4, 4, 2), smoothing=smoothing, collapsed=True)
    problem = make(labels=labels, bias=bias, d=5)
    found, complete = strengths(problem)
    assert not complete
    merging = [t for t in found if "merge" in t.change]
    assert [(t.change, t.drop) for t in merging] == [("classes 1, 2, 3 merge", 2)]
    assert_allclose(merging[0].strength, (1 - smoothing) * 2, rtol=1e-14)
    for factor, merged in ((1 - 1e-3, False), (1 + 1e-3, True)):
        solution = ufm.minimise(at(problem, factor * merging[0].strength), key=key, progress=False)
        assert ufm.certify(solution.problem, solution.params).closes()
        features = np.asarray(solution.params.features)[:, 1:4]
        spread = np.ptp(features, axis=1).max() / np.abs(np.asarray(solution.params.features)).max()
        assert (spread < 1e-5) == merged
        assert merged or spread > 1e-3


@pytest.mark.parametrize(("d", "merging"), [(1, 0), (2, 0), (3, 1), (4, 1)])
def test_classes_merge_where_what_they_leave_has_less_than_the_width(d, merging):
    theory = ufm.theory(make((9, 8, 4, 4, 4), d=d))
    says = [e.says for e in theory.of_kind("threshold")]
    assert [sum(word in s for s in says) for word in ("merge", "zero product")] == [merging, 1]


def test_other_stationary_points_have_thresholds_of_their_own():
    deep, complete = strengths(make(widths=(6, 6)), of_optimum=False)
    assert not complete
    branch = ufm.laws.etf_branch(make(widths=(6, 6)))
    # Λ n^{1/3} in terms of N Λ: N = 12, n = 4
    assert_allclose(
        [t.strength for t in deep],
        12 / 4 ** (1 / 3) * np.array([branch.threshold, branch.existence]),
        rtol=1e-14,
    )
    squared, _ = strengths(make((6, 4, 2), loss=MSE, widths=(5, 4)), of_optimum=False)
    assert len(squared) == 3
    focal, _ = strengths(make((4,) * 30, loss=ufm.losses.Focal(2.0), d=30), of_optimum=False)
    limits = ufm.laws.focal_thresholds(30, gamma=2.0)
    assert_allclose(
        [t.strength for t in focal], 2 * np.array([limits.stability, limits.existence]), rtol=1e-14
    )


@pytest.mark.parametrize(
    ("options", "papers"),
    [
        pytest.param({"widths": (5, 4)}, {"Dang"}, id="bias-free"),
        pytest.param({"bias": "free", "counts": (4, 2)}, {"Liu"}, id="free-bias"),
        pytest.param({"bias": 0.5}, {"Zhou"}, id="penalised"),
        pytest.param({"features": ufm.domains.Nonnegative()}, {"Dang"}, id="nonnegative"),
    ],
)
def test_thresholds_of_squared_error_are_of_who_speaks_about_the_problem(options, papers):
    found, _ = formula_thresholds(Facts.of(problem := make(loss=MSE, **options)))
    assert {t.source for t in found} == {ufm.closed_form(problem).source}
    assert {name for name in ("Dang", "Liu", "Zhou") if name in found[0].source} == papers


def test_every_rule_finds_something():
    problems = [case[1] for case in (*COMPLETE, *SPEAKING)] + [make((7, 4, 4, 2))]
    for rule in threshold_rules():
        assert any(rule.holds(Facts.of(problem)) for problem in problems), rule.name


def test_relu_layers_in_numbers():
    """Value, bound and thresholds of three classes behind four matrices, and of two classes."""
    problem = make(loss=MSE, widths=(3,) * 4, lam=0.01, activation="relu")
    theory = ufm.theory(problem)
    (candidate,), (bound,) = theory.of_kind("candidate"), theory.of_kind("bound")
    triple = ufm.laws.rectified_structures(3, 4)[0]
    weights, features = ufm.laws.rectified_point(
        triple, lambda_W=0.01, lambda_H=0.01, samples_per_class=4, width=3
    )
    value = float(ufm.model.objective(problem, ufm.Params(weights, features)))
    assert f"triple of 3 has value {value:.12g}" in candidate.says
    least = float(re.search(r"below ([\d.e-]+),", bound.says)[1])
    assert 0 < least < value
    # at the thresholds the scalar problem of each is as good as zero
    found, room = formula_thresholds(Facts.of(problem))
    assert room is None
    for threshold, kappa in zip(found, (3.0, triple.complexity), strict=True):
        Lam = threshold.strength / 12 * 4 ** (1 / 5)
        below, above = (
            ufm.laws.rectified_scale(kappa, strength=share * Lam, depth=4).value
            for share in (1 - 1e-9, 1 + 1e-9)
        )
        assert below < above == 0.5
    two = ufm.theory(make((4, 4), loss=MSE, widths=(2,) * 4, lam=0.01, activation="relu"))
    assert "collapse (orthogonal frames) has value" in two.of_kind("candidate")[0].says
    assert "below deep neural collapse" in {silent.name for silent in two.silent}
    # another activation is none of these
    other = ufm.theory(make(loss=MSE, widths=(3,) * 4, activation="tanh"))
    assert not other.of_kind("candidate")


@pytest.mark.parametrize(
    ("K", "M", "lam", "candidate", "bound"),
    [
        # L = 2: the threshold of κ is 2^(-4/3) / κ, and the bound has κ = 2^(2/3), so λ = 1/4
        pytest.param(2, 2, 0.25, "zero .* for two classes", "zero attains it", id="met-exactly"),
        pytest.param(2, 2, 0.22, "zero .* for two classes", "below every", id="two-classes"),
        pytest.param(4, 3, 0.2, "zero .* no structure known", "zero attains it", id="four"),
        pytest.param(4, 3, 0.09, "zero .* no structure known", "below every", id="between"),
        # collapse is no better than zero from 3λ = .2104 on, the triple from .2142 on
        pytest.param(3, 4, 0.0712, r"^triple .* 0\.99\d+ of zero", "below every", id="triple"),
    ],
)
def test_relu_layers_beyond_a_threshold(K, M, lam, candidate, bound):
    """Where no structure is better it is zero that has the value of zero."""
    problem = make((1,) * K, loss=MSE, widths=(K,) * M, lam=lam, activation="relu")
    theory = ufm.theory(problem)
    assert re.search(candidate, theory.of_kind("candidate")[0].says)
    assert bound in theory.of_kind("bound")[0].says


def test_one_target_with_fixed_weights_is_no_simplex():
    problem = make(
        labels=ufm.soft(np.array([[1.0, 2.0, 3.0]])),
        loss=MSE,
        d=3,
        fixed_weights=(np.ones((1, 3)),),
    )
    assert ufm.theory(problem).of_kind("bound")
