r"""Cross-entropy without a bias, class counts of two values.

The exact problem in four numbers.

Columns of majority classes (k_A of n_A samples) have logits a + b (own class), b (other majority),
d (minority), those of minority classes e + f, f, c, with every column sum zero: $b = -(a + k_B
d)/k_A$, $f = -(e + k_A c)/k_B$. Then

$$F = \tfrac{k_An_A}{N}\log(1+(k_A-1)e^{-a}+k_Be^{d-a-b}) +
\tfrac{k_Bn_B}{N}\log(1+(k_B-1)e^{-e}+k_Ae^{c-e-f})
  + \mu\big[(k_A-1)\sqrt{n_A}\,a+(k_B-1)\sqrt{n_B}\,e+\sqrt{K(n_Ak_Bd^2+n_Bk_Ac^2)}\big]$$

over a, e >= 0, c, d. It is convex, and kinked where a = 0, e = 0 or c = d = 0: the collapses happen
exactly on these faces.
"""

from __future__ import annotations

import numpy as np

from ufm.optima.two_clusters import TwoClusters

# A block counts as zero when the slope that would free it exceeds its price by no more than
# rounding.
_SLACK = 1e-13
# the variables of each block of (a, e, d, c)
_BLOCKS = {"a": (0,), "e": (1,), "dc": (2, 3)}


def two_cluster_logits(clusters: TwoClusters, mu: float) -> tuple[np.ndarray, float, str]:
    """Optimal class-level logits (K, K), the optimal value, and the name of the regime.

    Needs N μ below the threshold of Z = 0.
    """
    # from zero a tiny decay is 1/μ too far for Newton: start at one millionth of the largest
    # threshold and divide by ten
    first = max(mu, 1e-6 * np.sqrt(clusters.n_B) / clusters.N)
    steps = np.geomspace(first, mu, 1 + int(np.ceil(np.log10(first / mu))))
    reduced = _Reduced(clusters, float(steps[0]))
    free = frozenset(
        name for name, size in (("a", clusters.k_A), ("e", clusters.k_B), ("dc", 2)) if size > 1
    )
    x = reduced.minimise(free)
    for step in steps[1:]:
        # below every threshold no block is zero; Newton on an exponential does not overshoot when
        # it comes from larger decay
        reduced = _Reduced(clusters, step)
        x = reduced.newton(x, free)
    a, e, d, c = x
    k_A, k_B = clusters.k_A, clusters.k_B
    b, f = -(a + k_B * d) / k_A, -(e + k_A * c) / k_B
    in_A = np.asarray(clusters.majority)
    logits = np.where(
        in_A[None, :], np.where(in_A[:, None], b, d), np.where(in_A[:, None], c, f)
    ) + np.diag(np.where(in_A, a, e))
    if d == c == 0:
        regime = "two clusters, minority features zero"
    elif e == 0 and k_B > 1:
        regime = "two clusters, minority collapsed to one direction"
    else:
        regime = "two clusters"
    return logits, reduced.value(x), regime


