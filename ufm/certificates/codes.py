"""Lower bounds on cross-entropy over unit vectors for more classes than dimensions, and proofs.

Two theorems of ours: A (`self_dual`) among W = H, B (`free_features`) for all W and H. A *sharp*
code attains their bounds wherever the conditions hold, and is the optimum there. The conditions are
decided over whole intervals of the inverse temperature, with every rounding accounted for.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ufm._classes.module import Displayed
from ufm._exact.decimals import exactly
from ufm._exact.fractions import flint
from ufm._validate import (
    require,
    require_choice,
    require_instance,
    require_nonnegative,
    require_positive,
    require_whole,
)
from ufm.certificates.balls import Ball, round_down
from ufm.certificates.boxes import (
    BITS,
    Conditions,
    Failure,
    Interval,
    Sign,
    decided,
    first_failure,
    holding_intervals,
)
from ufm.certificates.free_features import FreeFeatures
from ufm.certificates.interpolant import Interpolant, doubled, quadrature, rational
from ufm.certificates.levenshtein import nodes
from ufm.certificates.self_dual import SelfDual
from ufm.frames.code import Code

# A code attains a bound whose weights are its multiplicities: rounded nodes leave 1e-15 of them.
_SAME_WEIGHT = 1e-12
# Numbers of vectors whose nodes are tried for a bound on K.
_TRIES = 12
# An interval of β is not divided further than this share of itself to find where a proof fails.
_FINEST = 2.0**-24
# From here on an argument on all larger β is tried before boxes are, which get no larger there.
_FAR = 100.0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CodeBound(Displayed):
    r"""What a theorem says of a code over an interval of the inverse temperature $\beta$.

    `theorem`: "A", whose statement is among W = H, or "B", for all unit W and H in the unit ball.
    `attained`: whether its bound is the loss of the code itself, which the inner products decide
    alone; that of a code that is not sharp is not. `failing`: the first condition that is not
    proved throughout, with numbers; empty where all are.
    """

    code: Code
    beta: Interval
    theorem: str
    attained: bool
    failing: str

    @property
    def proved(self) -> bool:
        """Whether the code is proved to be optimal at every β of the interval."""
        return self.attained and not self.failing

    @property
    def scope(self) -> str:
        """Over what the theorem minimises."""
        return "among W = H" if self.theorem == "A" else "over all W and H"

    def lower(self, beta: float | None = None) -> float:
        r"""A true lower bound on the loss in the theorem's scope, its conditions met or not.

        `beta`: anywhere; the only one of the interval unless given. Where the conditions fail it is
        what is left: a smaller polynomial (A), or the simplex of K vectors in more dimensions.
        """
        if beta is None:
            require(self.beta.low == self.beta.high, "`beta` must be given for an interval", beta)
            beta = self.beta.low
        require_nonnegative("beta", beta, shape=())
        with flint().ctx.workprec(BITS):
            return _lower(_theorems(self.code, self.theorem), self.code.num_vectors, float(beta))

    def __str__(self) -> str:
        b = self.beta
        where = f"beta = {exactly(b.low)}" if b.low == b.high else f"every beta in {b}"
        theorem = f"theorem {self.theorem} (ours)"
        if self.proved:
            return f"{self.code.name}: optimal {self.scope} at {where}, proved by {theorem}"
        why = self.failing or f"the bound of {theorem} is not attained: the code is not sharp"
        verdict = f"best known at {where}, not proved {self.scope} by {theorem}"
        return f"{self.code.name}: {verdict}: {why}"


def code_bound(code: Code, beta, *, theorem: str = "A") -> CodeBound:
    r"""Try to prove that a code minimises cross-entropy on the sphere, for an interval of $\beta$.

    $$\frac1K\sum_k\log\sum_je^{\beta(w_j-w_k)\cdot h_k}\ \ge\ \log(1+E),\qquad
    E = \sum_{j\ne k}e^{\beta(x_j\cdot x_k-1)}\ \text{at a sharp code x}$$

    Parameters
    ----------
    code
        Of `ufm.frames`, or a `ufm.frames.Code` of one's own.
    beta
        The inverse temperature >= 0: the product of the two radii over the temperature. Or a pair
        (low, high): the conditions are then proved for every number between, not on a grid.
    theorem
        "A": among W = H. "B": for all W and H with ‖w‖ = 1 and ‖h‖ <= 1.

    Returns
    -------
    CodeBound
        `proved`, the `failing` condition with numbers, and a rigorous `lower` bound in any case.

    Raises
    ------
    ValueError
        For a negative or infinite `beta`, or low > high.
    ImportError
        Without python-flint.

    Notes
    -----
    Both theorems are ours. Nothing is claimed where a condition fails: the code may still be best.
    Rounding of irrational inner products leaves the bound 1e-15 below the loss of the code.
    """
    interval = _interval(code, beta, theorem)
    with flint().ctx.workprec(BITS):
        theorems = _theorems(code, theorem)
        far = min(interval.high, max(interval.low, _FAR))
        failure = _fails(theorems, interval.low, far)
        if failure is None and _reach(theorems, far) < interval.high:
            failure = _fails(theorems, far, interval.high)
        attained = all(_attained(each, code) for each in theorems)
        return CodeBound(code, interval, theorem, attained, _words(theorems, failure))


def proved_intervals(
    code: Code,
    *,
    theorem: str = "A",
    upto: float = 100.0,
    width: float = 1e-4,
) -> tuple[Interval, ...]:
    r"""The maximal intervals of $\beta$ on which `code_bound` proves the code.

    Parameters
    ----------
    code, theorem
        As for `code_bound`.
    upto
        Where the search ends. An interval that reaches it is followed further by an argument on all
        larger β: with theorem A to infinity where the inner products are rational, else to 1e16;
        with theorem B to infinity at orthoplexes, and nowhere else.
    width
        How closely the ends are found: what is proved ends there, the truth less than this beyond.

    Returns
    -------
    tuple of Interval
        Empty for a code that is not sharp.
    """
    _interval(code, 0.0, theorem)
    require_positive("upto", upto, shape=())
    require_positive("width", width, shape=())
    with flint().ctx.workprec(BITS):
        theorems = _theorems(code, theorem)
        if not all(_attained(each, code) for each in theorems):
            return ()
        found = holding_intervals(_conditions(theorems), 0.0, float(upto), width=float(width))
        if found and found[-1].high == upto:
            found = (*found[:-1], Interval(found[-1].low, _reach(theorems, float(upto))))
        return found


def linear_programming_bound(num_vectors: int, dim: int, beta: float) -> float:
    r"""A true lower bound on cross-entropy at W = H for any number of unit vectors, by theorem A.

    The largest of those from the polynomials that are optimal in linear programming for $K'\le K$
    vectors, each times the largest factor for which the theorem's condition holds, and the simplex
    bound $\log(1+(K-1)e^{-\beta K/(K-1)})$, which holds for all W and H in every dimension.

    Parameters
    ----------
    num_vectors, dim
        K >= 2 unit vectors in $\mathbb R^d$, d >= 2.
    beta
        The inverse temperature >= 0.

    Returns
    -------
    float
        Rounded down. It is the optimum at sharp codes where theorem A holds, elsewhere not tight.
    """
    K = require_whole("num_vectors", num_vectors, least=2)
    d = require_whole("dim", dim, least=2)
    require_nonnegative("beta", beta, shape=())
    sizes = sorted({float(size) for size in np.geomspace(2, K, _TRIES)})
    with flint().ctx.workprec(BITS):
        theorems = [SelfDual(Interpolant(doubled(nodes(size, d)), d), K) for size in sizes]
        return _lower(theorems, K, float(beta))


def _interval(code, beta, theorem) -> Interval:
    require_instance("code", code, Code, "a Code of ufm.frames")
    require_choice("theorem", theorem, ("A", "B"))
    require_nonnegative("beta", beta)
    ends = np.asarray(beta, dtype=np.float64)
    require(ends.shape in ((), (2,)), "`beta` must be one number or a pair (low, high)", ends.shape)
    low, high = (float(end) for end in np.broadcast_to(ends, 2))
    require(low <= high, "`beta` must be a pair with low <= high", (low, high))
    return Interval(low, high)


def _theorems(code: Code, theorem: str) -> list[Any]:
    """The forms of the theorem that are tried, one after the other."""
    interpolant, K = Interpolant(doubled(code.inner_products), code.dim), code.num_vectors
    if theorem == "A":
        return [SelfDual(interpolant, K)]
    once = tuple(rational(float(t)) for t in code.inner_products)
    # a slope as well, at the least product: where −1 is none the plain φ never stays above h
    choices = [once, (once[0], *once)]
    most = len(interpolant.nodes)
    return [FreeFeatures(interpolant, K, each) for each in choices if len(each) < most]


def _conditions(theorems) -> Conditions:
    """Those of the form that holds, or else of one that is not decided, or else of the first."""
    if len(theorems) == 1:
        return theorems[0].conditions

    def conditions(low: float, high: float) -> list[tuple[str, Ball]]:
        reports = []
        for form in theorems:
            report = decided(form.conditions(low, high))
            sign = Sign.of(report[-1][1])
            if sign is Sign.HOLDS:
                return report
            reports.append((sign, report))
        return next((report for sign, report in reports if sign is Sign.OPEN), reports[0][1])

    return conditions


def _attained(form, code: Code) -> bool:
    """Whether the bound of a theorem is the loss of the code: by their weights at the nodes."""
    K, wanted = code.num_vectors, {}
    for t, often in zip(code.inner_products, code.multiplicities, strict=True):
        wanted[rational(float(t))] = float(often)
    sets = [form.interpolant.quadrature(K)]
    if isinstance(form, FreeFeatures):
        sets.append(quadrature(form.nodes, form.energy_weights))
    pairs = [(wanted[node], *pair) for weights in sets for node, pair in weights.items()]
    errors = [max(abs(float(value) - often), abs(float(slope))) for often, value, slope in pairs]
    return max(errors) <= _SAME_WEIGHT * K


def _fails(theorems, low: float, high: float) -> Failure | None:
    """Where the conditions are not proved, on an interval."""
    width = max(high * _FINEST, 2.0**-40)
    return first_failure(_conditions(theorems), low, high, width=width)


def _reach(theorems, beta: float) -> float:
    """How far beyond `beta`, where the conditions hold, they are known to by an argument."""
    return max(each.holds_until(beta) for each in theorems)


def _words(theorems, failure: Failure | None) -> str:
    if failure is None:
        return ""
    sign, name, place = failure
    at = (place.low + place.high) / 2
    slacks = [ball for found, ball in _conditions(theorems)(at, at) if found == name]
    value = f" (slack {float(slacks[0].mid()):.4g})" if slacks else ""
    return f"{name} {'fails' if sign is Sign.FAILS else 'ends'} at beta = {at:.6g}{value}"


def _lower(theorems, K: int, beta: float) -> float:
    """The largest bound at one β: of theorems that hold, with parts of h, and of the simplex."""
    arb = flint().arb
    bounds = [(1 + (K - 1) * (-arb(beta) * K / (K - 1)).exp()).log()]
    for form in theorems:
        if isinstance(form, SelfDual):
            form = form.largest_part(beta)
        if form is not None and all(ball > 0 for _, ball in form.conditions(beta, beta)):
            bounds.append(form.bound(arb(beta)))
    return max(round_down(bound) for bound in bounds)
