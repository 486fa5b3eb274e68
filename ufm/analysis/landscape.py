r"""The objective to second order at a point.

Spectrum of the Hessian, zeros that symmetry explains, and what kind of point it is.

Everything is in the solvers' coordinates, in which every factor is multiplied by the root of its
decay: there the decay alone is the identity, so eigenvalues are dimensionless and 1 is what a
direction without any loss has.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._classes.module import Displayed
from ufm._validate import require, require_instance
from ufm.flows.gradient_velocity import GradientVelocity
from ufm.model import (
    Params,
    Problem,
    check_params,
    objective,
    require_decay,
    require_product,
    require_whole_logits,
)
from ufm.solvers.coordinates import flat_objective, minimised, relative_norm, to_flat
from ufm.solvers.directions import UNUSED, number_in_use
from ufm.tolerances import caveat

# A dense Hessian of this many variables takes about 200 MB and a few seconds.
_MAX_SIZE = 5000
# Relative to the largest eigenvalue: in float64 rounding of a dense eigenproblem is a thousand
# times smaller, the softest true direction of the problems in use a hundred times larger or more.
# And so many units in the last place, which is more in float32, whose Hessians are off by a few.
_ZERO, _ULPS = 1e-10, 1000
# A gradient of this relative size moves the zeros of a symmetry by as much, which the bound below
# allows for.
_STATIONARY = 1e-8


@dataclass(frozen=True, eq=False)
class HessianSpectrum:
    r"""Eigenvalues (n,) of the Hessian at a point, ascending, in decay-weighted coordinates.

    `gauge_zeros`: zeros that symmetry makes at a stationary point. `zeros`, `negative`: eigenvalues
    within `tolerance` of 0, which `dtype` does not tell from it, and below that. `rank`: of the
    product of the factors. `grad_norm`: relative gradient norm, as of a `Solution`. `stationary`:
    whether that is 1e-8 or less (in float64); the tolerance allows for a gradient of that size, and
    elsewhere for rounding alone.
    """

    eigenvalues: np.ndarray
    gauge_zeros: int
    rank: int
    grad_norm: float
    stationary: bool
    tolerance: float
    dtype: np.dtype

    @property
    def zeros(self) -> int:
        """Eigenvalues that are 0 to rounding."""
        return int(np.sum(np.abs(self.eigenvalues) <= self.tolerance))

    @property
    def negative(self) -> int:
        """Directions of negative curvature."""
        return int(np.sum(self.eigenvalues < -self.tolerance))

    @property
    def condition(self) -> float:
        """The largest eigenvalue over the smallest one that is not 0, in absolute value."""
        sizes = np.abs(self.eigenvalues)
        return float(sizes.max() / sizes[sizes > self.tolerance].min())


@dataclass(frozen=True, eq=False)
class Classification(Displayed):
    """What kind of point it is, and the numbers that say so.

    `kind`: "minimum" (no negative curvature, no zero but those of symmetry: a strict local minimum
    up to symmetry), "strict saddle" (negative curvature), "degenerate" (neither: zeros beyond
    symmetry, which second order cannot decide) or "not stationary".
    """

    kind: str
    spectrum: HessianSpectrum

    def __str__(self) -> str:
        s = self.spectrum
        # away from a stationary point symmetry makes no zeros
        zeros = (
            f", {s.zeros} zeros (within {s.tolerance:.0e}) of which symmetry explains "
            f"{s.gauge_zeros}"
            if s.stationary
            else ""
        )
        return (
            f"{self.kind}: {s.negative} negative eigenvalues of {len(s.eigenvalues)}{zeros}, "
            f"smallest {s.eigenvalues[0]:.3e}, rank {s.rank}, relative gradient norm "
            f"{s.grad_norm:.1e}{caveat(s.dtype)}"
        )


def hessian_spectrum(problem: Problem, params: Params) -> HessianSpectrum:
    r"""All eigenvalues of the Hessian at a point, with the number of zeros that symmetry makes
    there.

    A hidden space of width d turned by an orthogonal matrix changes nothing; where r directions are
    in use that is $r(d-r) + r(r-1)/2$ zeros, summed over the widths $d_1, \dots, d_M$. A free bias
    adds one where the loss has a flat direction, such as the shift of all logits under
    cross-entropy; an anchor removes those of $d_1$, frozen weights all. Where columns drop classes,
    each group of classes that meet has a shift, and in one layer turns, of its own. `params`: any
    point; the count is that of a stationary one.

    Raises `ValueError` for more than 5000 variables, λ = 0, and params that do not fit the problem.
    """
    require_instance("problem", problem, Problem)
    purpose = "a Hessian spectrum, whose symmetric zeros are counted"
    instead = " (ufm.solvers.minimise_rectified says what a point on its kinks is)"
    require_product(problem, purpose + instead * problem.map.kinked)
    require_whole_logits(problem, "a Hessian (of chunks there are first derivatives only)")
    require_decay(problem, "decay-weighted coordinates")
    for name, domain in problem.domains.items():
        words = (
            f"`problem.{name}` must treat all directions alike for a Hessian spectrum, whose "
            f"symmetric zeros are counted"
        )
        require(domain.isotropic, words, domain)
    params = check_params(problem, params)
    flat = to_flat(problem, params)
    require(
        flat.size <= _MAX_SIZE,
        f"`problem` must have at most {_MAX_SIZE} free variables for a dense Hessian",
        flat.size,
    )
    hessian, grad_norm = _second_order(problem, flat, params)
    values = np.linalg.eigvalsh(np.asarray(hessian, dtype=np.float64))
    eps = float(jnp.finfo(problem.dtype).eps)
    share = max(_ZERO, _ULPS * eps)
    grad_norm, tolerance = float(grad_norm), share * float(np.abs(values).max())
    stationary = grad_norm <= _STATIONARY * (eps / np.finfo(np.float64).eps) ** 0.5
    if stationary:
        # a gradient g turned by a symmetry gives the Hessian a value of about |g| / |v| along it
        tolerance += 100 * grad_norm
    part = _unused(problem, values, grad_norm, tolerance) if stationary else UNUSED
    rank = _in_use(problem, product_spectrum(problem, params)[1], part)
    gauge_zeros = _gauge_zeros(problem, params, rank, part)
    return HessianSpectrum(
        values, gauge_zeros, rank, grad_norm, stationary, tolerance, problem.dtype
    )


def classify(problem: Problem, params: Params) -> Classification:
    """Minimum, strict saddle, degenerate or not stationary (relative gradient norm above 1e-8), by
    the Hessian's eigenvalues.

    A minimum here is a local one. For M = 1 `certify` says whether it is global; for M >= 2 nothing
    does.

    Raises as `hessian_spectrum` does.
    """
    spectrum = hessian_spectrum(problem, params)
    if not spectrum.stationary:
        kind = "not stationary"
    elif spectrum.negative:
        kind = "strict saddle"
    else:
        kind = "minimum" if spectrum.zeros == spectrum.gauge_zeros else "degenerate"
    return Classification(kind, spectrum)


def product_spectrum(problem: Problem, params: Params) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Singular value decomposition (U, s, Vᵀ) of the logits without bias, $W_M\cdots
    W_1 H\,\mathrm{diag}(\sqrt m)$ of linear layers, on the host."""
    product = np.asarray(problem.map.logits(params.weights, params.features))
    return np.linalg.svd(
        product * np.sqrt(np.asarray(problem.labels.masses))[None, :], full_matrices=False
    )


