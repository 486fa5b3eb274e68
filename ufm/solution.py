"""What comes back: result codes, solutions, trajectories, certificates."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm._validate import require, require_nonnegative, require_whole
from ufm.model import Params, Problem

# of JAX, or read from it
Whole = Int[Array, ""] | np.integer


class Result(enum.IntEnum):
    """How a run ended. `str()` of it reads as advice."""

    RUNNING = 0
    CONVERGED = 1
    STALLED = 2
    MAX_STEPS = 3
    DIVERGED = 4
    INTERRUPTED = 5
    REACHED_END = 6
    STEADY_STATE = 7
    TOLERANCE_NOT_MET = 8
    POLISHED = 9
    PROVED = 10

    def __str__(self) -> str:
        return f"{self.name}: {_ADVICE[self]}"

    @property
    def ok(self) -> bool:
        """Whether the run did what was asked of it."""
        return self in _OK


_OK = (
    Result.CONVERGED,
    Result.REACHED_END,
    Result.STEADY_STATE,
    Result.POLISHED,
    Result.PROVED,
)
_ADVICE = {
    Result.RUNNING: "not finished",
    Result.CONVERGED: "the relative gradient norm is below the tolerance",
    Result.STALLED: "no step improves on rounding noise, yet the gradient is above the "
    "tolerance; loosen `tolerance` or use float64",
    Result.MAX_STEPS: "the step budget is spent; raise `max_steps`, or go on with minimise(..., "
    "resume=solution)",
    Result.DIVERGED: "value or gradient became infinite or NaN; use a smaller step size or start",
    Result.INTERRUPTED: "stopped from the keyboard; go on with minimise(..., resume=solution) "
    "or from `final`",
    Result.REACHED_END: "integrated to the last time",
    Result.STEADY_STATE: "the gradient vanished before the last time; later rows repeat the "
    "steady state",
    Result.TOLERANCE_NOT_MET: "the integrator could not meet its tolerance; rows after the "
    "failure are NaN",
    Result.POLISHED: "as STEADY_STATE, and Newton's method went on to the minimum, which is "
    "`final`",
    Result.PROVED: "globally optimal to the gap that was asked for, see `certificate`",
}


class SolveFailed(RuntimeError):
    """Raised by `minimise(..., throw=True)` when the result is neither CONVERGED nor PROVED.

    `solution` holds what was reached.
    """

    def __init__(self, solution: Solution):
        super().__init__(str(solution))
        self.solution = solution


class Solution(eqx.Module):
    """What `minimise` measured.

    `params`: the best point found. `value`: the objective there. `grad_norm`: gradient norm
    relative to the size of the problem (see `minimise`). `num_steps`, `num_evaluations`: outer
    steps, and gradients plus Hessian-vector products, of the best start. `values`, `codes`: value
    and result of every start (S,). `state`: what `resume` needs. `certificate`:
    where `gap` was asked for. `kinks`: of a ReLU model what kind of point it is, where
    `minimise_rectified` or `search` went onto its kinks.
    """

    problem: Problem
    params: Params
    value: Float[Array, ""]
    grad_norm: Float[Array, ""]
    code: Whole
    num_steps: Whole
    num_evaluations: Whole
    values: Float[Array, " S"]
    codes: Int[Array, " S"]
    state: Any
    certificate: AbstractCertificate | None = None
    kinks: Any = None

    def proved(self, certificate: AbstractCertificate, code: Whole) -> Solution:
        """The same with its certificate, and how it ended with that.

        Parameters
        ----------
        certificate
            Of its point.
        code
            A code of `Result`.

        Returns
        -------
        Solution
            Another one.
        """
        return dataclasses.replace(self, certificate=certificate, code=code)

    @property
    def logits(self) -> Float[Array, "K C"]:
        """Z = W_M … W_1 H + b 1ᵀ at the solution, one column per column of the labels."""
        return self.problem.logits(self.params)

    @property
    def result(self) -> Result:
        """How the best start ended."""
        return Result(int(self.code))

    def __str__(self) -> str:
        starts = f", best of {len(self.values)} starts" if len(self.values) > 1 else ""
        reached = (
            f"value {float(self.value):.12g}, relative gradient norm {float(self.grad_norm):.1e}"
        )
        ended = f"{reached} after {int(self.num_steps)} steps{starts}\n{self.result}"
        if self.kinks is not None:
            # (on kinks no step is counted: most are those of smoothed models)
            ended = f"{reached}{starts}\n{self.result}\n{self.kinks}"
        return ended if self.certificate is None else f"{ended}\n{self.certificate}"


class Trajectory(eqx.Module):
    """What happened along the way: `flow` and `descend` share it, so one plot can hold both.

    `ts` (T,): times (for a discrete method, steps taken times step size). `value` (T,): the
    objective. `params`: every leaf stacked on T, or None where they were not kept. `observables`:
    name → array stacked on T. Rows past a failure are NaN. `final`: the last point reached.
    """

    problem: Problem
    ts: Float[Array, "*B T"]
    value: Float[Array, "*B T"]
    params: Params | None
    observables: dict[str, Array]
    final: Params
    code: Int[Array, "*B"]
    num_steps: Int[Array, "*B"]
    polish: Solution | None = None

    @property
    def result(self) -> Result:
        """How the run ended."""
        return Result(int(self.code))

    @property
    def results(self) -> tuple[Result, ...]:
        """How each run of a batch ended."""
        return tuple(Result(code) for code in np.ravel(self.code).tolist())

    def run(self, index: int) -> Trajectory:
        """One run of a batch; `ValueError` unless `index` is that of one, from 0 on."""
        require(
            np.ndim(self.code) == 1,
            "`index` is for the runs of a batch (see ufm.flows.flow_batch)",
            "a single run",
        )
        index = require_whole("index", index, least=0, most=len(self.code) - 1)
        return jax.tree.map(lambda leaf: leaf[index], self)


class AbstractCertificate(eqx.Module):
    """A value and a lower bound on the global minimum, and what may be said of the two."""

    value: eqx.AbstractVar[Float[Array, ""]]
    lower_bound: eqx.AbstractVar[Float[Array, ""]]
    gap: eqx.AbstractVar[Float[Array, ""]]
    rounding: eqx.AbstractVar[Float[Array, ""]]
    loss: eqx.AbstractVar[str]

    @property
    def valid(self) -> bool:
        """Whether nothing impossible was found.

        a bound above the value is a defect, never a proof.
        """
        return not float(self.lower_bound) - float(self.value) > float(self.rounding)

    def closes(self, tolerance: float = 1e-9) -> bool:
        """Whether the point is globally optimal to this relative tolerance.

        False says nothing when d is below the rank of the optimum.
        """
        require_nonnegative("tolerance", tolerance, shape=())
        known = float(self.value) - float(self.lower_bound) + float(self.rounding)
        return (
            self.valid
            and float(self.gap) <= tolerance
            and known <= tolerance * abs(float(self.value))
        )

    def _sentence(self, impossible: str = "a lower bound above the value") -> str:
        """The value and the bound in words.

        What is `impossible` where the certificate is not valid.
        """
        if not self.valid:
            return (
                f"INVALID: {impossible}, so the conjugate of {self.loss} is wrong or the loss is "
                f"not convex; nothing is certified\n"
                f"value {float(self.value):.12g}, claimed bound {float(self.lower_bound):.12g}"
            )
        return (
            f"value {float(self.value):.12g} >= global minimum >= "
            f"{float(self.lower_bound):.12g}: relative gap {float(self.gap):.1e}"
        )


def relative_gap(value: Float[Array, ""], lower_bound: Float[Array, ""]) -> Float[Array, ""]:
    """(value − bound) / |value|, not below 0; a value of 0 is met by a bound of 0 or by none.

    Runs inside `jit`.
    """
    difference = jnp.maximum(value - lower_bound, 0)
    return jnp.where(difference > 0, difference / jnp.abs(value), 0)


class Certificate(AbstractCertificate):
    r"""A lower bound on the global minimum from the convex lift, hence how far a point can be from
    it.

    `value`: the objective at the point (with a free bias re-solved at fixed W H), known to ±
    `rounding`. `lower_bound` $\le$ the global minimum, rounding subtracted. `gap`: (value −
    lower_bound) relative to the value, infinite where nothing is certified. `spectral_ratio`:
    $\|G\|_{op}/\mu$, at most 1 at an optimum. `bias_residual`: $\|\sum_c\omega_c u_c\|$ of a free
    bias before it was removed, 0 without one. `contradiction`: by how much loss and conjugate miss
    equality in Fenchel–Young, in units of what rounding can explain: above 1 one of them is wrong.
    `lowering`: along how many directions, at least, one more dimension of the features than `dim`
    would lower the value, 0 where it is not known (nonnegative features,
    vanishing multipliers). `full_rank`: which no optimum exceeds. `loss`: whose they are.
    """

    value: Float[Array, ""]
    lower_bound: Float[Array, ""]
    gap: Float[Array, ""]
    spectral_ratio: Float[Array, ""]
    bias_residual: Float[Array, ""]
    rounding: Float[Array, ""]
    contradiction: Float[Array, ""]
    lowering: Int[Array, ""]
    dim: int = eqx.field(static=True)
    full_rank: int = eqx.field(static=True)
    loss: str = eqx.field(static=True)

    @property
    def valid(self) -> bool:
        """Whether nothing impossible was found.

        Neither a bound above the value nor a conjugate that contradicts its loss.
        """
        return super().valid and not float(self.contradiction) > 1

    def __str__(self) -> str:
        residual = float(self.bias_residual)
        contradicted = float(self.contradiction) > 1
        sentence = (
            self._sentence("value and conjugate contradict each other")
            if contradicted
            else self._sentence()
        )
        return (
            f"{sentence}\nspectral ratio "
            f"{float(self.spectral_ratio):.12g}"
            f"{f', bias residual {residual:.1e}' if residual else ''}"
            f"{self._reason()}"
        )

    def _reason(self) -> str:
        """Why the gap is open, where a further dimension says so."""
        number = int(self.lowering)
        if not self.valid or self.closes() or not number:
            return ""
        along = f"{number} direction{'s' if number > 1 else ''}"
        below = f"if this is the minimum, d={self.dim} is below the rank of the lifted optimum"
        enough = f"this is no minimum, as d={self.dim} is enough for every rank"
        return (
            f"\nopen, as one more dimension lowers the value along {along}: "
            f"{below if self.dim < self.full_rank else enough}"
        )
