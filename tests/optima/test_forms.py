"""Forms and facts.

Who accepts what, what a disguised loss gets, forms from outside, and what a refusal says.
"""

from __future__ import annotations

import itertools
import pkgutil

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from ufm import forms
from ufm.optima.choice import what_works
from ufm.optima.facts import Facts
from ufm.optima.hypotheses import loss_named, one_layer, plain_decay


def make(counts=(4, 4, 4), *, loss=None, d=6, lam=0.05, labels=None, **options):
    labels = ufm.one_hot(counts, collapsed=True) if labels is None else labels
    given = {
        "loss": ufm.CrossEntropy() if loss is None else loss,
        "widths": (d,),
        "lambda_W": lam,
        "lambda_H": 2 * lam,
    }
    return ufm.Problem(labels, **(given | options))


def test_every_file_of_the_folder_is_a_form_with_a_name_and_a_source():
    modules = [module.name for module in pkgutil.iter_modules(forms.__path__)]
    known = forms.known()
    assert len(known) == len(modules) == len({form.name for form in known}) >= 8
    assert all(form.source for form in known)


PULL = {"anchor": np.zeros((6, 3)), "beta": 1.0}
SETTINGS = tuple(
    itertools.product(
        ((4, 4, 4), (6, 4, 2), (6, 6, 2, 2), (9, 1)),
        (ufm.CrossEntropy(), ufm.MeanSquaredError(), ufm.losses.Focal(1.5)),
        (None, "free", 0.3),
        (1e-3, 0.4),
        (ufm.domains.Real(), ufm.domains.Nonnegative()),
    )
)


@pytest.mark.parametrize(("counts", "loss", "bias", "lam", "features"), SETTINGS)
def test_one_form_at_most_accepts_a_problem_and_the_rest_say_why_not(
    counts, loss, bias, lam, features
):
    problem = make(counts, loss=loss, bias=bias, lam=lam, features=features)
    facts = Facts.of(problem)
    accepting = [form for form in forms.known() if form.holds(facts)]
    assert len(accepting) <= 1
    for form in forms.known():
        failing = form.failing(facts)
        assert bool(failing) == (form not in accepting)
        assert all(str(h).startswith("needs ") and "; got " in str(h) and h.name for h in failing)
    if accepting:
        assert ufm.closed_form(problem).source
    else:
        with pytest.raises(
            ufm.NoClosedForm, match=r"needs .*; got .*; what still works: ufm.minimise"
        ) as caught:
            ufm.closed_form(problem)
        assert caught.value.form is None or caught.value.form in str(caught.value)
        assert caught.value.failing


@pytest.mark.parametrize(
    ("loss", "plain"),
    [
        pytest.param(ufm.losses.Focal(0), ufm.CrossEntropy(), id="focal-0"),
        pytest.param(
            ufm.losses.RescaledSquaredError(length=1, weight=1),
            ufm.MeanSquaredError(),
            id="rescaled-by-1",
        ),
        pytest.param(
            ufm.losses.AdjustedCrossEntropy(additive=np.full(3, 2.0)),
            ufm.CrossEntropy(),
            id="equal-shifts",
        ),
    ],
)
@pytest.mark.parametrize("counts", [(4, 4, 4), (6, 2, 2)])
def test_a_disguised_loss_has_the_closed_form_of_the_plain_one(loss, plain, counts, key):
    problem = make(counts, loss=loss)
    optimum, expected = ufm.closed_form(problem), ufm.closed_form(make(counts, loss=plain))
    assert (optimum.value, optimum.source) == (expected.value, expected.source)
    solution = ufm.minimise(problem, key=key, progress=False)
    assert ufm.compare(solution, optimum).ok
    assert float(ufm.certify(problem, solution.params).gap) < 1e-10


def test_a_disguised_loss_that_is_another_one_has_none():
    with pytest.raises(ufm.NoClosedForm, match="needs a loss with a solved optimum") as caught:
        ufm.closed_form(make(loss=ufm.losses.AdjustedCrossEntropy(additive=[0.0, 1.0, 0.0])))
    assert caught.value.form is None
    assert caught.value.failing[0].name == "loss"


