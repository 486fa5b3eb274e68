"""What `minimise` measured."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ufm._classes.module import Displayed
from ufm.model import Params, Problem
from ufm.solution.certificates import AbstractCertificate
from ufm.solution.results import Result
from ufm.tolerances import caveat

# A gradient relative to the size of the problem that rounding of the value leaves is about
# √(eps × condition number); one above this power of eps needs a condition number of 1/√eps.
_ROUNDING = 0.25


class SolveFailed(RuntimeError):
    """Raised by `minimise(..., throw=True)` when the result is neither CONVERGED nor PROVED.

    `solution` holds what was reached.
    """

    def __init__(self, solution: Solution):
        super().__init__(str(solution))
        self.solution = solution


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Solution(Displayed):
    """What `minimise` measured.

    `params`: the best point found. `value`: the objective there. `grad_norm`: gradient norm
    relative to the size of the problem (see `minimise`). `num_steps`, `num_evaluations`: outer
    steps, and gradients plus Hessian-vector products, of the best start. `values`, `codes`: value
    and result of every start (S,). `state`: what `resume` needs, None where that is not possible.
    `certificate`: where `gap` was asked for. `kinks`: of a ReLU model what kind of point it is,
    where `minimise_rectified` or `search` went onto its kinks. `random`: whether `minimise` began
    at random starts, from whose best one a deep product goes on to other directions.
    """

    problem: Problem
    params: Params
    value: Float[Array, ""]
    grad_norm: Float[Array, ""]
    code: np.integer
    num_steps: np.integer
    num_evaluations: np.integer
    values: Float[Array, " S"]
    codes: Int[np.ndarray, " S"]
    state: Any
    certificate: AbstractCertificate | None = None
    kinks: Any = None
    random: bool = dataclasses.field(default=False, metadata={"static": True})

    def proved(self, certificate: AbstractCertificate, code: np.integer) -> Solution:
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
        """How the best start ended; INTERRUPTED wherever Ctrl-C left something undone."""
        return Result(int(self.code))

    @property
    def advice(self) -> str:
        """How the best start ended, and what to do about it, in words."""
        result, eps = self.result, float(np.finfo(self.problem.dtype).eps)
        far = float(self.grad_norm) > eps**_ROUNDING
        if result is Result.STALLED and far and self.kinks is None:
            return (
                f"{result.name}: no step lowers the value, yet the gradient is far above rounding; "
                "the objective may have a kink there, which minimisers take for smooth"
            )
        resumed = result.unfinished and self.state is not None
        return f"{result}{'; go on with minimise(..., resume=solution)' * resumed}"

    def __repr__(self) -> str:
        return eqx.tree_pformat(self)

    def __str__(self) -> str:
        starts = f", best of {len(self.values)} starts" if len(self.values) > 1 else ""
        reached = (
            f"value {float(self.value):.12g}, relative gradient norm {float(self.grad_norm):.1e}"
        )
        ended = f"{reached} after {int(self.num_steps)} steps{starts}\n{self.advice}"
        if self.kinks is not None:
            # (on kinks no step is counted: most are those of smoothed models)
            ended = f"{reached}{starts}\n{self.advice}\n{self.kinks}"
        if self.certificate is not None:
            return f"{ended}\n{self.certificate}"
        return f"{ended}{caveat(self.problem.dtype)}"
