r"""The duality gap of problems too large for all logits, a chunk of columns at a time.

The bound needs an upper bound on $\|G\|_{op}$ of a K × C gradient that nobody can hold, which
`random_norm.py` has from random vectors.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._exact.decimals import printed
from ufm._system.progress import Progress
from ufm.certificates.chunked_bound import chunked_bound
from ufm.certificates.dual_bound import judged
from ufm.certificates.dual_chunks import mean_fix
from ufm.certificates.random_norm import GUESSES, Randomised, bounds_on_square
from ufm.model import Params, Problem, require_plain
from ufm.solution import AbstractCertificate


class RandomisedCertificate(AbstractCertificate):
    r"""A lower bound on the global minimum that holds except with a stated probability, hence how
    far a point can be from it.

    `value`: the objective at the point. `lower_bound` $\le$ the global minimum. `gap`: (value −
    lower_bound) / |value|. `spectral_ratio`, `spectral_bound`: $\|G\|_{op}/\mu$ lies between them;
    the first is at most 1 at an optimum that no dimension more would lower. `bias_residual`:
    $\|\sum_c\omega_c u_c\|$ at the free bias that was given, relative to the root mean square of
    logits and targets, before it was removed; 0 without one. `rounding`: how far `value` can be
    off. `contradiction`: by how much loss and conjugate miss equality in Fenchel–Young, in units of
    what rounding can explain: above 1 one of them is wrong. `failure_probability`: that the second,
    and with it `lower_bound`, is false. `loss`: whose they are.
    """

    value: Float[Array, ""]
    lower_bound: Float[Array, ""]
    gap: Float[Array, ""]
    spectral_ratio: Float[Array, ""]
    spectral_bound: Float[Array, ""]
    bias_residual: Float[Array, ""]
    rounding: Float[Array, ""]
    contradiction: Float[Array, ""]
    failure_probability: float = eqx.field(static=True)
    loss: str = eqx.field(static=True)

    def __str__(self) -> str:
        if not self.valid:
            return self._sentence()
        reached = printed(float(self.spectral_ratio), 12, up=False)
        bound = printed(float(self.spectral_bound), 12, up=True)
        fails = printed(self.failure_probability, 1, up=True, form="e")
        return (
            f"{self._sentence()}\n{reached} <= spectral ratio <= {bound}, "
            f"the latter except with probability {fails}"
        )


def randomised_bound(problem: Problem, params: Params, how: Randomised) -> RandomisedCertificate:
    r"""Lower bound on the global minimum which holds except with a stated probability.

    From the loss gradients at a point, scaled onto the dual ball.

    Parameters
    ----------
    problem
        One linear layer with decay alone.
    params
        Any point of it.
    how
        Key, block, steps, probability and progress.

    Returns
    -------
    RandomisedCertificate
        What rounding can amount to is subtracted.

    Raises
    ------
    ValueError
        For domains, anchors and frozen weights.

    Notes
    -----
    With a free bias the gradients are first changed so that $\sum_c\omega_c u_c = 0$, in the way
    that the loss has (`AbstractLoss.centred`): of cross-entropy by moving probability from classes
    predicted too often to those predicted too rarely, else by subtracting the mean. So the bound
    holds at any point, and costs what the bias is off.

    The probability is that of a coordinate of a random unit vector, whose density is at most
    $\sqrt{K/2\pi}$; of the random vectors and of nothing else.
    """
    require_plain(problem, "a randomised certificate")
    bar = Progress("certify", total=GUESSES + how.steps + 3, show=how.progress)
    try:
        fix, residual = mean_fix(problem, params)
        bar.update(1)
        reached, squared = bounds_on_square(problem, params, fix, how, bar)
        norm = jnp.asarray(np.sqrt(squared), problem.dtype)
        bound = chunked_bound(problem, params, fix, norm)
    finally:
        bar.close()
    lower_bound, gap = judged(
        bound.value, bound.rounding, bound.lower, bound.least, bound.contradiction
    )
    return RandomisedCertificate(
        value=bound.value,
        lower_bound=lower_bound,
        gap=gap,
        spectral_ratio=jnp.asarray(np.sqrt(reached), problem.dtype) / bound.mu,
        spectral_bound=norm / bound.mu,
        bias_residual=residual,
        rounding=bound.rounding,
        contradiction=bound.contradiction,
        failure_probability=how.failure_probability,
        loss=problem.loss.name,
    )