def product_rank(problem: Problem, params: Params) -> int:
    """Directions of the product in use.

    Singular values above 1e-6 of the first, or of a thousandth of the targets' if that is larger.
    """
    return _in_use(problem, product_spectrum(problem, params)[1])


def _unused(problem: Problem, values: np.ndarray, grad_norm: float, tolerance: float) -> float:
    """Which part of the largest a singular value of the product may have at a stationary point
    although the point has none: a class of 1e-13 of all samples has one of 1e-7 that is in use.

    A factor that should vanish is off by the gradient over the softest curvature. At a threshold
    that is its own: the product's share of the largest, as long as that is no zero.
    """
    sizes = np.abs(values)
    soft = float(np.min(sizes, where=sizes > tolerance, initial=1.0))
    least = tolerance / max(sizes.max(), tolerance)
    return min(UNUSED, max((100 * grad_norm / soft) ** (problem.depth + 1), least))


def _in_use(problem: Problem, values: np.ndarray, part: float = UNUSED) -> int:
    targets = (
        np.asarray(problem.labels.targets) * np.sqrt(np.asarray(problem.labels.masses))[None, :]
    )
    return number_in_use(values, float(np.linalg.norm(targets, 2)), part)


@jax.jit
def _second_order(problem: Problem, flat, params: Params):
    value, gradient = jax.value_and_grad(flat_objective, argnums=1)(problem, flat)
    # the coordinates have no slope on a boundary, also where the objective falls inwards
    sizes = [jnp.linalg.norm(gradient), *_inwards(problem, params)]
    relative = relative_norm(problem, jnp.stack(sizes), flat, value)
    return jax.hessian(flat_objective, argnums=1)(problem, flat), relative


