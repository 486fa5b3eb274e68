"""From a case to claims.

Solve, assert convergence, look at the point on the host, and compare what is identified.
"""

from __future__ import annotations

import dataclasses
import functools
import operator

import jax
import numpy as np

import ufm
from theory_checks.engine.claims import CERTIFICATE_CLAIM, Claim, Record
from theory_checks.engine.registry import BOUNDARY_WIDTH, Case, NotConverged, Setting

# Relative. The error of a value is quadratic in the gradient (1e-12), so what is left is rounding.
VALUE = 1e-12
# Relative to the largest entry predicted, for logits, Grams and features: the gradient (1e-12)
# times the condition number off the symmetry (20 to 410). At the threshold of one layer the minimum
# is quartic in the factors: singular values of the factors go with the cube root of the gradient,
# 1e-4, the logits with its square, 1e-8, which is still inside.
GEOMETRY = 1e-7
# The same off every threshold, where the condition number is that of the problem: a hundred times
# the gradient.
EXACT = 1e-10
# Relative duality gap, first order in the gradient.
CERTIFICATE = 1e-10


def precision(case: Case) -> float:
    """EXACT; on a boundary, where minima may be quartic, GEOMETRY."""
    return GEOMETRY if case.setting is Setting.BOUNDARY else EXACT


def solve(case: Case, **options) -> ufm.Solution:
    """Minimise from the random starts of the case.

    Convergence is asserted before any value is looked at.
    """
    solution = ufm.minimise(
        case.problem, key=case.key, starts=case.starts, progress=False, **options
    )
    if solution.result is ufm.Result.INTERRUPTED:
        raise KeyboardInterrupt
    if solution.result is not ufm.Result.CONVERGED:
        raise NotConverged(
            f"{solution} (codes of all starts: {np.asarray(solution.codes).tolist()})"
        )
    return solution


_objective = jax.jit(ufm.model.objective)


