"""Sums of losses: their values, and a conjugate that nobody has in closed form."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import ufm
from tests.certificates.problems import checker
from ufm.certificates import bound
from ufm.losses import AdjustedCrossEntropy, Sum, loss_and_dual, sums

T, ALPHA = 4.0, 0.3
COOL = AdjustedCrossEntropy(multiplicative=np.full(4, 1 / T))
SUMS = {
    "two-temperatures": Sum((ufm.CrossEntropy(), COOL), (ALPHA, (1 - ALPHA) * T**2)),
    "with-squared-error": Sum((ufm.CrossEntropy(), ufm.MeanSquaredError()), (1.0, 0.1)),
}


@pytest.mark.parametrize(
    "name", [pytest.param("two-temperatures", marks=pytest.mark.thorough), "with-squared-error"]
)
def test_the_loss_is_what_it_says(name, key):
    report = ufm.check_loss(SUMS[name], num_classes=4, key=key)
    assert report.ok, report


def test_hard_and_soft_labels_are_one_target():
    rng = np.random.default_rng(0)
    z, hard, soft = rng.normal(size=4), np.eye(4)[1], rng.dirichlet(np.ones(4))
    target = (ALPHA * hard + (1 - ALPHA) * T * soft) / (ALPHA + (1 - ALPHA) * T)
    cross_entropy = ufm.CrossEntropy()
    apart = ALPHA * cross_entropy(jnp.asarray(z), jnp.asarray(hard))
    apart += (1 - ALPHA) * T**2 * cross_entropy(jnp.asarray(z / T), jnp.asarray(soft))
    together = SUMS["two-temperatures"](jnp.asarray(z), jnp.asarray(target))
    assert float(together) == pytest.approx(float(apart), rel=1e-14)


@pytest.mark.parametrize("name", SUMS)
def test_minima_are_certified(name, key):
    labels = ufm.labels.smoothed((6, 4, 3, 2), smoothing=0.2, collapsed=True)
    problem = ufm.Problem(
        labels, loss=SUMS[name], widths=(4,), lambda_W=0.02, lambda_H=0.01, bias="free"
    )
    solution = ufm.minimise(problem, key=key)
    certificate = ufm.certify(problem, solution.params)
    assert certificate.valid
    assert abs(float(certificate.gap)) < 1e-12


@eqx.filter_jit
def dual_and_conjugate(loss, z, q):
    u = loss_and_dual(loss, z[:, None], q[:, None])[1][:, 0]
    return u, loss.conjugate(u, q), loss.conjugate_error(u, q)


@pytest.mark.parametrize(
    ("weight", "multiplicative", "additive", "logits", "label"),
    [
        pytest.param(0.06, (0.5, 0.6, 2.4), (-7, 5, 3), (116.7, 87.7, -54.3), 1, id="far-1"),
        pytest.param(0.02, (2.2, 2.5, 1.1), (-4, 5, -1), (72.6, 63.4, -73.4), 1, id="far-2"),
        pytest.param(2.67, (1.5, 0.5, 0.3), (0, -2, 1), (16.5, 3.8, -4.4), 0, id="rare"),
        pytest.param(54.0, (0.25, 0.25, 0.25), (0, -2, 3), (62.1, -0.8, -32.8), 0, id="even"),
        pytest.param(
            0.5, (0.5, 0.50002, 0.49999), (0, -2, 1), (14837.2, 14835.9, 14837.1), 0, id="steep"
        ),
        pytest.param(
            0.13,
            (0.499999997585, 0.500000001268, 0.499999998975),
            (1, -5, -1),
            (-24783173.1, -24783156.6, -24783168.7),
            2,
            id="valley",
        ),
    ],
)
def test_a_conjugate_is_never_too_low(weight, multiplicative, additive, logits, label):
    """Where classes are rarer than rounding, against sixty digits at u = ∇ℓ(z).

    Shares outside their domains by what is rounding of other entries were 4e-13 too low; shares of
    scales that are nearly proportional, which move a conjugate by thousands of roundings, 2e-12;
    and more where logits of millions have the slopes of small ones.
    """
    adjusted = AdjustedCrossEntropy(multiplicative=multiplicative, additive=additive)
    loss, q = Sum((ufm.CrossEntropy(), adjusted), (1.0, weight)), jnp.eye(3)[label]
    u, found, error = map(np.asarray, dual_and_conjugate(loss, jnp.asarray(logits), q))
    with mpmath.workdps(60):
        exact = mpmath.mpf(0)
        for w, part in ((1.0, ((1.0,) * 3, (0.0,) * 3)), (weight, (multiplicative, additive))):
            y = [mpmath.mpf(m) * z + a for m, z, a in zip(part[0], logits, part[1], strict=True)]
            exact -= w * (mpmath.log(sum(map(mpmath.exp, y))) - y[label])
        exact += sum(mpmath.mpf(float(x)) * z for x, z in zip(u, logits, strict=True))
    assert exact - float(error) <= float(found) <= exact + 10 * float(error)


def test_a_minimum_is_proved(key):
    pytest.importorskip("flint")
    labels = ufm.one_hot((3, 2, 1, 1), collapsed=True)
    problem = ufm.Problem(
        labels, loss=SUMS["two-temperatures"], widths=(4,), lambda_W=0.05, lambda_H=0.05
    )
    enclosure = ufm.prove(problem, ufm.minimise(problem, key=key).params)
    assert enclosure.relative_width < 1e-13
    # it is written down with its parts, and the reader's checker does not take it for another one
    written = json.loads(json.dumps(enclosure.to_dict()))
    parts = [part["name"] for part in written["problem"]["loss"]["losses"]]
    assert parts == ["CrossEntropy", "AdjustedCrossEntropy"]
    with pytest.raises(SystemExit, match=r"this knows .*, not Sum"):
        checker().verify(written)


def test_a_share_that_is_zero_to_rounding_is_none_below_zero(key):
    """Of soft targets q + (p − q) is not p: a saturated class had −1e-17, and a conjugate that is
    finite everywhere was called infinite."""
    pytest.importorskip("flint")
    shifted = AdjustedCrossEntropy(multiplicative=[3.0, 1.0], additive=[0.0, 60.0])
    problem = ufm.Problem(
        ufm.soft(jnp.array([[0.9, 0.2], [0.1, 0.8]])),
        loss=Sum((ufm.MeanSquaredError(), shifted)),
        widths=(2,),
        lambda_W=1e-3,
        lambda_H=1e-3,
    )
    assert ufm.prove(problem, ufm.minimise(problem, key=key).params).relative_width < 1e-15


@pytest.mark.parametrize("size", [1e2, 1e4, 1e5])
def test_a_bias_is_found_where_nothing_is_curved(size):
    """No probability but 0 and 1 to rounding: a step was infinite, and a free bias NaN."""
    loss = Sum((ufm.CrossEntropy(), AdjustedCrossEntropy(multiplicative=[6.8, 0.14])), (0.1, 98.0))
    labels = ufm.soft(jnp.eye(2)[:, jnp.array([0, 1, 1])], (6e-3, 4e-5, 2e6))
    problem = ufm.Problem(labels, loss=loss, widths=(1,), lambda_W=0.1, lambda_H=0.1, bias="free")
    features = jnp.array([[-size, -4 * size, size]])
    point = ufm.Params((jnp.array([[20.0], [-20.0]]),), features, jnp.zeros(2))
    certificate = ufm.certify(problem, point)
    assert jnp.isfinite(certificate.value)
    assert certificate.value <= ufm.model.objective(problem, point)
    assert 0 <= certificate.lower_bound < certificate.value
    assert certificate.valid


SCALES, SHIFTS = np.array([[0.9, 0.4, 0.3, 0.2], [3.4, 0.4, 1.6, 1.3]]), np.array([1.0, 0, -1, 0])


def two_scales(second=SCALES[1]):
    parts = (
        AdjustedCrossEntropy(multiplicative=SCALES[0], additive=SHIFTS),
        AdjustedCrossEntropy(multiplicative=second),
    )
    return Sum(parts, (1.3, 0.7))


def small_problem(loss, bias):
    labels = ufm.one_hot((3, 2, 1, 1), collapsed=True)
    return ufm.Problem(labels, loss=loss, widths=(4,), lambda_W=0.05, lambda_H=0.05, bias=bias)


@pytest.mark.lean("free")
@pytest.mark.parametrize(
    "bias", [None, "free", pytest.param(0.1, marks=pytest.mark.thorough)], ids=str
)
def test_parts_that_scale_classes_differently_are_certified_and_proved(bias, key):
    """Their dual columns fill no simplex: taken for one of it, a free bias had a bound of a third
    of the value, and no proof found a finite conjugate."""
    pytest.importorskip("flint")
    problem = small_problem(two_scales(), bias)
    solution = ufm.minimise(problem, key=key)
    assert solution.result == ufm.Result.CONVERGED
    assert ufm.certify(problem, solution.params).gap < 1e-11
    enclosure = ufm.prove(problem, solution.params)
    assert enclosure.relative_width < 1e-14
    assert solution.value in enclosure or abs(solution.value - enclosure.upper) < 1e-14
    # anywhere else both hold
    start = ufm.solvers.random_start(problem, key=key)
    assert ufm.certify(problem, start).lower_bound <= enclosure.upper
    assert ufm.prove(problem, start).lower <= enclosure.upper


def test_a_loose_conjugate_contradicts_nothing(key):
    """Where logits are too large for a search of shares, the bound is loose and holds: it was
    called INVALID."""
    problem = small_problem(two_scales(1.98 * SCALES[0]), "free")
    start = ufm.solvers.random_start(problem, key=jax.random.key(1))
    far = ufm.Params(weights=start.weights, features=1000 * start.features, bias=start.bias)
    certificate = ufm.certify(problem, far)
    assert certificate.valid, certificate
    assert certificate.lower_bound <= ufm.minimise(problem, key=key).value


def test_proportional_scales_have_an_even_share(key):
    """Floats are proportional to rounding, no exact point but an even share is in both domains."""
    pytest.importorskip("flint")
    problem = small_problem(two_scales(1.7 * SCALES[0]), "free")
    solution = ufm.minimise(problem, key=key)
    certificate = ufm.certify(problem, solution.params)
    assert certificate.closes()
    enclosure = ufm.prove(problem, solution.params)
    assert 0.8 * enclosure.upper < enclosure.lower <= float(certificate.value)


def test_scales_that_hardly_differ_leave_no_room(key):
    """Said so, rather than that the loss was not convex; nothing is bounded that cannot be."""
    pytest.importorskip("flint")
    problem = small_problem(two_scales(1.7 * SCALES[0] * (1 + 1e-13 * SHIFTS)), "free")
    solution = ufm.minimise(problem, key=key)
    certificate = ufm.certify(problem, solution.params)
    assert certificate.lower_bound <= certificate.value
    with pytest.raises(ValueError, match="with room around the gradients where parts of a sum"):
        ufm.prove(problem, solution.params)


def test_a_bias_far_away_does_not_loosen_what_converged_means(key):
    """Where scales hardly differ the best shift is at 4e4: a gradient relative to that was small
    6e-7 above the minimum, and a tenfold smaller difference of scales 0.8 %."""
    pytest.importorskip("flint")
    problem = small_problem(two_scales(1.7 * SCALES[0] * (1 + 1e-4 * SHIFTS)), "free")
    solution = ufm.minimise(problem, key=key)
    assert solution.result == ufm.Result.CONVERGED
    assert jnp.max(jnp.abs(solution.params.bias)) > 1e4
    assert ufm.prove(problem, solution.params).relative_width < 1e-12


def test_a_proof_needs_no_logits(monkeypatch):
    """Where scales differ by 2e-9 a search for those of a dual point may end in no numbers, which
    ended a proof in an error of Python's."""
    flint = pytest.importorskip("flint")
    monkeypatch.setattr(sums, "logits_of", lambda loss, dual, targets: dual + jnp.nan)
    monkeypatch.setattr(sums, "_compiled_pulls", sums._compiled_pulls.__wrapped__)
    dual = [1.1084456359052608e-05, -1.0018569026044674e-05]
    target = [0.33648462093673714, 0.6635153790632629]
    exact = [[flint.fmpq(*x.as_integer_ratio()) for x in each] for each in (dual, target)]
    first, second = [0.8025532688237669, 0.7254110759521923], [0.8025532704733419, 0.72541107482710]
    parts = [AdjustedCrossEntropy(multiplicative=np.array(scale)) for scale in (first, second)]
    found = flint.arb(Sum(tuple(parts), (1.2, 7.9)).enclose_conjugate(*exact))
    # a bound from above, at a point that is nearly 0, of a loss that is least at the entropy
    entropy = -sum(q * np.log(q) for q in target)
    assert -9.1 * entropy <= float(found) < -8.9 * entropy


