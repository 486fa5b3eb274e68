"""Whether a loss is what it says.

Its value, derivative, conjugate, best bias and properties against each other at random points.

What the library does with a loss rests on these; a conjugate with a wrong sign is a certificate
that certifies nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._classes.module import Displayed
from ufm._validate import require_finite, require_instance, require_key, require_whole
from ufm.losses.base import AbstractLoss
from ufm.losses.points import Points
from ufm.losses.questions import QUESTIONS, Absent, Wrong


@dataclass(frozen=True, kw_only=True)
class Finding(Displayed):
    """What came of one question.

    `verdict` "ok", "wrong" or "absent" (what the loss does not have), and why.

    `error`: the largest deviation, relative to the size of its terms; NaN where there is none.
    `tolerance`: what rounding explains.
    """

    question: str
    verdict: str
    why: str = ""
    error: float = float("nan")
    tolerance: float = float("nan")

    def __str__(self) -> str:
        numbers = (
            ""
            if np.isnan(self.error)
            else f"  (error {self.error:.1e}, rounding {self.tolerance:.0e})"
        )
        return f"{self.verdict:<7} {self.question}{': ' * bool(self.why)}{self.why}{numbers}"


@dataclass(frozen=True, kw_only=True)
class LossReport(Displayed):
    """What `check_loss` found.

    `findings`: in the order asked; `wrong`: the questions that the loss fails.
    """

    loss: str
    num_classes: int
    dtype: str
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """The questions that it fails."""
        return tuple(f.question for f in self.findings if f.verdict == "wrong")

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def __str__(self) -> str:
        verdict = "nothing wrong" if self.ok else f"wrong: {', '.join(self.wrong)}"
        head = f"{self.loss}, K = {self.num_classes}, {self.dtype}: {verdict}"
        return "\n".join([head, *map(str, self.findings)])


def check_loss(
    loss: AbstractLoss,
    *,
    num_classes: int,
    key: PRNGKeyArray,
    targets: Float[Array | np.ndarray, "K T"] | None = None,
) -> LossReport:
    r"""Check a loss against itself at random logits, and name what is wrong.

    One number a column, in the dtype of the logits, each column by itself; the gradient against
    differences; convexity by midpoints; $\ell(z) + \ell^*(u) \ge u^\top z$ with equality at $u =
    \nabla\ell(z)$, also for the scaled gradients that certificates take; the best bias by its
    gradient; and the properties: flat direction, canonical form, least squares, centring,
    derivatives for rows.

    Parameters
    ----------
    loss
        a loss, the library's or your own
    num_classes
        K >= 2, the number of classes that it is asked for
    key
        a `jax.random.key`, of the random logits and targets
    targets
        (K, T), the targets to ask with, for a loss that takes no others; probabilities unless given

    Returns
    -------
    A `LossReport`: `ok`, `wrong` and `findings`; it prints as a table.

    Raises
    ------
    ValueError
        for what is no loss, and fewer than two classes; what the loss itself raises is a finding

    Notes
    -----
    A loss that passes may still be wrong elsewhere: these are tests at random points, with logits
    of size up to 5.
    """
    require_instance("loss", loss, AbstractLoss, "a loss instance such as ufm.CrossEntropy()")
    num_classes = require_whole("num_classes", num_classes, least=2)
    require_key("key", key)
    if targets is not None:
        require_finite("targets", targets, ndim=2)
    points = Points.random(loss, num_classes, key, targets)
    findings = tuple(_asked(question, points) for question in QUESTIONS)
    return LossReport(
        loss=str(loss), num_classes=num_classes, dtype=points.logits.dtype.name, findings=findings
    )


def _asked(
    question: tuple[str, Callable[[Points], Iterator[tuple[str, Any, Any]]]], points: Points
) -> Finding:
    """A question put: each part yields what it would mean to fail, deviations, and the sizes of
    their terms."""
    name, ask = question
    worst, tolerance = float("nan"), points.rounding
    try:
        for meaning, deviation, size in ask(points):
            error = np.abs(np.asarray(deviation)) / (1 + np.abs(np.asarray(size)))
            if not np.all(np.isfinite(error)):
                raise Wrong(f"{meaning}{points.at(error)}; not finite")
            worst = float(np.fmax(worst, error.max(initial=0.0)))
            if worst > tolerance:
                why = f"{meaning}{points.at(error)}"
                return Finding(
                    question=name, verdict="wrong", why=why, error=worst, tolerance=tolerance
                )
    except Absent as reason:
        return Finding(question=name, verdict="absent", why=str(reason))
    except Wrong as reason:
        return Finding(question=name, verdict="wrong", why=str(reason))
    except Exception as error:  # whatever a loss of one's own raises is what is wrong with it
        return Finding(question=name, verdict="wrong", why=_raised(error))
    return Finding(question=name, verdict="ok", error=worst, tolerance=tolerance)


def _raised(error: Exception) -> str:
    """What a loss raises, in a line."""
    said = f"raises {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    if isinstance(error, jax.errors.ConcretizationTypeError):
        said += (
            " Python decides by logits, targets or a field, which are traced: use jnp.where, or "
            "eqx.field(static=True) for a field that is a setting"
        )
    return said
