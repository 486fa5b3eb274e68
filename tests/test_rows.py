"""Losses for rows of logits: the curvature and what conditions it, against dense matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm

K = 4
LOSSES = {
    "entropy": ufm.CrossEntropy(),
    "squared": ufm.MeanSquaredError(),
    "generic": ufm.losses.AdjustedCrossEntropy(multiplicative=np.full(K, 2.0)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("gamma", [1e-3, 0.3, 40.0])
def test_curvature_and_its_inverse_are_those_of_dense_matrices(name, gamma):
    """Under a simplex ETF, on logits of sum zero; of a loss of which nothing is known the inverse
    is that of the decay alone, and only symmetric and positive."""
    scale, rng = 2.5, np.random.default_rng(0)
    root = np.sqrt(scale) * (np.eye(K) - 1 / K)
    loss = LOSSES[name]
    model = loss.rows(jnp.asarray(root), jnp.asarray(scale), jnp.asarray(gamma))
    z, rows = rng.normal(size=(2, 1, K))
    q = rng.dirichlet(np.ones(K), size=1)
    here = model.at(jnp.asarray(z), jnp.asarray(q))
    hessian = jax.hessian(loss)(jnp.asarray(z[0]), jnp.asarray(q[0]))
    assert_allclose(model.curve(here.memory, jnp.asarray(rows)), rows @ hessian, rtol=0, atol=1e-14)
    rows = rows - rows.mean()
    found = model.precondition(here.memory, jnp.asarray(rows), jnp.full((1, 1), gamma))
    exact = np.linalg.solve(root @ hessian @ root + gamma * np.eye(K), rows[0])
    assert_allclose(found[0], rows[0] / gamma if name == "generic" else exact, rtol=1e-9)
