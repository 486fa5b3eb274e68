r"""Theorem B (ours): a lower bound on cross-entropy over unit W and all H in the ball.

Without h the loss of class k is, for every distribution p,

$$\min_{\|h\|\le1}\log\sum_j e^{\beta(w_j-w_k)\cdot h}
\ \ge\ \mathrm{Entropy}(p)-\beta\Big\|w_k-\sum_jp_jw_j\Big\|.$$

Put $p_j = \varphi(w_j\cdot w_k)/N$, N = 1 + E, and the rest on k itself, with a polynomial
$\varphi>0$ that agrees with $f(t) = e^{\beta(t-1)}$ at the nodes; $E = K\varphi_0-\varphi(1)$,
$\chi = \varphi(1-t)$, $v = K\chi_0$, $\eta' = \varphi$, $s^2 = \beta/(2v)$, and let h be the
Hermite interpolant of f, which is that of $\psi = \varphi(1-\beta(1-t)-\log\varphi)$ as well. If
$h\le\psi$ on [−1, 1], if
$\langle a,b\rangle = \sum_{l\ge1}a_lb_l/h_l$ makes

$$K\max\Big\{\lambda_{\max}\begin{pmatrix}
\langle\varphi,\varphi\rangle & s\langle\varphi,\chi\rangle\\
s\langle\varphi,\chi\rangle & s^2\langle\chi,\chi\rangle\end{pmatrix},\
s^2\sum_{l\ge1}\frac{\eta_l^2C_l'(1)}{h_l}\Big\}\le1,$$

and if $K\sum_{l\ge1}|\varphi_l|\le1$, then the loss is at least $\log N + (E_h-E)/N$ with
$E_h = Kh_0-h(1)$, which is E at a sharp code. (That $E$ and $v$ are means over the sphere here, and
not sums over a code, is what replaces the hypothesis that the code is a design.)

Proof. With $r_k = \sum_j\varphi(w_j\cdot w_k)-K\varphi_0$, $\rho_k$ of $\chi$ likewise, and $g_k$
the tangential part of $\sum_j\varphi(w_j\cdot w_k)w_j$, use $-(1-r)\log(1-r)\ge r-r^2$ and
$\|x\|\le(\|x\|^2+v^2)/(2v)$: N times the loss of k, less N log N, is at least $\sum_{j\ne
k}\psi(w_j\cdot w_k)-E-r_k^2-s^2(\rho_k^2+|g_k|^2)$. The sum of the squares over k is at most the
maximum times $K\sum_{jk}[h(w_j\cdot w_k)-h_0]$, because value and gradient of a harmonic polynomial
at a point are orthogonal functionals.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

from ufm._exact.fractions import flint
from ufm.certificates.balls import Ball
from ufm.certificates.boxes import enclosed, lowest
from ufm.certificates.interpolant import (
    Interpolant,
    combined,
    divided_differences,
    gegenbauer_coefficients,
    newton_products,
    ratios,
)


@dataclasses.dataclass(frozen=True, eq=False)
class FreeFeatures:
    r"""Theorem B with the interpolant h, and for $\varphi$ the interpolant of f at `nodes`.

    `nodes`: those of h once each, possibly one of them twice; ascending. All that is computed is in
    the ratios $e_j = f[t_0,\dots,t_j]/(\beta^jf(t_0))$, which are 1/j! at $\beta = 0$.
    """

    interpolant: Interpolant
    num_vectors: int
    nodes: tuple[Any, ...]

    name = "B"
    scope = "for all W and H"

    @functools.cached_property
    def _rows(self) -> dict[str, list[list[Any]]]:
        """Gegenbauer coefficients of N_j, N_j (1 − t), the integral of N_j, and h; by degree."""
        fmpq, fmpq_poly = flint().fmpq, flint().fmpq_poly
        products, dim = newton_products(self.nodes), self.interpolant.dim
        length = len(self.interpolant.nodes)

        def by_degree(rows):
            assert max(map(len, rows)) <= length, "the degrees must not exceed that of h"
            padded = [[*row, *[fmpq(0)] * (length - len(row))] for row in rows]
            return [list(column) for column in zip(*padded, strict=True)]

        def of(polynomials):
            return by_degree([gegenbauer_coefficients(each, dim) for each in polynomials])

        return {
            "phi": of(products),
            "chi": of([product * fmpq_poly([1, -1]) for product in products]),
            "eta": of([product.integral() for product in products]),
            "h": by_degree(self.interpolant.coefficients),
        }

    @functools.cached_property
    def energy_weights(self) -> list[Any]:
        r"""e with $E = \sum_j e_j f[t_0,\dots,t_j]$."""
        columns = self._rows["phi"]
        return [self.num_vectors * column[0] - sum(column) for column in zip(*columns, strict=True)]

    def _over_powers(self, kind: str, beta, ratios, lag: int) -> list[Any]:
        r"""Coefficients of degree l over $\beta^{l-\text{lag}}f(t_0)$.

        The int 0 where there are none.
        """
        found = []
        for degree, row in enumerate(self._rows[kind]):
            least = max(degree - lag, 0)
            terms = [e * beta ** (j - least) if j > least else e for j, e in enumerate(ratios)]
            assert all(weight == 0 for weight in row[:least])
            found.append(combined(row[least:], terms[least:]))
        return found

    def _slacks(self, beta, phi_ratios, h_ratios) -> tuple[Any, ...]:
        """What the conditions want to be positive, in their order."""
        K, d = self.num_vectors, self.interpolant.dim
        phi = self._over_powers("phi", beta, phi_ratios, 0)
        chi = self._over_powers("chi", beta, phi_ratios, 1)
        eta = self._over_powers("eta", beta, phi_ratios, 1)
        h = self._over_powers("h", beta, h_ratios, 0)
        powers = [e * beta**j for j, e in enumerate(phi_ratios)]
        # (β^l of a product over β^l of h: what is left are the powers below)
        level = range(1, len(h))

        def inner(a, b, lower):
            r"""A sum over levels, of which those that vanish identically are left out.

            Parameters
            ----------
            a, b
                Coefficients of two functions, level by level.
            lower
                The power of β taken out of each product.

            Returns
            -------
            Any
                $\sum_l a_l b_l \beta^{l-lower} / h_l$.
            """
            there = [i for i in level if not _none(a[i], b[i])]
            return sum(a[i] * b[i] / h[i] * beta ** (i - lower) for i in there)

        start = ((self.nodes[0] - 1) * beta).exp()
        slopes = [eta[i] * flint().fmpq(i * (i + d - 2), d - 1) for i in range(len(h))]
        half = 1 / (2 * K * chi[0])
        value, mixed = K * start * inner(phi, phi, 0), K * inner(phi, chi, 1)
        along = K * half * inner(chi, chi, 1)
        sizes = [[abs(weight) for weight in row] for row in self._rows["phi"][1:]]
        own = K * start * sum(combined(row, powers) for row in sizes)
        energy = combined(self.energy_weights, powers)
        return (
            1 + start * energy,
            1 - value,
            1 - along,
            (1 - value) * (1 - along) - half * start * beta * mixed * mixed,
            1 - K * half * inner(slopes, eta, 1),
            1 - own,
        )

    def _on(self, low: float, high: float) -> list[Ball]:
        """The slacks on an interval."""
        sets = (self.nodes, self.interpolant.nodes)

        def slacks(b):
            return self._slacks(b, *(ratios(nodes, b) for nodes in sets))

        return enclosed(slacks, low, high, count=6)

    def conditions(self, low: float, high: float) -> Iterator[tuple[str, Ball]]:
        """What must be positive for all β of an interval.

        Parameters
        ----------
        low, high
            The interval of β.

        Returns
        -------
        Iterator[tuple[str, Ball]]
            Name and ball of each condition.
        """
        total, value, along, both, tangent, own = self._on(low, high)
        yield "1 + E > 0", total
        yield "K <phi, phi> <= 1", value
        yield "K s^2 <chi, chi> <= 1", along
        yield "K times the top eigenvalue <= 1", both
        yield "K s^2 sum eta_l^2 C_l'(1) / h_l <= 1", tangent
        yield "own share >= 0", own
        yield from self._on_the_sphere(low, high)

    def _on_the_sphere(self, low: float, high: float) -> Iterator[tuple[str, Ball]]:
        r"""$\varphi>0$ and $\psi^{(n)}\ge0$ on [−1, 1].

        Then $\psi-h = \psi^{(n)}(\xi)\prod_i(t-t_i)/n!\ge0$. With $\varphi = q\,f(t_0)$ and $p =
        q/q(T)$ the n-th coefficient at T of $\psi$ is that of $-p\log p$ times $\varphi(T)$, since
        the degree of $\varphi(1-t)$ is below n. The variable is $\beta t$, in which nothing cancels
        as $\beta\to0$.
        """
        arb, arb_series = flint().arb, flint().arb_series
        beta, order = arb(low).union(arb(high)), len(self.interpolant.nodes)
        weights = [each[0] for each in ratios(self.nodes, arb_series([beta, 1], prec=1))]

        def at(t) -> Any:
            steps = [arb_series([beta * (t - node), 1], prec=order + 1) for node in self.nodes]
            q = product = arb_series([1], prec=order + 1)
            for weight, step in zip(weights[1:], steps, strict=False):
                product = product * step
                q = q + weight * product
            return q

        # φ is a constant, or grows from f(−1) at −1
        growing = len(self.nodes) == 1 or (len(self.nodes) == 2 and self.nodes[0] == -1)
        yield "phi > 0", arb(1) if growing else lowest(lambda t: at(t)[0], -1, 1)
        if len(self.nodes) <= 2:
            # −p log p for p = 1 + a v has the coefficients (−1)^{n+1} aⁿ/(n (n − 1)), and a >= 0
            yield "psi^(n) >= 0", arb(1 if order % 2 or len(self.nodes) == 1 else -1)
            return

        def derivative(t) -> Ball:
            q = at(t)
            if not q[0] > 0:
                return arb.nan()
            p = arb_series([1, *(q[k] / q[0] for k in range(1, order + 1))], prec=order + 1)
            return -(p * p.log())[order]

        yield "psi^(n) >= 0", lowest(derivative, -1, 1)

    def bound(self, beta) -> Any:
        """The lower bound, in balls."""
        energy = combined(self.energy_weights, divided_differences(self.nodes, beta))
        differences = divided_differences(self.interpolant.nodes, beta)
        own = combined(self.interpolant.energy_weights(self.num_vectors), differences)
        return (1 + energy).log() + (own - energy) / (1 + energy)

    def holds_until(self, beta: float) -> float:
        r"""How far beyond `beta` the conditions are proved to hold: to infinity, or not at all.

        With the nodes of an orthoplex, -1 and 0, and $u = e^{-\beta}$, $c = 1-u$ they are

        $$\frac{Kuc^2}\beta\le1,\qquad
        \frac{u^2+\frac{d-1}d\frac{\beta c^2}{\beta-c}}{2(1-c/d)}\le1,\qquad
        \frac{1+\frac{\beta c^2}{2(\beta-c)}}{2(1-c/d)}\le1,\qquad Kuc\le1,$$

        and the product of what is left of the first two is at least
        $\frac{Ku^3c^2}{2\beta(1-c/d)}$. For c = 1, but in u, the left sides are larger and fall in
        $\beta > 1$. The third tends to $\frac34\frac d{d-1}$, which is below 1 from d = 5 on.
        """
        if self.nodes != (-1, 0) or self.interpolant.nodes != (-1, 0, 0) or not beta > 1:
            return beta
        arb, K, d = flint().arb, self.num_vectors, self.interpolant.dim
        low, u, apart = arb(beta), (-arb(beta)).exp(), 2 * (1 - 1 / flint().arb(d))
        slope = low / (low - 1)
        value = K * u / low
        along = (u * u + slope * (d - 1) / d) / apart
        met = (
            value < 1,
            along < 1,
            (1 - value) * (1 - along) > K * u * u * u / (low * apart),
            (1 + slope / 2) / apart < 1,
            K * u < 1,
        )
        return math.inf if all(met) else beta


def _none(*coefficients) -> bool:
    """Whether one of these is a sum of nothing."""
    return any(isinstance(each, int) for each in coefficients)
