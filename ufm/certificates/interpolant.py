r"""Positive definite polynomials below the exponential, in exact numbers: the Hermite interpolants.

With nodes $-1\le t_0\le t_1\le\dots<1$, each of them twice but for a single −1, the interpolant h
of $f(t) = e^{\beta(t-1)}$ satisfies $f - h = \frac{f^{(n)}(\xi)}{n!}\prod_i(t-t_i) \ge 0$ on
$[-1,1]$ whatever the nodes are, because every derivative of f is positive. In Newton's form

$$h = \sum_i f[t_0,\dots,t_i]\,N_i,\qquad N_i = \prod_{j<i}(t-t_j),$$

all divided differences are positive and everything else is a rational number without $\beta$. A
negative Gegenbauer coefficient c of $N_i$ (at sharp codes there is none: Cohn & Kumar 2007,
recalled; irrational nodes, rounded, leave some of 1e-17) is removed by adding $|c|(C_l - 1) \le 0$.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from fractions import Fraction
from typing import Any

from ufm._exact.fractions import flint

# The inner products of sharp codes that are rational have denominators far below this.
_LARGEST_DENOMINATOR = 1000


def rational(number: float) -> Any:
    """The float as a fraction (`fmpq`): the short one that it stands for, or the one that it is."""
    short = Fraction(number).limit_denominator(_LARGEST_DENOMINATOR)
    exact = short if abs(short - Fraction(number)) < 1e-15 else Fraction(number)
    return flint().fmpq(exact.numerator, exact.denominator)


def doubled(products) -> tuple[Any, ...]:
    """The nodes of the interpolant that touches at these inner products, ascending.

    −1 alone once.
    """
    nodes = [rational(float(t)) for t in products]
    return tuple(t for t in nodes for _ in range(1 if t == -1 else 2))


def gegenbauer_coefficients(polynomial, dim: int) -> list[Any]:
    r"""$h_0, h_1, \dots$ of a polynomial (`fmpq_poly`) $\sum_l h_l C_l$ on $S^{d-1}$, exactly."""
    fmpq = flint().fmpq
    found = [fmpq(0)]
    for coefficient in reversed(polynomial.coeffs()):
        # Horner: t C_l = ((l + d − 2) C_{l+1} + l C_{l−1}) / (2l + d − 2), and t C_0 = C_1
        times = [fmpq(0)] * (len(found) + 1)
        for degree, value in enumerate(found):
            total = 2 * degree + dim - 2
            up = fmpq(degree + dim - 2, total) if degree else fmpq(1)
            times[degree + 1] += value * up
            if degree:
                times[degree - 1] += value * fmpq(degree, total)
        times[0] += coefficient
        found = times
    return found[: max(1, polynomial.degree() + 1)]


def ratios(nodes, beta) -> list[Any]:
    r"""$e_j = f[t_0,\dots,t_j]/(\beta^jf(t_0))$ as power series in $\beta\ge0$; no node thrice.

    $e_j$ is the mean of $e^{\beta(x-t_0)}/j!$ over a probability measure on $[t_0,t_j]$ (Hermite
    and Genocchi), so that all its derivatives grow with $\beta$: on an interval each is between its
    values at the ends, and no cancellation is amplified by the width of the interval.
    """
    arb_series = flint().arb_series
    if beta[0].is_exact():
        return _ratios_at(nodes, beta[0], beta.prec)
    ends = [_ratios_at(nodes, end, beta.prec) for end in (beta[0].lower().max(0), beta[0].upper())]
    unions = [
        [low[k].union(high[k]) for k in range(beta.prec)]  # of each order
        for low, high in zip(*ends, strict=True)
    ]
    return [arb_series(union, prec=beta.prec) for union in unions]


def _ratios_at(nodes, beta, prec: int) -> list[Any]:
    """Their Taylor coefficients at one number."""
    arb, arb_series = flint().arb, flint().arb_series
    steps = [node - nodes[0] for node in nodes]
    if beta == 0:
        # e_j = Σ_k β^k H_k(x_0, …, x_j)/(j + k)! with the complete homogeneous polynomials H_k
        column, found = [flint().fmpq(k == 0) for k in range(prec)], []
        for j, step in enumerate(steps):
            for k in range(1, prec):
                column[k] += step * column[k - 1]
            terms = [arb(value) / arb(j + k).fac() for k, value in enumerate(column)]
            found.append(arb_series(terms, prec=prec))
        return found
    # a column loses as many bits as β is below 1
    bits = max(0, -math.frexp(float(beta.mid()))[1]) * len(nodes)
    with flint().ctx.workprec(flint().ctx.prec + bits):
        variable = arb_series([beta, 1], prec=prec)
        # of e^{βx} at the steps x: to divide by βx is to divide by x, and by β once a column
        values = _of_each(steps, lambda step: (step * variable).exp())
        table = _table(steps, values, lambda i: values[i] * variable)
        return [each / variable**j for j, each in enumerate(table)]


def divided_differences(nodes, beta) -> list[Any]:
    r"""$f[t_0], f[t_0,t_1], \dots$ of $f = e^{\beta(t-1)}$, power series where `beta` is one.

    No node thrice. On an interval they are made of `ratios`, at a number from their definition.
    """
    if isinstance(beta, flint().arb_series):
        start = ((nodes[0] - 1) * beta).exp()
        return [start * beta**j * each for j, each in enumerate(ratios(nodes, beta))]
    values = _of_each(nodes, lambda node: ((node - 1) * beta).exp())
    return _table(nodes, values, lambda i: values[i] * beta)


def _of_each(nodes, function) -> list[Any]:
    """The values at ascending nodes, once where they coincide."""
    values: list[Any] = []
    for i, node in enumerate(nodes):
        values.append(values[-1] if i and node == nodes[i - 1] else function(node))
    return values


def _table(nodes, column, slope) -> list[Any]:
    """The first entries of each column of a table of divided differences, of values and slopes."""
    found = [column[0]]
    for order in range(1, len(nodes)):
        column = [
            slope(i) if left == right else (column[i + 1] - column[i]) / (right - left)
            for i, (left, right) in enumerate(zip(nodes, nodes[order:], strict=False))
        ]
        found.append(column[0])
    return found


def newton_products(nodes) -> list[Any]:
    r"""$N_i = \prod_{j<i}(t-t_j)$ for i = 0, …, n − 1 (`fmpq_poly`)."""
    fmpq_poly = flint().fmpq_poly
    products = [fmpq_poly([1])]
    for node in nodes[:-1]:
        products.append(products[-1] * fmpq_poly([-node, 1]))
    return products


def combined(weights, terms) -> Any:
    """The sum of the products; a weight of zero costs nothing."""
    return sum(weight * term for weight, term in zip(weights, terms, strict=True) if weight != 0)


def quadrature(nodes, weights) -> dict[Any, tuple[Any, Any]]:
    r"""A and B of each node t with $\sum_i e_if[t_0,\dots,t_i] = \sum_t A_tf(t)+B_tf'(t)$.

    `weights`: the e_i, rational. At a sharp code A is how often an inner product occurs, and B is
    0.
    """
    fmpq = flint().fmpq
    zero = fmpq(0)
    column = [{node: (fmpq(1), zero)} for node in nodes]
    total = {node: (zero, zero) for node in nodes}
    for order, weight in enumerate(weights):
        if order:
            ends = list(zip(nodes, nodes[order:], strict=False))
            column = [_difference(column[i + 1], column[i], *pair) for i, pair in enumerate(ends)]
        for node, (value, slope) in column[0].items():
            A, B = total[node]
            total[node] = (A + weight * value, B + weight * slope)
    return total


def _difference(upper, lower, left, right) -> dict[Any, tuple[Any, Any]]:
    """(upper − lower)/(right − left), combinations of values and slopes; at one node the slope."""
    fmpq = flint().fmpq
    zero, step = fmpq(0), right - left
    if step == 0:
        return {left: (zero, fmpq(1))}
    nodes = {**lower, **upper}
    found = {}
    for node in nodes:
        (a, b), (c, d) = upper.get(node, (zero, zero)), lower.get(node, (zero, zero))
        found[node] = ((a - c) / step, (b - d) / step)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Interpolant:
    """The polynomial h for these nodes (`doubled`), with coefficients h_l >= 0 for l >= 1.

    `dim`: d of the sphere $S^{d-1}$ on which it is positive definite.
    """

    nodes: tuple[Any, ...]
    dim: int

    @functools.cached_property
    def coefficients(self) -> list[list[Any]]:
        """Those of each N_i, of degree l in place l, the negative ones of l >= 1 removed."""
        found = []
        for product in newton_products(self.nodes):
            first, *others = gegenbauer_coefficients(product, self.dim)
            found.append([first + sum(min(c, 0) for c in others), *(max(c, 0) for c in others)])
        return found

    @functools.cached_property
    def at_one(self) -> list[Any]:
        """N_i(1), which the removal does not change."""
        return [sum(row) for row in self.coefficients]

    @functools.cached_property
    def means(self) -> list[Any]:
        """The coefficients of l = 0."""
        return [row[0] for row in self.coefficients]

    def energy_weights(self, num_vectors: int) -> list[Any]:
        r"""e with $E = K h_0 - h(1) = \sum_i e_i f[t_0,\dots,t_i]$."""
        pairs = zip(self.means, self.at_one, strict=True)
        return [num_vectors * mean - end for mean, end in pairs]

    def quadrature(self, num_vectors: int) -> dict[Any, tuple[Any, Any]]:
        r"""A and B of each node with $E = \sum_t A_tf(t) + B_tf'(t)$."""
        return quadrature(self.nodes, self.energy_weights(num_vectors))

    @functools.cached_property
    def spread_weights(self) -> list[Any]:
        r"""g with $h(1) - h_0 = \sum_i g_i f[t_0,\dots,t_i]$."""
        return [end - mean for mean, end in zip(self.means, self.at_one, strict=True)]