def value_at(problem: ufm.Problem, params: ufm.Params) -> float:
    """The objective at a point, as one program: its operations one by one are thirty."""
    return float(_objective(problem, params))


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """The numbers of a problem that the papers' formulas are written in.

    Λ_b is 0 unless there is a penalised bias.
    """

    counts: np.ndarray
    widths: tuple[int, ...]
    lambda_W: np.ndarray
    lambda_H: float
    lambda_b: float
    bias: str | None

    @classmethod
    def of(cls, problem: ufm.Problem) -> Setup:
        """Read them off."""
        return cls(
            counts=np.asarray(problem.labels.class_counts),
            widths=problem.widths,
            lambda_W=np.asarray(problem.lambda_W),
            lambda_H=float(problem.lambda_H),
            lambda_b=0.0 if problem.lambda_b is None else float(problem.lambda_b),
            bias=problem.bias,
        )

    @property
    def K(self) -> int:
        """Classes."""
        return len(self.counts)

    @property
    def N(self) -> float:
        """Samples."""
        return float(self.counts.sum())

    @property
    def n(self) -> float:
        """Samples a class, on average."""
        return self.N / self.K

    @property
    def M(self) -> int:
        """Linear layers."""
        return len(self.widths)

    @property
    def R(self) -> int:
        """The narrowest width."""
        return min(self.widths)

    @property
    def balanced(self) -> bool:
        """Equal class counts."""
        return bool(np.all(self.counts == self.counts[0]))


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    """A point of a problem as NumPy arrays, identified quantities only in the claims made of it."""

    problem: ufm.Problem
    params: ufm.Params
    value: float

    @classmethod
    def of(cls, solution: ufm.Solution) -> Point:
        """The point that a solve found."""
        return cls(solution.problem, solution.params, float(solution.value))

    @functools.cached_property
    def weights(self) -> list[np.ndarray]:
        """W_M, …, W_1."""
        return [np.asarray(W) for W in self.params.weights]

    @functools.cached_property
    def classifier(self) -> np.ndarray:
        """W = W_M … W_1, (K, d)."""
        return functools.reduce(operator.matmul, self.weights)

    @functools.cached_property
    def features(self) -> np.ndarray:
        """H (d, C)."""
        return np.asarray(self.params.features)

    @functools.cached_property
    def class_index(self) -> np.ndarray:
        """Class of each column."""
        return np.asarray(self.problem.labels.class_index)

    @functools.cached_property
    def class_means(self) -> np.ndarray:
        """Class means of the features, (d, K)."""
        members = np.eye(self.problem.labels.num_classes)[self.class_index]
        members = members * np.asarray(self.problem.labels.masses)[:, None]
        return (self.features @ members) / members.sum(axis=0)

    @functools.cached_property
    def logits(self) -> np.ndarray:
        """Z (K, C) of the product, bias included."""
        logits, bias = self.classifier @ self.features, self.params.bias
        return logits if bias is None else logits + np.asarray(bias)[:, None]

    @property
    def linear_logits(self) -> np.ndarray:
        """W H at class level, (K, K), without the bias."""
        return self.classifier @ self.class_means

    def weight_size(self) -> float:
        """Scale of W Wᵀ where the prediction is zero.

        The decay bounds each factor, λ/2 ‖W‖² <= value; rows of a domain are not free to vanish.
        """
        if self.problem.classifier.compact:
            return float(np.sum(self.classifier**2))
        return float(np.prod(2 * self.value / np.asarray(self.problem.lambda_W)))

    def feature_size(self) -> float:
        """Scale of a class mean's square where the prediction is zero, or theirs in a domain."""
        if self.problem.features.compact:
            return float(np.max(np.sum(self.class_means**2, axis=0)))
        samples = np.asarray(self.problem.labels.masses).sum()
        return 2 * self.value / float(np.asarray(self.problem.lambda_H) * samples)

    # claims
    # ----------------------------------------------------------------------

    def value_claim(self, predicted: float, *, name: str = "value", witness: bool = False) -> Claim:
        """The objective, relative."""
        return Claim(name, self.value, predicted, VALUE, scale=abs(predicted), witness=witness)

    def plain_claim(self, value: float) -> Claim:
        """The objective, evaluated again from what is saved of the point."""
        return Claim(
            "value in plain NumPy", value, self.value, VALUE, scale=self.value, witness=True
        )

    def bracket_record(self, claimed: float, *, name: str) -> Record:
        """A claimed value beside the one found and the bound below."""
        certified = float(ufm.certify(self.problem, self.params).lower_bound)
        values = {"claimed": claimed, "found": self.value, "certified": certified}
        return Record(name, {which: np.array([value]) for which, value in values.items()})

    def closed_form_claim(self) -> Claim:
        """The value of the library's own closed form.

        A witness that the global optimum was found, whatever the theorem says of it.
        """
        return self.value_claim(
            float(ufm.closed_form(self.problem).value),
            name="value of ufm.closed_form",
            witness=True,
        )

    def certificate_claim(self) -> Claim:
        """The duality gap, which bounds the distance to the global minimum without any closed form.

        One layer only.
        """
        gap = float(ufm.certify(self.problem, self.params).gap)
        points = ((self.problem, self.params),)
        return Claim(CERTIFICATE_CLAIM, gap, 0.0, CERTIFICATE, witness=True, points=points)

    def witnesses(self) -> list[Claim]:
        """All evidence that the point is the global minimum, outside the hypotheses as well as
        inside."""
        claims = [self.closed_form_claim()]
        return [*claims, self.certificate_claim()] if self.problem.depth == 1 else claims

    def collapse_claim(self, *, tolerance: float = GEOMETRY) -> Claim:
        """NC1: every feature equals its class mean.

        Relative to the size of the features, or of what decay allows where they vanish.
        """
        scatter = np.linalg.norm(self.features - self.class_means[:, self.class_index])
        size = np.linalg.norm(self.features)
        if not self.problem.features.compact:
            size = max(size, np.sqrt(2 * self.value / float(self.problem.lambda_H)))
        return Claim("NC1: features equal their class mean", scatter / size, 0.0, tolerance)

    def logits_claim(self, class_logits: np.ndarray) -> Claim:
        """Logits of every column, bias included. Targets are 0 and 1, so the error is absolute."""
        return Claim("logits", self.logits, class_logits[:, self.class_index], GEOMETRY)

    def weight_gram_claim(self, predicted: np.ndarray, *, tolerance: float = GEOMETRY) -> Claim:
        """W Wᵀ of the product of all factors."""
        gram, size = self.classifier @ self.classifier.T, self.weight_size()
        return matrix_claim("W Wᵀ", gram, predicted, size=size, tolerance=tolerance)

    def feature_gram_claim(self, predicted: np.ndarray) -> Claim:
        """Gram of the class means."""
        return matrix_claim(
            "H̄ᵀ H̄", self.class_means.T @ self.class_means, predicted, size=self.feature_size()
        )

    def bias_claim(self, predicted: np.ndarray) -> Claim:
        """The bias, absolute: targets are 0 and 1."""
        return Claim("bias", np.asarray(self.params.bias), predicted, GEOMETRY)


def matrix_claim(
    name: str,
    measured: np.ndarray,
    predicted: np.ndarray,
    *,
    size: float,
    like=None,
    tolerance: float = GEOMETRY,
) -> Claim:
    """A matrix, relative to the largest entry of `like` (the prediction unless given), or to `size`
    where that is zero to rounding.

    Two measured matrices that should be equal need `like`: where both vanish, one rounding error is
    no scale for the other.
    """
    largest = float(np.max(np.abs(predicted if like is None else like)))
    return Claim(
        name,
        measured,
        predicted,
        tolerance,
        scale=largest if largest > BOUNDARY_WIDTH * size else size,
    )


def projector_claims(
    name: str, matrix: np.ndarray, *, factor: float, rank: int, null: np.ndarray | None = None
) -> list[Claim]:
    """`matrix` is `factor` times an orthogonal projector of this rank, and `null` (K,) lies in its
    kernel.

    Which projector is left open by the theorem (ties at the rank cut), so spectrum and symmetry are
    what can be compared.
    """
    K = len(matrix)
    spectrum = np.zeros(K)
    spectrum[K - rank :] = factor
    scale = abs(factor)
    claims = [
        Claim(f"{name}: symmetric", matrix, matrix.T, GEOMETRY, scale=scale),
        Claim(
            f"{name}: spectrum of a projector of rank {rank}",
            np.linalg.eigvalsh((matrix + matrix.T) / 2),
            spectrum,
            GEOMETRY,
            scale=scale,
        ),
    ]
    if null is not None:
        claims.append(Claim(f"{name}: kernel", matrix @ null, np.zeros(K), GEOMETRY, scale=scale))
    return claims
