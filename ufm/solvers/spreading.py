"""A product of given singular values, spread evenly over the factors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ufm.model import Problem


def spread(
    problem: Problem,
    U: Float[np.ndarray, "K r"],
    s: Float[np.ndarray, " r"],
    Vt: Float[np.ndarray, "r C"],
    *,
    hidden: Sequence[Float[np.ndarray, "_ r"]] | None = None,
) -> list[Float[np.ndarray, "_ _"]]:
    r"""The cheapest factors with $W_M\cdots W_1 X = U\,\mathrm{diag}(s)\,V^\top$, outermost first.

    Factor m has the singular values $\sqrt{\Lambda/\lambda_m}\,s^{1/(M+1)}$, and the last one X is
    the mass-weighted features $H\,\mathrm{diag}(\sqrt m)$.

    Parameters
    ----------
    problem
        λ > 0 on every factor, every width at least r.
    U, s, Vt
        The singular value decomposition of the product.
    hidden
        Orthonormal bases of the hidden spaces, outermost first; the first r unit vectors unless
        given.

    Returns
    -------
    list[Float[np.ndarray, "_ _"]]
        M + 1 matrices, X the last.
    """
    if hidden is None:
        hidden = [np.eye(d, len(s)) for d in reversed(problem.widths)]
    lambdas = np.asarray(problem.decays)
    sizes = np.sqrt(np.exp(np.mean(np.log(lambdas))) / lambdas)
    powers = s ** (1 / (problem.depth + 1))
    bases = [U, *hidden, Vt.T]
    pairs = zip(sizes, bases[:-1], bases[1:], strict=True)
    return [size * ((left * powers[None, :]) @ right.T) for size, left, right in pairs]
