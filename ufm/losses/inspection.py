"""Whether a loss is what it says.

Its value, derivative, conjugate, best bias and properties against each other at random points.

What the library does with a loss rests on these; a conjugate with a wrong sign is a certificate
that certifies nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._classes.inspection import Report, findings
from ufm._validate import require_finite, require_instance, require_key, require_whole
from ufm.losses.base import AbstractLoss
from ufm.losses.points import Points
from ufm.losses.questions import QUESTIONS


@dataclass(frozen=True, kw_only=True)
class LossReport(Report):
    """What `check_loss` found.

    `findings`: in the order asked; `wrong`: the questions that the loss fails.
    """

    loss: str
    num_classes: int
    dtype: str

    @property
    def about(self) -> str:
        """The loss, and what it was asked for."""
        return f"{self.loss}, K = {self.num_classes}, {self.dtype}"


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
    return LossReport(
        loss=str(loss),
        num_classes=num_classes,
        dtype=points.logits.dtype.name,
        findings=findings(QUESTIONS, points),
    )
