"""`check_loss`: the library's losses pass, and of each kind of wrong loss it names what is
wrong."""

from __future__ import annotations

import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm

LOSSES = (
    pytest.param(ufm.CrossEntropy(), id="cross-entropy"),
    pytest.param(ufm.MeanSquaredError(), id="squared-error"),
    pytest.param(ufm.losses.Focal(2.0), id="focal"),
    pytest.param(ufm.losses.Focal(0), id="focal-0"),
    pytest.param(ufm.losses.RescaledSquaredError(length=3.0, weight=5.0), id="rescaled"),
    pytest.param(
        ufm.losses.AdjustedCrossEntropy(
            multiplicative=[1.0, 0.5, 2.0, 1.0], additive=[0.3, -1.0, 0.0, 0.1]
        ),
        id="adjusted",
    ),
    pytest.param(ufm.losses.AdjustedCrossEntropy(additive=[0.3, -1.0, 0.0, 0.1]), id="shifted"),
)


@pytest.mark.lean("squared-error", "focal")
@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_of_the_library_pass(loss, key):
    report = ufm.check_loss(loss, num_classes=4, key=key)
    assert report.ok, str(report)
    assert str(report).startswith(f"{loss}, K = 4, float64: nothing wrong\nok      shapes")
    absent = {finding.question for finding in report.findings if finding.verdict == "absent"}
    generic = set() if isinstance(loss, ufm.CrossEntropy | ufm.MeanSquaredError) else {"rows"}
    convex_only = {
        "convexity",
        "Fenchel–Young equality",
        "Fenchel–Young inequality",
        "best bias",
        "dual scale",
        "centring",
    }
    assert absent == generic | (set() if loss.convex else convex_only)


class Huber(ufm.losses.AbstractLoss):
    """The Huber loss: at logits of zero, vertices lie on the kink of its slope."""

    def __call__(self, logits, targets):
        size = jnp.abs(logits - targets)
        return jnp.sum(jnp.where(size < 1, 0.5 * size**2, size - 0.5), axis=0)


def test_a_kink_of_the_slope_is_no_wrong_gradient(key):
    assert ufm.check_loss(Huber(), num_classes=4, key=key).ok


class Right(ufm.losses.AbstractLoss):
    """½‖z − q‖², from outside the library."""

    least_squares: ClassVar[bool] = True

    def __call__(self, logits, targets):
        return 0.5 * jnp.sum((logits - targets) ** 2, axis=0)

    def conjugate(self, dual, targets):
        return jnp.sum(0.5 * dual**2 + targets * dual, axis=0)

    def best_bias(self, logits, targets, column_weights):
        return (targets - logits) @ column_weights


class Elementwise(Right):
    def __call__(self, logits, targets):
        return 0.5 * (logits - targets) ** 2


class Switched(Right):
    """A setting that is a field like any other."""

    halved: bool = True

    def __call__(self, logits, targets):
        return super().__call__(logits, targets) / (2 if self.halved else 1)


class Coupled(Right):
    def __call__(self, logits, targets):
        losses = super().__call__(logits, targets)
        return losses + (jnp.mean(losses) if losses.ndim else 0)


class Double(Right):
    def __call__(self, logits, targets):
        return super().__call__(logits, targets).astype(jnp.float64)


class Scaled(Right):
    def conjugate(self, dual, targets):
        return jnp.sum(dual**2 + targets * dual, axis=0)


class Signed(Right):
    def conjugate(self, dual, targets):
        return jnp.sum(0.5 * dual**2 - targets * dual, axis=0)


class Summed(Right):
    def conjugate(self, dual, targets):
        return jnp.sum(0.5 * dual**2 + targets * dual)


class Narrow(Right):
    """Finite at gradients only, not at the scaled ones that certificates take."""

    def conjugate(self, dual, targets):
        return jnp.where(jnp.sum(dual**2, axis=0) > 0, super().conjugate(dual, targets), jnp.inf)


class Slanted(Right):
    """With a gradient that is 2e-7 too large, relatively."""

    least_squares: ClassVar[bool] = False

    def __call__(self, logits, targets):
        value = super().__call__(logits, targets)
        return value + 2e-7 * (value - jax.lax.stop_gradient(value))


class Unweighted(Right):
    def best_bias(self, logits, targets, column_weights):
        return jnp.mean(targets - logits, axis=1)