@eqx.filter_jit
def fenchel_young_gap(loss, z, q):
    """And the error of the conjugate."""
    value, u = loss_and_dual(loss, z, q)
    conjugate, error = loss.conjugate_and_error(u, q)
    return value + conjugate - jnp.sum(u * z, axis=0), error


def test_newton_does_not_stop_where_nothing_is_curved():
    """A whole step went to where probabilities are 0 and 1 to rounding, and stayed.

    The conjugate was 1e-6 too high, or infinite, and a good certificate called invalid.
    """
    scale = np.array([1.0, 1.5, 0.3, 2.1, 1.9, 4.7, 0.3, 4.9, 0.9, 0.4])
    shift = np.array([0.5, 1.3, 0.0, -0.5, 0.9, 0.3, -0.9, -0.6, -0.2, 1.8])
    parts = (
        AdjustedCrossEntropy(multiplicative=scale, additive=shift),
        AdjustedCrossEntropy(multiplicative=scale * (1 + 1e-8 * shift), additive=shift[::-1]),
    )
    loss, q = Sum(parts, (0.6, 10.9)), jnp.eye(10)
    for size in (1.0, 2.0, 4.0, 8.0):
        z = jnp.asarray(size * (np.eye(10) - 0.1) / scale[:, None])
        np.testing.assert_allclose(fenchel_young_gap(loss, z, q)[0], 0, rtol=0, atol=1e-13)


