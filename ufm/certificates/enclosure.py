r"""An interval around the global minimum of a one-layer problem, with every rounding accounted for.

The upper end is the objective at a point, evaluated in balls (numbers with a bound on their error).
The lower end is the dual bound of `ufm.certify`,

$$D(u) = -\sum_c\omega_c\,\ell^*(u_c;q_c) - \tfrac1{2\lambda_b}\Big\|\sum_c\omega_c u_c\Big\|^2,$$

at dual logits whose feasibility is decided in exact arithmetic (`ufm.certificates.dual_point`).
Floats only propose: the dual logits, and the eigenvectors that witness their norm. Every float of
the problem and of the point is read as the binary fraction that it is.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from typing import Any

import numpy as np

from ufm._files import write_whole
from ufm._validate import concrete, require, require_instance, require_whole
from ufm.certificates.balls import (
    BITS,
    Ball,
    flint,
    fractions,
    round_down,
    round_up,
    sum_of_squares,
)
from ufm.certificates.bound import require_certifiable
from ufm.certificates.dual_point import Data, DualPoint, feasible
from ufm.certificates.proposal import propose
from ufm.model import Params, Problem, check_params, require_plain, with_canonical_loss


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Enclosure:
    r"""`lower` $\le$ the global minimum of `problem` $\le$ `upper`, two floats, and what proves it.

    `params`: the point of the upper end, where a free bias has been solved for again. `dual`: the
    dual point of the lower end, and `witness` the matrix that shows its norm to be small enough.
    `bits`: precision of the balls.
    """

    problem: Problem
    params: Params
    lower: float
    upper: float
    dual: DualPoint
    witness: list[list[int]]
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
        width = f"relative width {self.relative_width:.1e} ({self.bits} bits)"
        return f"{self.lower!r} <= global minimum <= {self.upper!r}: proved, {width}"

    def to_dict(self) -> dict[str, Any]:
        """All that a reader needs to verify both ends with other software, see `docs/proofs.md`.

        Plain JSON types: numbers are to be read as the nearest double, integers are strings.
        """
        problem, loss, labels = self.problem, self.problem.loss, self.problem.labels
        parameters = {f.name: _plain(getattr(loss, f.name)) for f in dataclasses.fields(loss)}
        return {
            "lower": self.lower,
            "upper": self.upper,
            "problem": {
                "loss": {"name": type(loss).__name__, **parameters},
                "targets": _plain(labels.targets),
                "masses": _plain(labels.masses),
                "weights": _plain(labels.weights),
                "lambda_W": _plain(problem.lambda_W[0]),
                "lambda_H": _plain(problem.lambda_H),
                "bias": problem.bias if problem.lambda_b is None else _plain(problem.lambda_b),
            },
            "point": {
                "W": _plain(self.params.weights[0]),
                "H": _plain(self.params.features),
                "b": _plain(self.params.bias),
            },
            "dual": {
                "exponent": self.dual.exponent,
                "entries": [[str(entry) for entry in row] for row in self.dual.entries],
            },
            "witness": [[str(entry) for entry in row] for row in self.witness],
        }

    def save(self, path: str | os.PathLike) -> None:
        """Write `to_dict` to a JSON file."""
        write_whole(path, json.dumps(self.to_dict(), allow_nan=False) + "\n")


def prove(problem: Problem, params: Params, *, bits: int = BITS) -> Enclosure:
    r"""Enclose the global minimum, with every rounding accounted for.

    $$\mathrm{lower}\ \le\ \min_{W,H,b}\ \le\ \mathrm{upper}$$

    Parameters
    ----------
    problem
        One linear layer and a convex loss, as for `certify`. All convex losses of the library have
        the interval form that a proof needs; another one may supply `enclose` and
        `enclose_conjugate` (see `AbstractLoss`).
    params
        Any point of it, weights ((K, d),), features (d, C) and bias (K,) or None. The nearer to the
        optimum, the narrower the enclosure: width is of second order in the gradient, down to
        about K eps. A free bias is first solved for at fixed W H.
    bits
        Precision of the balls, from 53 to 65536.

    Returns
    -------
    Enclosure
        `lower`, `upper`, and what proves them, which `save` writes to a file for other software.

    Raises
    ------
    ValueError
        For what `certify` refuses; a loss without an interval form; a loss whose `enclose`,
        `enclose_conjugate` or convexity is wrong, where that shows.
    ImportError
        Without python-flint, the extra `ufm[proofs]`.

    Notes
    -----
    With d below the rank of the convex optimum the enclosure holds and stays wide.
    """
    # the bound of `certify_large` is random, hence no proof
    require_instance("problem", problem, Problem)
    problem = with_canonical_loss(problem)
    require_certifiable(problem)
    require_plain(problem, "a proof")
    bits = require_whole("bits", bits, least=53, most=2**16)
    params = check_params(problem, params)
    known = concrete((problem, params)) is not None
    require(known, "`params` must be known numbers: nothing is proved inside `jit`", "a tracer")
    with flint().ctx.workprec(bits):
        return _enclose(problem, params, bits)


def _enclose(problem: Problem, params: Params, bits: int) -> Enclosure:
    data = Data.of(problem)
    start = propose(problem, params)
    params = Params(weights=params.weights, features=params.features, bias=start.bias)
    columns = [list(column) for column in zip(*data.targets, strict=True)]
    logits = _logits(params)
    values = [problem.loss.enclose(z, q) for z, q in zip(logits, columns, strict=True)]
    _check_values(problem, values, logits, np.asarray(start.losses))
    upper = _mean(values, data) + _decay(problem, params)
    dual, witness = feasible(np.asarray(start.dual, dtype=np.float64), data, bits)
    lower = _bound(problem, dual, columns, logits, values)
    if lower > upper:
        _refuse_loss(problem, f"a bound {lower.str(20)} above the value {upper.str(20)}")
    return Enclosure(
        problem=problem,
        params=params,
        lower=round_down(lower),
        upper=round_up(upper),
        dual=dual,
        witness=witness,
        bits=bits,
    )


def _logits(params: Params) -> list[list[Ball]]:
    """Z = W H + b 1ᵀ in balls, column by column."""
    arb, arb_mat = flint().arb, flint().arb_mat
    W, H = (arb_mat(_plain(factor)) for factor in (params.weights[0], params.features))
    columns = (W * H).transpose().tolist()
    if params.bias is None:
        return columns
    bias = [arb(b) for b in _plain(params.bias)]
    return [[z + b for z, b in zip(column, bias, strict=True)] for column in columns]


def _mean(values: list[Ball], data: Data) -> Ball:
    r"""$\sum_c\omega_c v_c$."""
    return sum(a * value for a, value in zip(data.column, values, strict=True)) / data.total


def _decay(problem: Problem, params: Params) -> Ball:
    """The ridge on factors and bias."""
    (lambda_W,), lambda_H = fractions(problem.lambda_W), fractions(problem.lambda_H)
    total = lambda_W * sum_of_squares(params.weights[0])
    columns = np.asarray(params.features).T
    masses = fractions(problem.labels.masses)
    total += lambda_H * sum(m * sum_of_squares(h) for m, h in zip(masses, columns, strict=True))
    if problem.lambda_b is not None:
        total += fractions(problem.lambda_b) * sum_of_squares(params.bias)
    return total / 2


def _bound(problem: Problem, dual: DualPoint, targets: list, logits: list, values: list) -> Ball:
    """D(u); `ValueError` where u violates a constraint, or a conjugate contradicts its loss."""
    mean = dual.mean()
    centred = problem.bias != "free" or not any(mean)
    require(centred, "a free bias needs dual logits whose mean is zero exactly", mean)
    conjugates = []
    for u, q, z, value in zip(dual.columns(), targets, logits, values, strict=True):
        conjugate = flint().arb(problem.loss.enclose_conjugate(u, q))
        finite = conjugate.is_finite()
        require(finite, "`problem.loss` must be convex: its conjugate is infinite", problem.loss)
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


def _plain(value) -> Any:
    """Numbers of an array as floats."""
    return None if value is None else np.asarray(value, dtype=np.float64).tolist()
