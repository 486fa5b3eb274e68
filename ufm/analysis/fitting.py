r"""Which unconstrained features model would stay where a trained network is.

Decay fitted to measured features and classifier.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ufm._classes.module import Displayed
from ufm._numerics import norm, unit
from ufm._validate import Shown, as_floats, at_one_width, require, require_finite, require_real
from ufm.labels import AbstractLabels, soft
from ufm.losses import AbstractLoss
from ufm.model import Params, Problem, check_params, fit
from ufm.tolerances import caveat

# A hundredth of a squared gradient: what noise within classes of a tenth of their distance leaves.
_DESCRIBED = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedDecay(Displayed):
    r"""The decay under which measured features and classifier are closest to a stationary point of
    the model with one layer.

    `lambda_W`, `lambda_H`: in the normalisation of the library. `residual_W`, `residual_H`: what of
    the loss gradient of the classifier and of the features no decay can balance, as a fraction of
    that gradient: 0 at a stationary point, 1 where decay explains nothing. `residual_b`: the bias
    gradient relative to the root mean square of the gradients of single logits, 0 for the best
    bias; None without. `problem`: the model with this decay and the labels, loss and bias of the
    fit; its `labels` have the columns of the features.
    """

    lambda_W: float
    lambda_H: float
    residual_W: float
    residual_H: float
    residual_b: float | None
    problem: Problem

    @property
    def explained_W(self) -> float:
        """The share of the squared gradient of the classifier that decay explains."""
        return 1 - self.residual_W**2

    @property
    def explained_H(self) -> float:
        """The share of the squared gradient of the features that decay explains."""
        return 1 - self.residual_H**2

    @property
    def describes(self) -> bool:
        """Whether the network is close to a stationary point of the model.

        Decay explains all but a hundredth of both squared gradients, and the bias is as good.
        """
        residuals = (self.residual_W, self.residual_H, self.residual_b or 0.0)
        return max(residuals) <= _DESCRIBED

    def __str__(self) -> str:
        bias = "" if self.residual_b is None else f", of the bias {self.residual_b:.1e}"
        return (
            f"lambda_W {self.lambda_W:.6g}, lambda_H {self.lambda_H:.6g}: decay explains "
            f"{_percent(self.explained_W)} of the classifier's gradient and "
            f"{_percent(self.explained_H)} of the features' (squared)\n"
            f"what it leaves, relative: of the classifier {self.residual_W:.1e}, of the features "
            f"{self.residual_H:.1e}{bias}\n{self._conclusion()}"
            f"{caveat(self.problem.dtype)}"
        )

    def _conclusion(self) -> str:
        if self.describes:
            return (
                "the model with this decay describes the network: it is near a stationary point, "
                f"as all of these are <= {_DESCRIBED}"
            )
        why = {
            "its classifier is not where this decay holds it (trained to the end? decayed?)": (
                self.residual_W
            ),
            "its features are pulled by more than decay (the layers below, or noise within "
            "classes)": self.residual_H,
            "its bias is not the best one (trained to the end? decayed?)": self.residual_b or 0.0,
        }
        reasons = "; ".join(reason for reason, left in why.items() if left > _DESCRIBED)
        return f"the model with this decay does not describe the network: {reasons}"


def fit_decay(features, labels, classifier, bias=None, *, loss: AbstractLoss) -> FittedDecay:
    r"""Fit $\lambda_W$ and $\lambda_H$ to the last layer of any network.

    Least squares on the equations of a stationary point. With $G = \partial(\text{mean
    loss})/\partial Z$ those are $G H^\top + \lambda_W W = 0$ and $W^\top g_c + \lambda_H m_c h_c =
    0$ for each column. Every sample of a column counting once, it gives $$\lambda_W =
    -\frac{\langle G, WH\rangle}{\|W\|^2},\qquad \lambda_H = -\frac{\langle G, WH\rangle}{\sum_c
    m_c\|h_c\|^2},$$ so that $\lambda_W\|W\|^2 = \lambda_H\sum_c m_c\|h_c\|^2$, the balance of every
    stationary point, holds by itself.

    Parameters
    ----------
    features, labels
        (d, C) and `Labels`, as `ufm.load_features` returns them, or whole numbers (C,), the class
        of each column. Single precision is widened to that of `Labels`.
    classifier
        (K, d).
    bias
        (K,) or None: a bias is taken as free of decay.
    loss
        The loss that the network was trained with.

    Returns
    -------
    FittedDecay
        A network trained to the end with decay λ on its last layer gives back $\lambda_W = \lambda$
        to the accuracy of its training; its $\lambda_H$ is an effective one, what the layers below
        charge for features of this size.

    Raises
    ------
    ValueError
        For shapes that do not fit, arrays that are wider than `Labels`, numbers of classes that the
        classifier has not, features or a classifier at zero, and $\langle G,
        WH\rangle \ge 0$: where the loss does not fall as the logits grow, no decay > 0 holds the
        point.

    Notes
    -----
    Source: derived. It does not hold for a network with several linear layers after the features
    (pass their product, and $\lambda_W$ is an effective one too), nor for a last layer without
    decay, which has no stationary point.
    """
    model, params = _last_layer(features, labels, classifier, bias, loss)
    labels = model.labels
    W, H, masses = params.classifier, params.features, labels.masses
    G = _logit_gradient(model, params)
    # in units in which no square overflows or underflows
    unit_W, unit_H, unit_G = (float(unit(array)) for array in (W, H, G))
    W, H, G = W / unit_W, H / unit_H, G / unit_G
    pull = -float(jnp.sum(G * (W @ H)))
    size_W, size_H = float(jnp.sum(W**2)), float(jnp.dot(masses, jnp.sum(H**2, axis=0)))
    require(size_W > 0, "`classifier` must not be zero", size_W)
    require(size_H > 0, "`features` must not be zero", size_H)
    require(
        pull > 0,
        "`features` and `classifier` must give logits W H along which the loss falls, -<G, W H> "
        "> 0, for a decay > 0",
        pull * unit_G * unit_W * unit_H,
    )
    share_W, share_H = pull / size_W, pull / size_H
    # a column of mass m is m samples, each with the gradient W^T g / m
    per_sample = (W.T @ G) / jnp.sqrt(masses)[None, :]
    residual_H = _share(per_sample + share_H * H * jnp.sqrt(masses)[None, :], per_sample)
    slope_W = G @ H.T
    lambda_W, lambda_H = share_W * (unit_H / unit_W) * unit_G, share_H * (unit_W / unit_H) * unit_G
    return FittedDecay(
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        residual_W=_share(slope_W + share_W * W, slope_W),
        residual_H=residual_H,
        residual_b=None
        if params.bias is None
        else _share(
            jnp.sum(G, axis=1), G / jnp.sqrt(masses)[None, :] * jnp.sqrt(labels.num_samples)
        ),
        problem=Problem(
            labels,
            loss=loss,
            widths=model.widths,
            lambda_W=lambda_W,
            lambda_H=lambda_H,
            bias=model.bias,
        ),
    )


def _last_layer(features, labels, classifier, bias, loss: AbstractLoss) -> tuple[Problem, Params]:
    """The model without decay, and the measured point as one of its points; else `ValueError`."""
    known = isinstance(labels, AbstractLabels)
    working = labels.dtype if known else None
    given = [
        _finite("features", features, 2, working),
        _finite("classifier", classifier, 2, working),
        None if bias is None else _finite("bias", bias, 1, working),
    ]
    d = len(given[0])
    words = f"`classifier` must have shape (K, d) with d = {d}, that of `features`"
    # a table of samples has them as its rows
    turned = given[0].shape[1] == given[1].shape[1] != d
    hint = " (one column a sample: pass `features.T`)" if turned else ""
    require(given[1].shape[1] == d, words + hint, given[1].shape)
    if not known:
        given = at_one_width(*given)
        labels = _of_classes(labels, len(given[1]), given[0].dtype)
    # a class that is the likeliest of no column, as words of a text are, has no mean but a row
    C, K = given[0].shape[1], labels.num_classes
    words = f"`labels` must have {C} columns, like `features`"
    require(labels.num_columns == C, words, labels.num_columns)
    words = f"`classifier` must have shape (K, d) = {(K, d)}"
    require(given[1].shape == (K, d), words, given[1].shape)
    if bias is not None:
        require(given[2].shape == (K,), f"`bias` must have shape ({K},)", given[2].shape)
    model = Problem(
        labels,
        loss=loss,
        widths=(d,),
        lambda_W=0.0,
        lambda_H=0.0,
        bias=None if bias is None else "free",
    )
    point = Params((given[1],), given[0], given[2])
    return model, check_params(model, point, name="last layer")


def _finite(name: str, value, ndim: int, working) -> Array:
    """A finite array in the dtype of the labels, if these have one."""
    require_finite(name, value, ndim=ndim)
    array = as_floats(name, value, ndim=ndim, working=working)
    if working is None:
        return array
    words = f"`{name}` must be no wider than `labels`, which are {working}"
    require(np.promote_types(array.dtype, working) == working, words, array.dtype)
    return array.astype(working)


def _of_classes(labels, K: int, dtype) -> AbstractLabels:
    """One-hot labels from the class of each column, as whole numbers."""
    words = "ufm.Labels (see ufm.one_hot and ufm.soft) or whole numbers"
    require(not isinstance(labels, str | bytes | dict), f"`labels` must be {words}", Shown(labels))
    index = np.asarray(require_real("labels", labels, ndim=1))
    require(np.issubdtype(index.dtype, np.integer), f"`labels` must be {words}", index.dtype)
    inside = np.all((index >= 0) & (index < K))
    words = f"`labels` must lie in [0, {K}), the rows of `classifier`"
    require(inside, words, f"{index.min()} to {index.max()}")
    return soft(np.eye(K)[:, index], dtype=dtype)


@jax.jit
def _logit_gradient(problem: Problem, params: Params) -> Array:
    """The gradient of the mean loss in the logits, (K, C)."""
    return jax.grad(lambda Z: fit(problem, Z))(params.logits)


def _percent(share: float) -> str:
    """With as many nines as there are, and never 100 % of what is not all."""
    digits = 1 if share <= 0 or share >= 1 else max(1, math.ceil(-math.log10(1 - share)) - 1)
    return f"{100 * share:.{min(digits, 9)}f} %"


def _share(rest: Array, whole: Array) -> float:
    """The norm of a rest as a fraction of the norm of the whole."""
    return float(norm(rest) / norm(whole))
