r"""An interval around the global minimum of a one-layer problem, with every rounding accounted for.

The upper end is the objective at a point, evaluated in balls (numbers with a bound on their error).
The lower end is the dual bound of `ufm.certify`,

$$D(u) = -\sum_c\omega_c\,\ell^*(u_c;q_c) - \tfrac1{2\lambda_b}\Big\|\sum_c\omega_c u_c\Big\|^2,$$

less what multipliers cost and plus what they leave (`ufm/certificates/lift.py`), at dual logits and
multipliers whose feasibility is decided in exact arithmetic (`ufm.certificates.dual_point`,
`ufm.certificates.definite`). Floats only propose: these, and the eigenvectors that witness it.
Every float of the problem and of the point is read as the binary fraction that it is; a point on a
sphere or in a ball is the one that these floats are nearest to along their ray.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ufm._classes.module import Displayed
from ufm._exact.decimals import printed
from ufm._exact.fractions import flint, fractions
from ufm._system.files import require_place, write_whole
from ufm._validate import concrete, require, require_instance, require_path, require_whole
from ufm.certificates.balls import BITS, Ball, round_down, round_up
from ufm.certificates.definite import Multipliers, Witness, feasible
from ufm.certificates.document import written
from ufm.certificates.dual_point import Data, DualPoint
from ufm.certificates.exact_lift import Place, least
from ufm.certificates.proposal import Proposal, propose
from ufm.model import (
    Params,
    Problem,
    check_params,
    require_certifiable,
    require_whole_logits,
    with_canonical_loss,
)
from ufm.tolerances import caveat

# By so many bits balls may be finer than was asked, where the loss is that small.
_SMALLEST = 4096


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Enclosure(Displayed):
    r"""`lower` $\le$ the global minimum of `problem` $\le$ `upper`, two floats, and what proves it.

    `params`: the point of the upper end, where a free bias has been solved for again. `dual` and
    `multipliers`: the dual point of the lower end, and `witness` the matrix that shows it to be
    small enough. `bits`: precision of the balls, relative to the loss.
    """

    problem: Problem
    params: Params
    lower: float
    upper: float
    dual: DualPoint
    multipliers: Multipliers
    witness: Witness
    bits: int

    @property
    def width(self) -> float:
        """`upper` − `lower`, rounded up."""
        width = self.upper - self.lower
        return math.nextafter(width, math.inf) if width > 0 else 0.0

    @property
    def relative_width(self) -> float:
        """The width over the larger of the ends; infinite where one is."""
        width, size = self.width, max(abs(self.lower), abs(self.upper))
        return width if width in (0, math.inf) else width / size

    def __contains__(self, value: float) -> bool:
        return bool(self.lower <= value <= self.upper)

    def closes(self, tolerance: float = 1e-9) -> bool:
        """Whether the point is proved to be globally optimal to this relative tolerance.

        False says nothing when d is below the rank of the optimum.
        """
        return self.relative_width <= tolerance

    def __str__(self) -> str:
        relative = printed(self.relative_width, 2, up=True, form="e")
        width = f"relative width {relative} ({self.bits} bits)"
        ends = f"{self.lower!r} <= global minimum <= {self.upper!r}"
        return f"{ends}: proved, {width}{caveat(self.problem.dtype)}"

    def to_dict(self) -> dict[str, Any]:
        """All that a reader needs to verify both ends with other software, see `docs/proofs.md`.

        Plain JSON types: numbers are to be read as the nearest double, integers are strings, and an
        end that is infinite is None.
        """
        return written(self)

    def save(self, path: str | os.PathLike) -> None:
        """Write `to_dict` to a JSON file; `ValueError` where none can be written."""
        require_place("path", require_path("path", path))
        write_whole(path, json.dumps(self.to_dict(), allow_nan=False) + "\n")


def prove(problem: Problem, params: Params, *, bits: int = BITS) -> Enclosure:
    r"""Enclose the global minimum, with every rounding accounted for.

    $$\mathrm{lower}\ \le\ \min_{W,H,b}\ \le\ \mathrm{upper}$$

    Parameters
    ----------
    problem
        One linear layer or frozen weights, domains and anchors, a map that is the product, acts on
        it from the right or is tied, and a convex loss, as for `certify`. All convex losses and all
        domains of the library have the interval form that a proof needs; another loss may supply
        `enclose` and `enclose_conjugate` (see `AbstractLoss`), another domain `enclose` (see
        `AbstractDomain`).
    params
        Any point of it, weights ((K, d),), features (d, C) and bias (K,) or None. The nearer to the
        optimum, the narrower the enclosure: width is of second order in the gradient (of first
        order where signs of nonnegative features are made use of), down to about K eps. A free bias
        is first solved for at fixed W H. In a domain they stand for the point of it that is nearest
        along their ray.
    bits
        Precision of the balls, from 53 to 65536.

    Returns
    -------
    Enclosure
        `lower`, `upper`, and what proves them, which `save` writes to a file for other software.

    Raises
    ------
    ValueError
        For what `certify` refuses; a loss or a domain without an interval form; a loss whose
        `enclose`, `enclose_conjugate` or convexity is wrong, where that shows.
    ImportError
        Without python-flint, the extra `ufm[proofs]`.

    Notes
    -----
    With d below the rank of the convex optimum the enclosure holds and stays wide.
    """
    require_instance("problem", problem, Problem)
    require_whole_logits(problem, "a proof (a bound by random vectors proves nothing)")
    problem = with_canonical_loss(problem)
    require_certifiable(problem)
    the_map = problem.map
    words = "`problem.map` must be the product, act on it from the right (`right`), or tied, for a"
    readable = the_map.identity or the_map.right or the_map.gram is not None
    require(readable, f"{words} proof", the_map)
    bits = require_whole("bits", bits, least=53, most=2**16)
    params = check_params(problem, params)
    known = concrete((problem, params)) is not None
    require(known, "`params` must be known numbers: nothing is proved inside `jit`", "a tracer")
    params = dataclasses.replace(params, features=_normal(params.features))
    start = propose(problem, params)
    finite = all(np.all(np.isfinite(each)) for each in (*start.multipliers, start.room))
    words = "`params` must be nearer to a minimum for a proof, such as what `minimise` returns"
    require(finite, words, "multipliers of its domains that are no numbers")
    # as many bits below the loss, which on spheres can be 1e-50
    size = float(np.max(np.abs(np.nan_to_num(start.dual))))
    finer = min(max(0, -math.frexp(size)[1]), _SMALLEST) if math.isfinite(size) else 0
    # (a bias that was to be solved for at logits that overflow is left as it is)
    solved = start.bias is not None and bool(np.all(np.isfinite(start.bias)))
    bias = start.bias if solved else params.bias
    params = Params(weights=params.weights, features=params.features, bias=bias)
    with flint().ctx.workprec(bits + finer):
        return _enclose(problem, params, start, bits, bits + finer)


def _normal(features: Array) -> Array:
    """Features as XLA has them, to which what is below the smallest normal number is 0."""
    sizes = np.abs(np.asarray(features))
    lost = (sizes > 0) & (sizes < np.finfo(sizes.dtype).tiny)
    return jnp.where(lost, 0, features) if np.any(lost) else features


def _enclose(problem: Problem, params: Params, start: Proposal, bits: int, fine: int) -> Enclosure:
    data = Data.of(problem)
    columns = [list(column) for column in zip(*data.targets, strict=True)]
    place = Place.near(problem, params)
    logits = place.logits(problem.map, data.operator)
    losses = [problem.loss.of_columns(slice(c, c + 1)) for c in range(len(columns))]
    values = [loss.enclose(z, q) for loss, z, q in zip(losses, logits, columns, strict=True)]
    _check_values(problem, values, logits, np.asarray(start.losses))
    upper = _mean(values, data) + place.decay(problem)
    room, dropped = float(start.room), bool(start.dropped)
    multipliers = Multipliers.of(problem, *start.multipliers, room, dropped)
    proposal = np.asarray(start.dual, dtype=np.float64)
    dual, witness = feasible(proposal, data, multipliers, fine)
    lower = _bound(problem, dual, losses, columns, logits, values) - multipliers.cost
    lower += least(problem, params, dual, multipliers)
    if lower > upper:
        _refuse_loss(problem, f"a bound {lower.str(20)} above the value {upper.str(20)}")
    return Enclosure(
        problem=problem,
        params=params,
        lower=round_down(lower),
        upper=round_up(upper),
        dual=dual,
        multipliers=multipliers,
        witness=witness,
        bits=bits,
    )


def _mean(values: list[Ball], data: Data) -> Ball:
    r"""$\sum_c\omega_c v_c$."""
    return sum(a * value for a, value in zip(data.column, values, strict=True)) / data.total


def _bound(
    problem: Problem, dual: DualPoint, losses: list, targets: list, logits: list, values: list
) -> Ball:
    """D(u); `ValueError` where u violates a constraint, or a conjugate contradicts its loss."""
    mean = dual.mean()
    centred = not problem.free_bias or not any(mean)
    require(centred, "a free bias needs dual logits whose mean is zero exactly", mean)
    conjugates = []
    for loss, u, q, z, value in zip(losses, dual.columns(), targets, logits, values, strict=True):
        conjugate = flint().arb(loss.enclose_conjugate(u, q))
        finite = conjugate.is_finite()
        words = (
            "`problem.loss` must be convex, with room around the gradients where parts of a sum "
            "scale classes differently: its conjugate is infinite"
        )
        require(finite, words, problem.loss)
        # Fenchel–Young
        if value + conjugate < sum(u_k * z_k for u_k, z_k in zip(u, z, strict=True)):
            _refuse_loss(problem, "a value and a conjugate that sum to less than uᵀz")
        conjugates.append(conjugate)
    bound = -_mean(conjugates, dual.data)
    if problem.lambda_b is not None:
        squares = sum(flint().arb(entry) ** 2 for entry in mean)
        bound -= squares / (2 * fractions(problem.lambda_b))
    return bound


def _check_values(problem: Problem, values: list[Ball], logits: list, losses: np.ndarray) -> None:
    """`ValueError` where the interval form is not that of the loss: half the digits must agree."""
    tolerance = math.sqrt(np.finfo(problem.dtype).eps)
    for value, z, loss in zip(values, logits, losses.tolist(), strict=True):
        size = abs(loss) + max(abs(float(entry.mid())) for entry in z)
        if math.isfinite(size) and not abs(float(value.mid()) - loss) <= tolerance * size:
            _refuse_loss(problem, f"a loss {loss:.12g} that `enclose` says is {value.str(12)}")


def _refuse_loss(problem: Problem, what: str) -> None:
    wanted = "`problem.loss` must be convex, with `enclose` and `enclose_conjugate` of its own"
    raise ValueError(f"{wanted}; got {problem.loss} with {what}")