NEARLY = 1.7 * SCALES[0] * (1 + 1e-6 * SHIFTS)


@pytest.mark.parametrize(
    "second", [SCALES[1], NEARLY, 1.7 * SCALES[0]], ids=["apart", "nearly", "alike"]
)
def test_a_conjugate_is_known_where_logits_are_ordinary(second):
    """Beside offsets of columns what sums of shares are off one simplex of all parts was taken for
    rounding, and where scales nearly agree nothing was known: no certificate closed."""
    rng = np.random.default_rng(1)
    problem = small_problem(two_scales(second), None)
    labels = ufm.labels.with_offsets(problem.labels, rng.normal(size=(4, 4)))
    loss, q = problem.replace(labels=labels).loss, labels.targets
    z = jnp.asarray(rng.normal(size=(4, 4)))
    gap, error = fenchel_young_gap(loss, z, q)
    assert np.all(np.abs(gap) <= error)
    assert np.all(error < 1e-12)


@eqx.filter_jit
def centred_together_and_alone(loss, z, q, weights):
    """Dual columns off their mean by a thousandth, centred in both ways, and their conjugates."""
    dual = loss_and_dual(loss, z + loss.best_bias(z, q, weights)[:, None], q)[1]
    off = dual + 1e-3 * dual[:, :1]
    alone = loss.centred(off, q, loss.centring(off @ weights, q @ weights))
    together = loss.centred_together(off, q, weights)
    return [(centred, loss.conjugate(centred, q)) for centred in (together, alone)]