def _inwards(problem: Problem, params: Params) -> list[Float[Array, ""]]:
    """Of each factor in a domain with a boundary the slope of what is minimised, in units of the
    vectors' lengths, without what pushes outwards."""
    velocity = GradientVelocity()
    state = velocity.state_of(problem, params)
    raw = velocity.raw(problem, state)
    per_value = jax.grad(lambda value: minimised(problem, value))(objective(problem, params))
    sizes = []
    for wall in velocity.walls(problem):
        there, moved = wall.vectors(state), wall.vectors(raw)
        outwards = wall.domain.leaving(there, moved) > 0
        slope = wall.domain.sliding(there, moved, outwards, wall.masses)
        lengths = jnp.linalg.norm(there, axis=0) * jnp.linalg.norm(slope, axis=0)
        sizes.append(per_value * jnp.linalg.norm(wall.masses * lengths))
    return sizes


def _gauge_zeros(problem: Problem, params: Params, rank: int, part: float) -> int:
    """Dimension of the orbit of a stationary point of this rank under the symmetries."""
    # coordinates in which only the direction counts
    shift = problem.free_shifts + sum(block.redundant for block in problem.blocks)
    if problem.frozen:
        return shift
    # a pull to given features is a choice of basis in their space
    widths = problem.widths if problem.anchor is None else problem.widths[1:]
    if problem.depth > 1:
        return shift + sum(_turns(rank, d) for d in widths)
    # rows and columns of classes that never meet turn by themselves
    return shift + sum(_turns(r, d) for d in widths for r in _ranks(problem, params, part))


def _turns(rank: int, d: int) -> int:
    """Of a hidden space of width d with so many directions in use."""
    return rank * (d - rank) + rank * (rank - 1) // 2


def _ranks(problem: Problem, params: Params, part: float) -> list[int]:
    """Of the product of one layer, for each group of classes that meet in columns."""
    groups, (W,) = problem.labels.shift_groups, (np.asarray(W) for W in params.weights)
    scaled = np.asarray(params.features) * np.sqrt(np.asarray(problem.labels.masses))[None, :]
    owner = groups[np.argmax(np.asarray(problem.labels.targets), axis=0)]
    products = [W[groups == g] @ scaled[:, owner == g] for g in np.unique(groups)]
    return [
        _in_use(problem, np.linalg.svd(product, compute_uv=False), part) if product.size else 0
        for product in products
    ]