class Wavy(Right):
    least_squares: ClassVar[bool] = False

    def __call__(self, logits, targets):
        return super().__call__(logits, targets) + jnp.sum(jnp.sin(3 * logits), axis=0)


class Claims(Right):
    shift_invariant: ClassVar[bool] = True


class Hides(ufm.CrossEntropy):
    shift_invariant: ClassVar[bool] = False


class Other(Right):
    least_squares: ClassVar[bool] = False

    def canonical(self):
        return ufm.CrossEntropy()


class Squares(ufm.CrossEntropy):
    least_squares: ClassVar[bool] = True


class Broken(Right):
    def best_bias(self, logits, targets, column_weights):
        raise KeyError("no bias")


class Jumpy(Right):
    """The root of a square: no gradient at zero."""

    least_squares: ClassVar[bool] = False

    def __call__(self, logits, targets):
        return jnp.sqrt(jnp.sum(logits**2, axis=0))


class Straight(Right):
    """The value is right, and its hand-written derivative is not."""

    def __call__(self, logits, targets):
        value = super().__call__(logits, targets)
        return (
            value
            - 0.1 * jax.lax.stop_gradient(jnp.sum(logits, axis=0))
            + 0.1 * jnp.sum(logits, axis=0)
        )


class Uncentred(Right):
    def centred(self, dual, targets, centring):
        return dual


class Far(Right):
    def dual_scale(self, dual, targets, column_weights, *, limit, quadratic):
        return 2 * limit


class Flat(ufm.CrossEntropy):
    """The rows of another loss."""

    def rows(self, root, scale, gamma):
        return ufm.MeanSquaredError().rows(root, scale, gamma)


def test_a_right_loss_of_ones_own_passes(key):
    report = ufm.check_loss(Right(), num_classes=3, key=key)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("loss", "wrong", "why"),
    [
        pytest.param(
            Elementwise(),
            "shapes",
            r"one number a column: logits \(K,\) must give shape \(\); got \(3,\)",
            id="elementwise",
        ),
        pytest.param(
            Switched(),
            "shapes",
            r"raises TracerBoolConversionError: [^\n]* eqx.field\(static=True\)[^\n]*$",
            id="setting",
        ),
        pytest.param(Coupled(), "columns", "depends on the others", id="coupled-columns"),
        pytest.param(
            Double(),
            "dtype",
            "the value of float32 logits must be float32; got float64",
            id="dtype",
        ),
        pytest.param(Jumpy(), "finite", "at logits of size 0", id="no-gradient"),
        pytest.param(Straight(), "gradient", "not that of the value", id="gradient"),
        pytest.param(Slanted(), "gradient", "not that of the value", id="gradient-a-little"),
        pytest.param(Wavy(), "convexity", "`convex` must be False", id="not-convex"),
        pytest.param(
            Scaled(), "Fenchel–Young equality", "differs from uᵀz", id="conjugate-too-large"
        ),
        pytest.param(
            Signed(),
            "Fenchel–Young inequality",
            "falls below uᵀz",
            id="conjugate-of-the-wrong-sign",
        ),
        pytest.param(
            Summed(), "Fenchel–Young equality", "one number a column", id="conjugate-summed"
        ),
        pytest.param(
            Narrow(),
            "Fenchel–Young inequality",
            "not finite at 0 times a gradient",
            id="conjugate-too-narrow",
        ),
        pytest.param(Unweighted(), "best bias", "not flat in the bias", id="bias"),
        pytest.param(Broken(), "best bias", "raises KeyError: 'no bias'", id="raises"),
        pytest.param(
            Claims(), "flat direction", "changes along its `flat_direction`", id="claims-a-shift"
        ),
        pytest.param(
            Hides(), "flat direction", "`shift_invariant` must be True", id="hides-a-shift"
        ),
        pytest.param(
            Other(),
            "canonical form",
            r"the canonical form CrossEntropy\(\) has other values",
            id="another-loss",
        ),
        pytest.param(Squares(), "canonical form", "`least_squares` is for", id="no-least-squares"),
        pytest.param(Uncentred(), "centring", "have a mean", id="not-centred"),
        pytest.param(Far(), "dual scale", r"leaves \[0, 0.1\]", id="scale-out-of-range"),
        pytest.param(Flat(), "rows", "another value", id="rows-of-another-loss"),
    ],
)
def test_what_is_wrong_is_named(loss, wrong, why, key):
    report = ufm.check_loss(loss, num_classes=3, key=key)
    assert not report.ok
    assert wrong in report.wrong, str(report)
    (finding,) = [finding for finding in report.findings if finding.question == wrong]
    assert re.search(why, finding.why), finding.why
    assert wrong in str(report).splitlines()[0]