@pytest.mark.parametrize(
    ("options", "form", "words"),
    [
        pytest.param({"counts": (6, 4, 2)}, "two clusters", "ufm.certify", id="three-counts"),
        pytest.param(
            {"counts": (6, 4), "bias": "free"}, "simplex ETF", "ufm.certify", id="tail-with-bias"
        ),
        pytest.param({"widths": (6, 6)}, "simplex ETF", "deep_candidates", id="deep"),
        pytest.param({"d": 1}, "simplex ETF", "ufm.certify", id="narrow"),
        pytest.param(
            {"counts": (6, 4), "loss": ufm.losses.Focal(2.0)},
            "focal",
            "ufm.search",
            id="focal-tail",
        ),
        pytest.param(
            {"anchor": np.zeros((6, 3)), "beta": 1.0, "loss": ufm.MeanSquaredError()},
            "squared error",
            "ufm.perturbation",
            id="pull",
        ),
        pytest.param(
            {"fixed_weights": (np.ones((3, 6)),)},
            "simplex ETF",
            "ufm.solvers.fit_features",
            id="frozen",
        ),
        pytest.param(
            {"counts": (6, 4), "features": ufm.domains.Nonnegative(), "bias": "free"},
            "nonnegative",
            "ufm.minimise",
            id="bias",
        ),
    ],
)
def test_a_refusal_names_the_nearest_form_and_what_still_works(options, form, words):
    with pytest.raises(ufm.NoClosedForm) as caught:
        ufm.closed_form(make(**options))
    assert form in caught.value.form
    assert caught.value.form in str(caught.value).split("; or ")[0]
    assert words in str(caught.value).split("what still works: ")[1]


@pytest.mark.parametrize(("d", "codes"), [(4, False), (3, True)], ids=["a simplex fits", "tight"])
def test_a_code_is_advised_where_a_simplex_does_not_fit(d, codes):
    spheres = {"features": ufm.domains.Sphere(2.0), "classifier": ufm.domains.Sphere(1.0)}
    problem = make((1,) * 5, d=d, lam=0.0, **spheres)
    assert any("code_bound" in way for way in what_works(Facts.of(problem))) == codes


NONNEGATIVE = ufm.domains.Nonnegative()
SUPERVISED = {
    "labels": ufm.labels.contrastive([3, 3]),
    "map": ufm.maps.Tied(0.5),
    "lambda_W": 0.0,
    "fixed_weights": (np.eye(6),),
}


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        pytest.param(SUPERVISED, {"minimise", "certify"}, id="contrastive"),
        pytest.param({"classifier": NONNEGATIVE}, {"minimise", "certify"}, id="signs"),
        pytest.param(PULL, {"minimise", "certify"}, id="pull"),
        pytest.param(
            {**PULL, "counts": (6, 4, 2), "loss": ufm.MeanSquaredError()},
            {"minimise", "certify"},
            id="pull-of-a-tail",
        ),
        pytest.param(
            {"fixed_weights": (np.ones((3, 6)),)},
            {"minimise", "certify", "solvers.fit_features"},
            id="frozen",
        ),
        pytest.param(
            {"features": ufm.domains.Ball(1.0), "fixed_weights": (np.ones((3, 6)),)},
            {"minimise", "certify"},
            id="frozen-in-balls",
        ),
        pytest.param(
            {"labels": ufm.mixup(3, 1.0, nodes=4), "widths": (6, 6)},
            {"minimise", "search"},
            id="deep-mixtures",
        ),
        pytest.param(
            {"widths": (6, 6), "activation": "relu", "features": ufm.domains.Sphere(1.0)},
            {"minimise"},
            id="relu-on-spheres",
        ),
    ],
)
def test_what_works_does(options, ways, key):
    problem = make(**options)
    with pytest.raises(ufm.NoClosedForm) as caught:
        ufm.closed_form(problem)
    said = str(caught.value).split("what still works: ")[1]
    assert said == ", ".join(f"ufm.{way}" for way in sorted(ways, key=ORDER.index))
    # what is not named is refused
    point = ufm.solvers.random_start(problem, key=key, std=0.1)
    if "certify" in ways:
        ufm.certify(problem, point)
    for way, call in REFUSED.items():
        if way not in ways:
            with pytest.raises(ValueError, match=r"`problem"):
                call(problem, point, key)


ORDER = ("minimise", "search", "certify", "solvers.fit_features")
REFUSED = {
    "search": lambda problem, point, key: ufm.search(problem, key=key, starts=1),
    "certify": lambda problem, point, key: ufm.certify(problem, point),
    "solvers.fit_features": lambda problem, point, key: ufm.solvers.fit_features(problem),
}


def test_the_nearest_form_of_labels_with_offsets_is_of_their_loss():
    """What labels add to logits made another loss of it, and squared error was as near."""
    with pytest.raises(ufm.NoClosedForm, match="zero product under strong decay"):
        ufm.closed_form(make(**SUPERVISED))


def test_what_works_is_true_of_a_tail_with_a_bias(key):
    problem = make((6, 4), bias="free")
    solution = ufm.minimise(problem, key=key, progress=False)
    assert float(ufm.certify(problem, solution.params).gap) < 1e-10


