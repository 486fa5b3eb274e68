r"""An upper bound on the norm of the K × C gradient G where it exists only as products.

Of $\|G\|_{op}$ iterations alone only give lower bounds. This one is made of two parts. The range of
W is spanned by singular vectors of G at a stationary point; on its Ritz vectors Q of $A = GG^\top$
that are nearly invariant everything is known: the Ritz values $\Theta$ and the residuals $E = AQ -
Q\Theta$. On the complement a Chebyshev polynomial of A (power iteration, accelerated) is applied to
random unit vectors x: with $T$ of degree k, at most 1 on $[0,\theta]$ and growing beyond,
$\|T(A)x\| \ge T(\lambda_1)\,|x\cdot v_1|$, and $|x \cdot v_1| > \tau$ for one of s vectors at
least, except with probability $(\tau\sqrt{2K/\pi})^s$. That bounds the complement by some b, and
then (a Schur complement)

$$\|G\|_{op}^2 \ \le\ \min\{\lambda > b:\ \Theta + E^\top E/(\lambda - b) \preceq \lambda\}.$$

So b may be a per cent too large and the gap still closes to rounding wherever the rest of the
spectrum is a per cent below the top.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._classes.module import Module
from ufm._host.roots import turn
from ufm._system.progress import Progress
from ufm._validate import require_each, require_flag, require_key, require_whole
from ufm.certificates.dual_chunks import MeanFix, dual_columns, gradient_shares
from ufm.model import Params, Problem
from ufm.model.chunks import Chunk, over_chunks, product

# A Ritz vector is split off when its residual is below this, relative to the largest Ritz value;
# with a larger one it is better known as part of the rest.
_INVARIANT = 1e-2
# The interval of the polynomial ends no lower than this, relative to the largest Ritz value: there
# may be nothing at all in the rest.
_LEAST = 1e-3
# Block power steps that place the interval of the polynomial; a poor guess costs sharpness, never
# truth.
GUESSES = 10


class Randomised(Module):
    r"""How the norm of a gradient too large to write down is bounded, by random vectors.

    Parameters
    ----------
    key
        For the random vectors, `jax.random.key(0)` unless given. The point must not have been made
        from the same draws; a start of `minimise` from an equal key is not.
    steps
        Degree of the polynomial, each a pass over all logits; off the range of W the bound on the
        squared norm is too large by a factor of about $1 + (\log(K/\delta^{2/s})/4k)^2$.
    block
        How many random vectors, s.
    failure_probability
        δ: that the bound does not hold.
    progress
        Whether to show progress; on a terminal, once a second has passed, unless given.

    Raises
    ------
    ValueError
        For budgets that are not whole numbers >= 1, and a probability outside (0, 1).
    """

    key: PRNGKeyArray
    steps: int = eqx.field(static=True)
    block: int = eqx.field(static=True)
    failure_probability: float = eqx.field(static=True)
    progress: bool | None = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray | None = None,
        *,
        steps: int = 40,
        block: int = 16,
        failure_probability: float = 1e-12,
        progress: bool | None = None,
    ):
        if key is not None:
            require_key("key", key)
        self.key = jax.random.key(0) if key is None else key
        self.steps, self.block = require_whole("steps", steps), require_whole("block", block)
        inside = "lie between 0 and 1"
        require_each(
            "failure_probability",
            failure_probability,
            lambda p: (p > 0) & (p < 1),
            inside,
            shape=(),
        )
        self.failure_probability = float(failure_probability)
        require_flag("progress", progress, optional=True)
        self.progress = progress


def bounds_on_square(
    problem: Problem, params: Params, fix: MeanFix, how: Randomised, bar: Progress
) -> tuple[float, float]:
    r"""Numbers between which $\|G\|_{op}^2$ lies, but for the stated probability.

    Parameters
    ----------
    problem, params, fix
        Whose gradient it is, and how its columns are changed.
    how
        Key, block, steps and probability.
    bar
        Stands at 1 before, and at `GUESSES` + `how.steps` + 2 after.

    Returns
    -------
    tuple[float, float]
        The upper one is infinite where the recurrence overflowed.
    """
    span, values, coupling = _invariant(problem, params, fix)
    values, coupling = np.asarray(values, np.float64), np.asarray(coupling, np.float64)
    bar.update(2)
    first, second = jax.random.split(jax.random.fold_in(how.key, GUESSES))
    vectors, theta = _random_block(problem, span, first, how.block), jnp.zeros((), problem.dtype)
    for i in range(GUESSES):
        basis = _off(span, jnp.linalg.qr(vectors)[0])
        vectors = jax.block_until_ready(_rest(problem, params, fix, span, basis))
        theta = jnp.linalg.eigvalsh(product(basis.T, vectors))[-1]
        bar.update(3 + i)
    # the interval depends on the first block only: given it, the second is as random as ever
    reached = float(theta)
    theta = max(
        float(theta), _LEAST * float(values.max()), float(jnp.finfo(problem.dtype).tiny) ** 0.5
    )
    here, before = _random_block(problem, span, second, how.block), None
    stretch = jnp.asarray(2 / theta, problem.dtype)
    for i in range(how.steps):
        # the recurrence of the Chebyshev polynomials in 2A/θ − 1, which maps [0, θ] onto [−1, 1]
        mapped = stretch * jax.block_until_ready(_rest(problem, params, fix, span, here)) - here
        here, before = mapped if before is None else 2 * mapped - before, here
        bar.update(3 + GUESSES + i)
    last, K = np.asarray(here, np.float64), problem.labels.num_classes
    rest = bound_on_rest(last, theta, K, how.steps, how.failure_probability)
    return max(values.max(), reached), _largest(values, coupling, rest)


def _gram(
    problem: Problem, params: Params, fix: MeanFix, vectors: Float[Array, "K S"]
) -> Float[Array, "K S"]:
    """G Gᵀ times vectors, with G = [ω_c u_c / √m_c]: one pass over the columns."""

    def body(chunk: Chunk, total):
        gradient = dual_columns(problem, fix, chunk) * gradient_shares(chunk)[None, :]
        return total + product(gradient, product(gradient.T, vectors))

    return over_chunks(problem, params, body, jnp.zeros_like(vectors))


@jax.jit
def _invariant(problem: Problem, params: Params, fix: MeanFix):
    """Ritz vectors in the range of W that are nearly invariant (K, R), their values (R,), products
    of residuals (R, R); 0 for others."""
    (W,) = params.weights
    basis = jnp.linalg.qr(W)[0]
    applied = _gram(problem, params, fix, basis)
    values, rotation = jnp.linalg.eigh(product(basis.T, applied))
    vectors = product(basis, rotation)
    residuals = product(applied, rotation) - vectors * values[None, :]
    kept = (jnp.sqrt(jnp.sum(residuals**2, axis=0)) <= _INVARIANT * values[-1]).astype(W.dtype)
    residuals = residuals * kept[None, :]
    return vectors * kept[None, :], values * kept, product(residuals.T, residuals)


def _off(span: Float[Array, "K R"], vectors: Float[Array, "K S"]) -> Float[Array, "K S"]:
    return vectors - product(span, product(span.T, vectors))


def _random_block(problem: Problem, span, key: PRNGKeyArray, block: int) -> Float[Array, "K S"]:
    """Random unit vectors, less their part in the span."""
    normal = jax.random.normal(key, (problem.labels.num_classes, block), problem.dtype)
    return _off(span, normal / jnp.sqrt(jnp.sum(normal**2, axis=0))[None, :])


@jax.jit
def _rest(
    problem: Problem,
    params: Params,
    fix: MeanFix,
    span: Float[Array, "K R"],
    vectors: Float[Array, "K S"],
) -> Float[Array, "K S"]:
    """A off the span, times vectors off the span."""
    return _off(span, _gram(problem, params, fix, vectors))


def bound_on_rest(
    last: np.ndarray, theta: float, K: int, steps: int, failure_probability: float
) -> float:
    """An upper bound on the largest eigenvalue of A off the span, but for a given probability.

    Parameters
    ----------
    last
        (K, b), random unit vectors after the Chebyshev recurrence.
    theta
        The interval [0, θ] which the recurrence maps onto [−1, 1].
    K
        The dimension.
    steps
        Degree of the polynomial.
    failure_probability
        With which the bound may be wrong.

    Returns
    -------
    float
        Infinite where the recurrence overflowed.
    """
    tau = min(1.0, failure_probability ** (1 / last.shape[1]) * np.sqrt(np.pi / (2 * K)))
    grown = float(np.sqrt(np.max(np.sum(last**2, axis=0)))) / tau
    return (
        0.5 * theta * (1 + np.cosh(np.arccosh(max(grown, 1.0)) / steps))
        if np.isfinite(grown)
        else np.inf
    )


def _largest(values: np.ndarray, coupling: np.ndarray, rest: float) -> float:
    """The least λ >= b = `rest` with diag(`values`) + `coupling`/(λ − b) <= λ, from above."""
    low = max(float(values.max()), rest)
    high = low + float(np.sqrt(max(np.linalg.eigvalsh(coupling)[-1], 0.0)))

    def fits(level: float) -> bool:
        if level <= rest:
            return False
        largest = np.linalg.eigvalsh(np.diag(values) + coupling / (level - rest))[-1]
        return bool(largest <= level)

    return turn(fits, low, high)[1] if np.isfinite(high) else high