@pytest.mark.parametrize("second", [SCALES[1], 1.7 * SCALES[0]], ids=["apart", "alike"])
def test_columns_are_centred_in_the_way_of_the_scales(second):
    rng = np.random.default_rng(0)
    loss, weights = two_scales(second), jnp.asarray([0.5, 0.3, 0.2])
    z, q = jnp.asarray(rng.normal(size=(4, 3))), jnp.eye(4)[:, [0, 1, 3]]
    for centred, conjugate in centred_together_and_alone(loss, z, q, weights):
        np.testing.assert_allclose(centred @ weights, 0, rtol=0, atol=1e-15)
        assert np.isfinite(conjugate).all()


def test_a_sum_is_certified_beside_an_anchor(key):
    """Shares of the gradient are tried side by side, each with a loop of its own."""
    anchor = np.random.default_rng(0).normal(size=(4, 4))
    loss = SUMS["with-squared-error"]
    problem = small_problem(loss, "free").replace(anchor=anchor, beta=0.1)
    params = ufm.solvers.random_start(problem, key=key)
    compiled = jax.jit(bound._certify.__wrapped__)(problem, params)
    found = ufm.certify(problem, params)
    assert found.valid
    np.testing.assert_allclose(found.lower_bound, compiled.lower_bound, rtol=1e-10)


def test_parts_of_a_sum():
    alone = Sum((ufm.CrossEntropy(),))
    assert alone.canonical() == ufm.CrossEntropy()
    assert Sum((ufm.CrossEntropy(), COOL)).shift_invariant
    mixed = SUMS["with-squared-error"]
    assert not mixed.shift_invariant
    assert mixed.convex
    assert not Sum((ufm.CrossEntropy(), ufm.losses.Focal(2.0))).convex
    assert str(mixed) == "Sum(1 CrossEntropy() + 0.1 MeanSquaredError())"
    # shares of a part that is a sum would be of no simplex, and no bound would close
    nested = Sum((ufm.losses.Focal(2.0), mixed), (1.0, 2.0))
    assert nested.losses == (ufm.losses.Focal(2.0), *mixed.losses)
    np.testing.assert_array_equal(nested.weights, [1.0, 2.0, 0.2])


def test_a_sum_that_is_not_convex_has_no_conjugate():
    loss = Sum((ufm.CrossEntropy(), ufm.losses.Focal(2.0)))
    with pytest.raises(ValueError, match="convex"):
        loss.conjugate(jnp.zeros(3), jnp.ones(3) / 3)


def test_a_sum_is_written_down_and_read_back():
    labels = ufm.one_hot((2, 1, 1, 1))
    problem = ufm.Problem(
        labels, loss=SUMS["two-temperatures"], widths=(4,), lambda_W=0.1, lambda_H=0.1
    )
    again = ufm.Problem.from_dict(problem.to_dict())
    z = jax.random.normal(jax.random.key(0), (4, 5))
    np.testing.assert_array_equal(again.loss(z, labels.targets), problem.loss(z, labels.targets))