@pytest.mark.parametrize("collapsed", [True, False])
def test_facts_merge_columns(collapsed):
    facts = Facts.of(
        make(labels=ufm.labels.smoothed((5, 3), smoothing=0.2, collapsed=collapsed), d=4)
    )
    assert (facts.K, facts.N, facts.M, facts.feature_dim) == (2, 8.0, 1, 4)
    for columns in (facts.classes, facts.distinct):
        assert_allclose(columns.masses, [5, 3], rtol=1e-14)
        assert_allclose(columns.targets, [[0.9, 0.1], [0.1, 0.9]], rtol=1e-15)
    assert facts.smoothing == pytest.approx(0.2, rel=1e-14)
    assert facts.one_target_per_class
    assert facts.distributions
    assert not facts.balanced
    assert_allclose(facts.class_counts, [4.8, 3.2], rtol=1e-15)


def test_costly_facts_are_computed_once():
    facts, calls = Facts.of(make()), []
    assert facts.once(calls.append) is facts.once(calls.append) is None
    assert calls == [facts]


class Rescaled(forms.AbstractForm):
    """Squared error on longer targets.

    The orthogonal frame of balanced one-hot labels, M = 1, no bias, no weight.
    """

    name = "rescaled squared error, balanced"
    source = "the test"
    factor = 1.0

    def accepts(self, facts):
        return [
            loss_named(facts, "rescaled-squared-error"),
            *plain_decay(facts),
            one_layer(facts),
            forms.Hypothesis(
                "labels", facts.one_hot and facts.balanced, "balanced one-hot labels", "others"
            ),
            forms.Hypothesis("no bias", facts.bias is None, "no bias", f"{facts.bias} bias"),
            forms.Hypothesis(
                "weight 1", float(facts.loss.weight) == 1, "weight 1", f"{facts.loss.weight}"
            ),
        ]

    def optimum(self, facts):
        length, n, N = float(facts.loss.length), facts.classes.masses[0], facts.N
        # every singular value of the product is that of the target, length √n, less N √(λ_W λ_H)
        s = self.factor * max(length * np.sqrt(n) - N * facts.mu, 0.0)
        value = facts.K * ((length * np.sqrt(n) - s) ** 2 / (2 * N) + facts.mu * s)
        product = s / np.sqrt(n) * np.eye(facts.K)
        return forms.product_optimum(
            facts,
            product,
            value=value,
            regime="orthogonal frame",
            source=self.source,
            loss="rescaled",
        )


class Wrong(Rescaled):
    factor = 1.01


@pytest.mark.parametrize(("kind", "ok"), [(Rescaled, True), (Wrong, False)])
def test_a_form_of_ones_own_is_asked_and_compared(kind, ok, key):
    problem = make(loss=ufm.losses.RescaledSquaredError(length=3.0))
    form = forms.register(kind())
    try:
        comparison = ufm.compare(
            ufm.minimise(problem, key=key, progress=False), ufm.closed_form(problem)
        )
        assert comparison.ok == ok
        assert ("below the predicted optimum" in comparison.found) == (not ok)
        with pytest.raises(
            ValueError, match=r"`form.name` must be new; got rescaled squared error, balanced"
        ):
            forms.register(kind())
        with pytest.raises(ufm.NoClosedForm, match="needs weight 1") as caught:
            ufm.closed_form(make(loss=ufm.losses.RescaledSquaredError(length=3.0, weight=2.0)))
        assert caught.value.form == kind.name
    finally:
        forms.forget(form)
    with pytest.raises(ufm.NoClosedForm, match="needs a loss with a solved optimum"):
        ufm.closed_form(problem)


def test_what_is_no_form_is_refused():
    with pytest.raises(ValueError, match=r"`form` must be an instance of ufm.forms.AbstractForm"):
        forms.register(Rescaled)


def test_no_decay_is_a_mistake_and_other_weights_another_theory():
    with pytest.raises(
        ValueError, match="`lambda_W` must be finite and > 0 for a closed form"
    ) as caught:
        ufm.closed_form(make(lam=0.0))
    assert not isinstance(caught.value, ufm.NoClosedForm)
    labels = ufm.soft(jnp.eye(3), jnp.ones(3), weights=jnp.array([1.0, 1.0, 2.0]))
    with pytest.raises(
        ufm.NoClosedForm, match="needs equal loss weights of all samples; got `weights` from 1 to 2"
    ):
        ufm.closed_form(make(labels=labels))


def test_decay_beyond_the_smallest_number_has_no_form():
    """Products of two λ of 1e-163 are 0; the message named the loads, and theory raised it."""
    for decay, resolved in ((1e-150, True), (1e-160, False), (1e-163, False)):
        problem = make(loss=ufm.MeanSquaredError(), lambda_W=decay, lambda_H=decay)
        if resolved:
            value = ufm.closed_form(problem).value
            exact = ufm.closed_form(problem.replace(lambda_W=1e-8, lambda_H=1e-8)).value
            np.testing.assert_allclose(value / decay, exact / 1e-8, rtol=1e-7)
        else:
            with pytest.raises(ufm.NoClosedForm, match=r"needs loads .* that float64 resolves"):
                ufm.closed_form(problem)
        assert ufm.theory(problem).of_kind("bound")