def test_a_wrong_shape_is_no_dependence_on_others(key):
    """A weight a class without an axis for samples: (K,) logits give (K,), each column alone is
    right."""

    class Weighted(Right):
        least_squares: ClassVar[bool] = False

        def __call__(self, logits, targets):
            return 0.5 * jnp.sum(jnp.ones((3, 1)) * (logits - targets) ** 2, axis=0)

    assert ufm.check_loss(Weighted(), num_classes=3, key=key).wrong == ("shapes", "dtype")


def test_what_a_bare_loss_lacks_is_absent_and_not_wrong(key):
    class Bare(ufm.losses.AbstractLoss):
        def __call__(self, logits, targets):
            return jnp.sum(jnp.logaddexp(logits, -logits) - targets * logits, axis=0)

    report = ufm.check_loss(Bare(), num_classes=3, key=key)
    assert report.ok, str(report)
    missing = {
        finding.question: finding.why for finding in report.findings if finding.verdict == "absent"
    }
    assert missing["Fenchel–Young equality"] == "no `conjugate`: no certificate"
    assert missing["best bias"] == "no `best_bias`: no certificate with a free bias"


def test_the_targets_may_be_given(key):
    class Signs(Right):
        """Targets of −1 and 1 only."""

        least_squares: ClassVar[bool] = False

        def __call__(self, logits, targets):
            return jnp.sum(
                jnp.where(jnp.abs(targets) == 1, jnp.logaddexp(0, -targets * logits), jnp.nan),
                axis=0,
            )

        def conjugate(self, dual, targets):
            share = jnp.clip(-targets * dual, 0, 1)
            entropy = jax.scipy.special.xlogy(share, share) + jax.scipy.special.xlogy(
                1 - share, 1 - share
            )
            return jnp.sum(entropy, axis=0)

    signs = np.array([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]])
    report = ufm.check_loss(Signs(), num_classes=2, key=key, targets=signs)
    assert report.wrong == ("best bias",), str(report)
    assert "finite" in ufm.check_loss(Signs(), num_classes=2, key=key).wrong


class SquaredHinge(ufm.losses.AbstractLoss):
    """Its conjugate is for one-hot targets alone."""

    def __call__(self, logits, targets):
        return 0.5 * jnp.sum(jnp.maximum(1 - (2 * targets - 1) * logits, 0) ** 2, axis=0)

    def conjugate(self, dual, targets):
        share = (2 * targets - 1) * dual
        inside = jnp.all(share <= 0, axis=0)
        return jnp.where(inside, jnp.sum(share + share**2 / 2, axis=0), jnp.inf)


def test_the_target_at_which_a_loss_is_wrong_is_named(key):
    report = ufm.check_loss(SquaredHinge(), num_classes=3, key=key)
    assert report.wrong == ("Fenchel–Young equality", "Fenchel–Young inequality")
    for finding in report.findings:
        if finding.verdict == "wrong":
            (target,) = re.findall(r", at the target \((.*)\); at one-hot targets", finding.why)
            np.testing.assert_allclose(sum(map(float, target.split(", "))), 1, rtol=2e-3)
            assert finding.why.endswith("nothing is seen, and `targets=` asks there alone")
    assert ufm.check_loss(SquaredHinge(), num_classes=3, key=key, targets=np.eye(3)).ok
    # wrong at all of them
    scaled = str(ufm.check_loss(Scaled(), num_classes=3, key=key))
    assert ", at the target (" in scaled
    assert "`targets=`" not in scaled


def test_single_precision_is_judged_by_its_own_rounding(key):
    with jax.enable_x64(False):
        report = ufm.check_loss(ufm.CrossEntropy(), num_classes=3, key=jax.random.key(0))
    assert report.ok, str(report)
    assert report.dtype == "float32"


@pytest.mark.parametrize(
    ("loss", "K", "message"),
    [
        pytest.param(ufm.CrossEntropy, 3, "`loss` must be a loss", id="class"),
        pytest.param(
            ufm.CrossEntropy(),
            1,
            "`num_classes` must be a whole number >= 2; got 1",
            id="one-class",
        ),
    ],
)
def test_bad_questions(loss, K, message, key):
    with pytest.raises(ValueError, match=message):
        ufm.check_loss(loss, num_classes=K, key=key)
