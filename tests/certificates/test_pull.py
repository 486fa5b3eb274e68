"""What pulls features and rows, against fractions: less its rounding no bound is too large."""

from __future__ import annotations

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from tests.certificates.problems import make
from ufm.certificates.multipliers import Multipliers
from ufm.certificates.pull import Pull, least
from ufm.domains import Nonnegative, Real

LEFT = 0.375


def exactly(H, V, rows, columns, slope, pulled, constant, nonnegative) -> Fraction:
    """½⟨HS, H⟩ + ⟨L, H⟩ − ½ Σ ‖R_c‖²/(b_c left), and what of R matters to nonnegative features;
    with the rows at their best."""
    H, V, slope, M = (np.vectorize(Fraction, otypes=[object])(x) for x in (H, V, slope, pulled))
    rows, columns = ([Fraction(x) for x in each] for each in (rows, columns))
    slope = slope - (M / np.array(rows, object)[None, :]) @ V
    constant = Fraction(constant) - (M**2 / np.array(rows, object)[None, :]).sum() / 2
    gram = V.T @ (V / np.array(rows, object)[:, None])
    if nonnegative:
        keep = np.eye(len(gram), dtype=bool) | (gram > 0)
        gram = np.where(keep, gram, Fraction(0))
    curved = H * np.array(columns, object)[None, :] - H @ gram
    residual = curved + slope
    faced = np.minimum(residual, 0) if nonnegative else residual
    value = (curved * H).sum() / 2 + ((slope + faced - residual) * H).sum() + constant
    terms = (faced**2).sum(axis=0) / np.array(columns, object)
    return value - terms.sum() / (2 * Fraction(LEFT))


@pytest.mark.parametrize("domain", [Real(), Nonnegative()], ids=str)
@pytest.mark.parametrize("of_rows", [0.0, 1.0])
@pytest.mark.parametrize("cancelling", [0.0, 1e-12, 1.0])
def test_the_bound_is_below_the_exact_one(domain, cancelling, of_rows):
    """With a residual that is rounding, small, and large."""
    d, C = 2, 3
    nonnegative = domain.nonnegative
    problem = make(d=d, features=domain, lambda_W=1.0, lambda_H=1.0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        H, V = rng.normal(size=(d, C)), rng.normal(size=(3, C))
        H = np.abs(H) if nonnegative else H
        rows, columns = rng.uniform(1, 2, size=(2, 3))
        gram = V.T @ (V / rows[:, None])
        gram = np.where(np.eye(C, dtype=bool) | (gram > 0), gram, 0) if nonnegative else gram
        M = of_rows * rng.normal(size=(d, 3))
        slope = H @ gram - H * columns + (M / rows) @ V + cancelling * rng.normal(size=H.shape)
        # a constant that takes away all but rounding
        constant = float(-exactly(H, V, rows, columns, slope, M, 0.0, nonnegative))
        pull = Pull(*map(jnp.asarray, (slope, M, constant, abs(constant))))
        multipliers = Multipliers(jnp.asarray(rows), jnp.asarray(columns))
        value, slack = least(problem, jnp.asarray(H), jnp.asarray(V), multipliers, pull, LEFT)
        exact = exactly(H, V, rows, columns, slope, M, constant, nonnegative)
        assert Fraction(float(value)) - Fraction(float(slack)) <= exact
        assert Fraction(float(value)) + Fraction(float(slack)) >= exact
        assert float(slack) < 1e-11
