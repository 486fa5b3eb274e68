r"""Directions of a deep product that are dropped or taken up where that is lower at once.

For M >= 2 the origin is a local minimum, and so is every point that leaves out directions of the
product that the optimum uses, or uses some that it leaves out: Newton's method from a random start
ends at the optimum of the directions it kept. A product $U\,\mathrm{diag}(s)\,V^\top =
Z\,\mathrm{diag}(\sqrt m)$ costs at least $\tfrac{M+1}{2}\Lambda\sum_i s_i^{2/(M+1)}$ of decay, Λ
the geometric mean of all λ, and that much where it is spread evenly over the factors. So what a
product is worth without its weakest directions, or with further ones along the gradient of the
loss, needs its logits only, and where one is lower than the point, Newton's method goes on there.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._host.choice import small_on_host
from ufm.model import Params, Problem
from ufm.model.value import fit
from ufm.solvers.spreading import spread

# Lower by more than this share of the value, or the point stays.
_LOWER = 1e-9
# Sizes of further directions in units of N times the pull of the loss there, which is the step of
# squared error; a softmax loss wants more.
_SIZES = (0.5, 0.65, 0.8, 0.95, 2.0, 4.0, 8.0)
# Of so many directions products are made, and of so many logits at once.
_MOST_DIRECTIONS, _MOST_LOGITS = 16, 2**20
# A singular value of the product below this part of the natural size is a direction that is not in
# use: in a converged deep solution those are the products of M + 1 factors of 1e-12 each, for one
# layer of two.
UNUSED = 1e-6


def number_in_use(values: np.ndarray, size: float, part: float = UNUSED) -> int:
    """How many directions a product has: those above 1e-6 of the first.

    Or of a thousandth of the targets' size if that is larger, which keeps a collapsed point from
    being measured by its rounding.

    Parameters
    ----------
    values
        Its singular values, largest first.
    size
        Of the targets; 0 where only the first counts.
    part
        Of the first, where another is known to tell what is in use.

    Returns
    -------
    int
        From 0 to all of them.
    """
    return int(np.sum(values > part * max(values[0], 1e-3 * size)))


def has_directions(problem: Problem) -> bool:
    """Whether it is a deep product with decay alone, small enough to look at its directions."""
    at_once = 4 * problem.labels.num_classes * problem.labels.num_columns
    return problem.plain and problem.depth >= 2 and at_once <= _MOST_LOGITS


class _Look(NamedTuple):
    """What is asked of a point: its product without masses' roots, the slope of the loss there in
    the same coordinates, the roots, Λ, the size of the targets and N."""

    product: np.ndarray
    pull: np.ndarray
    roots: np.ndarray
    Lambda: np.ndarray
    typical: np.ndarray
    num_samples: np.ndarray


class _Product(NamedTuple):
    """A singular value decomposition."""

    U: np.ndarray
    s: np.ndarray
    Vt: np.ndarray

    def first(self, number: int) -> _Product:
        """The first so many directions."""
        return _Product(self.U[:, :number], self.s[:number], self.Vt[:number])

    def beside(self, other: _Product, size: float) -> _Product:
        """With the directions of another one, times a size.

        Parameters
        ----------
        other
            Another product, of the same shape.
        size
            Multiplies its singular values.

        Returns
        -------
        _Product
            With the directions of both.
        """
        U, Vt = np.hstack([self.U, other.U]), np.vstack([self.Vt, other.Vt])
        return _Product(U, np.concatenate([self.s, size * other.s]), Vt)


def better_directions(problem: Problem, params: Params) -> Params | None:
    """The lowest product with fewer or with more directions, spread over the factors.

    None where none is lower than the point. It looks at the objective of this problem alone.
    """
    look = _Look(*map(np.asarray, _look(problem, params)))
    point = _Product(*np.linalg.svd(look.product, full_matrices=False))
    used = number_in_use(point.s, float(look.typical))
    point = point.first(used)
    more = _further(problem, look, point)
    products = [point.first(rank) for rank in _ranks(used)]
    for number in range(1, len(more.s) + 1):
        products += [point.beside(more.first(number), size) for size in _SIZES]
    values = _values(problem, params, look, [*products, point])
    best = int(np.argmin(values))
    if not values[best] < values[-1] - _LOWER * abs(values[-1]):
        return None
    *weights, features = spread(problem, *products[best])
    factors = (jnp.asarray(W, problem.dtype) for W in weights)
    return Params(tuple(factors), jnp.asarray(features / look.roots, problem.dtype), params.bias)


def _ranks(used: int) -> list[int]:
    """Ranks below, all of a few and by halves of many."""
    if used <= _MOST_DIRECTIONS:
        return list(range(used))
    dropped = {2**k for k in range(used.bit_length())} | {used}
    return sorted(used - d for d in dropped if d <= used)


def _further(problem: Problem, look: _Look, point: _Product) -> _Product:
    """The directions off the used ones in which the loss falls fastest, as many as fit.

    With N times the slope along each.
    """
    pull = look.pull - point.U @ (point.U.T @ look.pull)
    pull -= (pull @ point.Vt.T) @ point.Vt
    U, slopes, Vt = np.linalg.svd(pull, full_matrices=False)
    there = int(np.sum(slopes > UNUSED * max(slopes[0], np.finfo(slopes.dtype).tiny)))
    room = min(_MOST_DIRECTIONS, *problem.widths, *look.pull.shape) - len(point.s)
    further = _Product(U, float(look.num_samples) * slopes, Vt)
    return further.first(max(0, min(room, there)))


def _values(problem: Problem, params: Params, look: _Look, products: list[_Product]) -> np.ndarray:
    """The objective at each product, spread evenly over the factors, less what the bias costs."""
    # as many at once as any other point asks for, so that one program is made
    most = 1 << (len(products) - 1).bit_length()
    most = max(1, min(most, _MOST_LOGITS // look.product.size))
    fits = []
    for at in range(0, len(products), most):
        some = products[at : at + most]
        logits = np.stack([(U * s) @ Vt for U, s, Vt in some]) / look.roots
        logits = np.concatenate([logits, np.repeat(logits[-1:], most - len(some), axis=0)])
        fits.append(np.asarray(_fits(problem, params.bias, logits))[: len(some)])
    power = 2 / (problem.depth + 1)
    decay = 0.5 * (problem.depth + 1) * float(look.Lambda)
    return np.concatenate(fits) + decay * np.array([np.sum(s**power) for _, s, _ in products])


@small_on_host
def _look(problem: Problem, params: Params):
    roots = jnp.sqrt(problem.labels.masses)
    product = problem.map.logits(params.weights, params.features)
    pull = -jax.grad(fit, argnums=1)(problem, _shifted(product, params.bias)) / roots[None, :]
    return product * roots[None, :], pull, roots, *problem.sizes, problem.labels.num_samples


@small_on_host
def _fits(problem: Problem, bias, logits: Float[Array, "B K C"]) -> Float[Array, " B"]:
    return jax.vmap(lambda Z: fit(problem, _shifted(Z, bias)))(logits)


def _shifted(logits, bias):
    return logits if bias is None else logits + bias[:, None]
