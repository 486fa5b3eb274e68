"""Refutations: a theorem that says "this is the least value" is shown false by a point with a lower
one, re-evaluated in plain NumPy.

Neither a failed claim nor a solve that did not converge refutes anything. The point is kept and can
be written to a file, so that a reader who trusts none of this code can evaluate the objective
there.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# relative: a value lower by less than this is a tie; rounding of the objective is a thousand times
# smaller
MARGIN = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Floor:
    """A number that no point of a claimed kind is below, computed in balls.

    `witness`: arrays that let a reader verify it, where the problem alone does not.
    """

    value: float
    witness: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Refutation:
    """A point of a cross-entropy problem whose value is lower than the one claimed to be the least.

    `claimed`: the value that the theorem calls the global minimum of the problem. `arrays`: the
    point and its problem as NumPy arrays, all that the objective depends on: W_1, …, W_M, H (d, C),
    b (K,), targets (K, C), masses (C,), lambda_W (M,) in the order of W_1, …, W_M, lambda_H,
    lambda_b; where not all of them are 1, also the loss `weights` (C,) and what the logits are
    multiplied by, `multiplicative` (K,), and what labels add to them, `offsets` (K, C), −∞ for a
    class that a column drops. Weights that are fixed have λ_W = 0.

    `least`: what no point of the claimed kind is below, computed when a proof asks for it; None
    where nobody knows such a number. With a proof, `upper` is the upper end of the value at the
    point, and `claimed_lower` and `witness` are what `least` returned.
    """

    name: str
    claimed: float
    arrays: Mapping[str, np.ndarray]
    least: Callable[[], Floor] | None = None
    upper: float | None = None
    claimed_lower: float | None = None
    witness: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def at(
        cls, name: str, claimed: float, problem, params, *, least: Callable[[], Floor] | None = None
    ) -> Refutation:
        """The refutation by `params`, a `ufm.Params` of `problem`; without a bias b is 0.

        `ValueError` where the objective is another one than is evaluated here: layers with
        activations, anchored features, losses that are not cross-entropy.
        """
        import ufm

        scale, shifts = problem.loss.share_scale(problem.labels.num_classes), problem.loss.shifts
        offsets = problem.labels.offsets if shifts is None else shifts
        arrays = {
            **{f"W_{m}": W for m, W in enumerate(reversed(params.weights), start=1)},
            "H": params.features,
            "b": np.zeros(problem.labels.num_classes) if params.bias is None else params.bias,
            "targets": problem.labels.targets,
            "masses": problem.labels.masses,
            "lambda_W": np.asarray(problem.lambda_W)[::-1],
            "lambda_H": problem.lambda_H,
            "lambda_b": 0.0 if problem.lambda_b is None else problem.lambda_b,
        }
        if not problem.labels.has_equal_weights():
            arrays["weights"] = problem.labels.weights
        if scale is not None and np.any(np.asarray(scale) != 1):
            arrays["multiplicative"] = scale
        if offsets is not None and np.any(np.asarray(offsets)):
            arrays["offsets"] = np.broadcast_to(offsets, problem.labels.targets.shape)
        arrays = {key: np.asarray(value, dtype=np.float64) for key, value in arrays.items()}
        found = cls(name, float(claimed), arrays, least)
        objective = float(ufm.model.objective(problem, params))
        if not abs(found.value - objective) <= MARGIN * abs(objective):
            raise ValueError(
                "`problem` must be linear, without anchor, its loss cross-entropy with adjusted "
                "logits at most: a refutation is evaluated without ufm; "
                f"got {problem}, {objective:.9g} at `params`, evaluated as {found.value:.9g}"
            )
        return found

    def without_least(self) -> Refutation:
        """The numbers alone, which can be sent to another process."""
        return dataclasses.replace(self, least=None)

    @functools.cached_property
    def value(self) -> float:
        """The objective at the point, evaluated here in NumPy."""
        a = self.arrays
        weights = [a[f"W_{m}"] for m in range(1, len(a["lambda_W"]) + 1)]
        Z = functools.reduce(lambda below, W: W @ below, weights, a["H"]) + a["b"][:, None]
        Z = Z * a.get("multiplicative", np.ones(len(Z)))[:, None] + a.get("offsets", 0.0)
        samples = a["masses"] * a.get("weights", 1.0)
        top = Z.max(axis=0)
        own = (a["targets"] * np.where(a["targets"] != 0, Z, 0)).sum(axis=0)
        # (in this order: the loss of a sure sample is far smaller than its logits)
        losses = (top - own) + np.log(np.exp(Z - top[None, :]).sum(axis=0))
        decay = sum(lam * np.sum(W**2) for lam, W in zip(a["lambda_W"], weights, strict=True))
        decay += a["lambda_H"] * np.dot(a["masses"], np.sum(a["H"] ** 2, axis=0)) + a[
            "lambda_b"
        ] * np.sum(a["b"] ** 2)
        return float(np.dot(samples, losses) / samples.sum() + decay / 2)

    @property
    def below(self) -> float:
        """How much lower it is than what was claimed, relatively."""
        return (self.claimed - self.value) / abs(self.claimed) if self.claimed else float("inf")

    @property
    def is_lower(self) -> bool:
        """Whether the value is lower by more than rounding; NaN is not."""
        return self.value < self.claimed - MARGIN * abs(self.claimed)

    @property
    def proved(self) -> bool:
        """Whether it is lower with every rounding accounted for.

        The upper end here below the lower end there.
        """
        return (
            self.upper is not None
            and self.claimed_lower is not None
            and self.upper < self.claimed_lower
        )

    @property
    def reason(self) -> str:
        """Why it is not proved, where a proof was asked for."""
        if self.upper is None or self.proved:
            return ""
        if self.claimed_lower is None:
            return "its check has no lower end of the least value claimed"
        return (
            f"its value is at most {self.upper!r}, the least value claimed at least "
            f"{self.claimed_lower!r}"
        )

    def as_npz(self) -> bytes:
        """The file for the reader: `arrays`, `claimed` and `value` as plain float64 arrays.

        With a proof `upper`, `claimed_lower` and the arrays of `witness`.
        """
        buffer = io.BytesIO()
        numbers = {"claimed": self.claimed, "value": self.value}
        if self.proved:
            numbers |= {"upper": self.upper, "claimed_lower": self.claimed_lower}
        contents: dict[str, Any] = {
            **self.arrays,
            **(self.witness if self.proved else {}),
            **{name: np.float64(number) for name, number in numbers.items()},
        }
        assert all(np.asarray(array).dtype == np.float64 for array in contents.values()), (
            "a pickle would not be readable without trust"
        )
        np.savez(buffer, **contents)
        return buffer.getvalue()


def file_name(check_key: str, case_id: str, name: str) -> str:
    """A file name for one refutation, the same in every run."""
    return "-".join(re.findall(r"[a-z0-9.]+", f"{check_key} {case_id} {name}".lower())) + ".npz"