class _Reduced:
    """F of the module's docstring, as log-sum-exps of linear forms of x = (a, e, d, c) plus
    weighted norms of blocks of x."""

    def __init__(self, clusters: TwoClusters, mu: float):
        k_A, k_B, n_A, n_B, K, N = (
            clusters.k_A,
            clusters.k_B,
            clusters.n_A,
            clusters.n_B,
            clusters.K,
            clusters.N,
        )
        # differences to the own logit: other classes of the cluster, classes of the other cluster;
        # b and f put in
        self.weights = np.array([k_A * n_A / N, k_B * n_B / N])
        self.multiplicities = np.array([[k_A - 1.0, k_B], [k_B - 1.0, k_A]])
        self.forms = np.zeros((2, 2, 4))
        self.forms[0, 0, 0] = self.forms[1, 0, 1] = -1
        self.forms[0, 1] = [1 / k_A - 1, 0, 1 + k_B / k_A, 0]
        self.forms[1, 1] = [0, 1 / k_B - 1, 0, 1 + k_A / k_B]
        self.prices = {
            "a": mu * (k_A - 1) * np.sqrt([n_A]),
            "e": mu * (k_B - 1) * np.sqrt([n_B]),
            "dc": mu * np.sqrt([K * n_A * k_B, K * n_B * k_A]),
        }

    def _softmax(self, x):
        """Log-sum-exps (2,) and the probabilities of the two groups of wrong classes (2, 2)."""
        z = self.forms @ x
        top = np.maximum(z.max(axis=1), 0)
        terms = self.multiplicities * np.exp(z - top[:, None])
        total = np.exp(-top) + terms.sum(axis=1)
        # log1p keeps the digits of a small loss
        small = np.log1p((self.multiplicities * np.exp(np.minimum(z, 0))).sum(axis=1))
        return np.where(top == 0, small, top + np.log(total)), terms / total[:, None]

    def value(self, x) -> float:
        """F."""
        losses, _ = self._softmax(x)
        return float(
            self.weights @ losses
            + sum(
                np.linalg.norm(self.prices[name] * x[list(block)])
                for name, block in _BLOCKS.items()
            )
        )

    def fit_derivatives(self, x):
        """Gradient (4,) and Hessian (4, 4) of the loss part."""
        _, p = self._softmax(x)
        means = np.einsum("ij,ijk->ik", p, self.forms)
        gradient = self.weights @ means
        second = np.einsum("i,ij,ijk,ijl->kl", self.weights, p, self.forms, self.forms)
        return gradient, second - np.einsum("i,ik,il->kl", self.weights, means, means)

    def held(self, name: str, x) -> bool:
        """Whether a block, zero at x, is best left there: the slope is within its price.

        Parameters
        ----------
        name
            Of the block.
        x
            (4,), where it is asked.

        Returns
        -------
        bool
            a, e >= 0 only feel a push upwards.
        """
        gradient = self.fit_derivatives(x)[0][list(_BLOCKS[name])]
        push = -gradient / self.prices[name]
        # a, e >= 0 only feel a push upwards
        size = np.linalg.norm(push) if name == "dc" else push[0]
        return bool(size <= 1 + _SLACK)

    def minimise(self, free: frozenset[str]) -> np.ndarray:
        """The minimiser with all blocks but `free` at zero.

        Either one more block is zero in it, or F is smooth there.
        """
        best = np.zeros(4)
        for name in sorted(free):
            x = self.minimise(free - {name})
            if self.held(name, x):
                return x
            best = x if self.value(x) <= self.value(best) else best
        return self.newton(best, free) if free else best

    def newton(self, x: np.ndarray, free: frozenset[str]) -> np.ndarray:
        """Damped Newton on the smooth part of F where every free block is nonzero.

        Parameters
        ----------
        x
            (4,), where to start; free blocks that are zero there are moved off first.
        free
            The names of the blocks that move.

        Returns
        -------
        np.ndarray
            (4,); a block stays on its own side of zero.
        """
        index = [i for name in _BLOCKS if name in free for i in _BLOCKS[name]]
        x = self._released(x, free)
        for _ in range(300):
            gradient, hessian = self.fit_derivatives(x)
            for name in free:
                block = list(_BLOCKS[name])
                v = self.prices[name] * x[block]
                unit = v / np.linalg.norm(v)
                gradient[block] += self.prices[name] * unit
                bend = (np.eye(len(v)) - np.outer(unit, unit)) / np.linalg.norm(v)
                hessian[np.ix_(block, block)] += (
                    self.prices[name][:, None] * bend * self.prices[name]
                )
            step = np.zeros(4)
            step[index] = np.linalg.solve(hessian[np.ix_(index, index)], -gradient[index])
            slope, here, length = float(gradient @ step), self.value(x), 1.0
            if -slope <= 1e-30 * here:
                return x + step
            # never through a kink: a block stays on its own side of zero
            while any(
                np.dot(x[list(_BLOCKS[n])], (x + length * step)[list(_BLOCKS[n])]) <= 0
                for n in free
            ):
                length /= 2
            noise = 4e-16 * here
            while (
                self.value(x + length * step) > here + 1e-4 * length * slope + noise
                and length > 1e-12
            ):
                length /= 2
            x = x + length * step
            if length == 1 and np.all(np.abs(step) <= 2e-16 * np.abs(x)):
                break
        return x

    def _released(self, x: np.ndarray, free: frozenset[str]) -> np.ndarray:
        """x with its zero blocks moved off zero along the push on them, to where F is lower."""
        gradient = self.fit_derivatives(x)[0]
        move = np.zeros(4)
        for name in free:
            block = list(_BLOCKS[name])
            if not np.any(x[block]):
                move[block] = -gradient[block] / self.prices[name] ** 2
        if not move.any():
            return x
        move /= np.abs(move).max()
        length = 1.0
        while self.value(x + length * move) >= self.value(x) and length > 1e-14:
            length /= 2
        return x + length * move
