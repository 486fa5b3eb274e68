r"""The one problem of the library, and the one place where its normalisation is stated.

$$\min\ \sum_c \omega_c\,\ell(z_c, q_c) + \sum_m \tfrac{\lambda_m}{2}\|W_m\|_F^2
  + \tfrac{\lambda_H}{2}\sum_c m_c\|h_c\|^2 \;[+ \tfrac{\beta}{2}\sum_c m_c\|h_c - h^0_c\|^2]
  + \tfrac{\lambda_b}{2}\|b\|^2,\qquad Z = W_M\cdots W_1 H + b\mathbf 1^\top,$$

with $\omega_c = m_c w_c/\sum m w$: the loss is a mean over samples, the decay of the features a sum
over samples. The weights $w_c$ are 1 unless the labels say otherwise. Columns of H and rows of
$W_M$ may be confined to a domain: nonnegative, a sphere, a ball, one budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import (
    Shown,
    as_array,
    concrete,
    is_traced,
    require,
    require_dtype,
    require_finite,
    require_instance,
    require_nonnegative,
    require_positive,
    require_whole,
)
from ufm.domains import AbstractDomain, Real
from ufm.labels import AbstractLabels
from ufm.losses import AbstractLoss
from ufm.losses.base import require_loss
from ufm.losses.offset import OffsetLoss
from ufm.maps import AbstractMap, Activated, Product
from ufm.model.blocks import Block, Blocks
from ufm.model.params import Params
from ufm.model.plain import arguments_of, as_document

_REAL = Real()
_PRODUCT = Product()


class Problem(eqx.Module):
    r"""A label matrix, a loss on the logits, and decay on the factors.

    See the top of `ufm/model/problem.py` for the objective.

    `labels`: `Labels` with targets (K, C), or others that hold them in another way. `loss`: a loss
    of one sample. `widths` (d_1, …, d_M): feature dimension first; the depth M is its length, W_1
    has shape (d_2, d_1) and W_M has shape (K, d_M). `lambda_W`: one float for all factors or M of
    them, outermost (W_M) first like `Params.weights`. `lambda_H`: decay per sample. `bias`: None,
    "free" (not penalised) or the penalty λ_b > 0. `anchor` (d_1, C) and `beta` > 0 pull the
    features to given ones. `fixed_weights` (W_M, …, W_1) freezes the factors at these values, so
    that only features and bias are free. `features`, `classifier`: where the columns of H and the
    rows of W_M may lie, domains such as `ufm.domains.Sphere(1.0)`; anywhere unless given.
    `activation`: what stands between the factors, "relu" or another of `ufm.maps.Activated`; `map`:
    any other way from factors and features to logits, the product unless given. λ, β,
    masses, targets and radii may be traced: sweeping them does not recompile.

    λ = 0 is accepted here (gradient flows without decay are well posed); minimisers, closed forms
    and certificates require λ > 0 on every factor that no domain bounds.

    Raises `ValueError` for widths below 1, domains whose parameters do not fit, a domain of frozen
    weights, negative or non-finite λ, a wrong number of λ_W, targets with which the loss has no
    minimum (`AbstractLoss.check_targets`), `beta` without `anchor` or the reverse, and arrays of
    the wrong shape or dtype.
    """

    labels: AbstractLabels
    bare_loss: AbstractLoss
    lambda_W: Float[Array, " M"]
    lambda_H: Float[Array, ""]
    lambda_b: Float[Array, ""] | None
    anchor: Float[Array, "d C"] | None
    beta: Float[Array, ""] | None
    fixed_weights: tuple[Float[Array, "_ _"], ...] | None
    features: AbstractDomain
    classifier: AbstractDomain
    map: AbstractMap
    widths: tuple[int, ...] = eqx.field(static=True)
    bias: str | None = eqx.field(static=True)

    def __init__(
        self,
        labels: AbstractLabels,
        *,
        loss: AbstractLoss,
        widths,
        lambda_W,
        lambda_H,
        bias=None,
        anchor=None,
        beta=None,
        fixed_weights=None,
        features: AbstractDomain = _REAL,
        classifier: AbstractDomain = _REAL,
        activation: str | None = None,
        map: AbstractMap = _PRODUCT,
    ):
        require_instance(
            "labels", labels, AbstractLabels, "ufm.Labels; see ufm.one_hot and ufm.soft"
        )
        require_loss(loss, (labels.num_classes, labels.num_columns), labels.dtype)
        for name, domain in (("features", features), ("classifier", classifier)):
            require_instance(
                name, domain, AbstractDomain, "a domain such as ufm.domains.Sphere(1.0)"
            )
        require_instance("map", map, AbstractMap, 'a map such as ufm.maps.Activated("relu")')
        if activation is not None:
            words = "`activation` must not be given together with `map`, which has its own"
            require(map.identity, words, map)
            map = Activated(activation)
        loss.check_targets(labels)
        words = "`labels.offsets` must be finite for this loss, which has to see every class"
        require(loss.drops_classes or not labels.drops, words, f"-inf and {loss}")
        dtype = labels.dtype
        self.labels = labels
        self.bare_loss = loss
        self.widths = _checked_widths(widths)
        M = len(self.widths)
        require_nonnegative("lambda_W", lambda_W)
        several = f"`lambda_W` must be a float or one float per factor (M = {M})"
        require(np.shape(lambda_W) in ((), (M,)), several, Shown(lambda_W))
        require_dtype("lambda_W", lambda_W, dtype)
        require_nonnegative("lambda_H", lambda_H, shape=())
        require_dtype("lambda_H", lambda_H, dtype)
        self.lambda_W = (
            jnp.broadcast_to(jnp.asarray(lambda_W, dtype), (M,))
            if is_traced(lambda_W)
            else jnp.asarray(np.broadcast_to(np.asarray(lambda_W, dtype), (M,)))
        )
        self.lambda_H = as_array(lambda_H, dtype)
        if not isinstance(bias, int | float | np.generic | np.ndarray | jax.Array) or isinstance(
            bias, bool
        ):
            free = isinstance(bias, str) and bias == "free"
            require(
                free or bias is None, '`bias` must be None, "free" or a penalty > 0', Shown(bias)
            )
            self.bias, self.lambda_b = "free" if free else None, None
        else:
            require_positive(
                "bias", bias, ' as a penalty (an unpenalised bias is "free")', shape=()
            )
            require_dtype("bias", bias, dtype)
            self.bias, self.lambda_b = "penalised", as_array(bias, dtype)
        together = "`anchor` and `beta` must be given together"
        require(
            (anchor is None) == (beta is None),
            together,
            f"only {'`anchor`' if beta is None else '`beta`'}",
        )
        if anchor is None:
            self.anchor = self.beta = None
        else:
            assert beta is not None
            require_positive("beta", beta, shape=())
            require_dtype("beta", beta, dtype)
            self.anchor = checked_array(
                "anchor", anchor, (self.widths[0], labels.num_columns), dtype
            )
            self.beta = as_array(beta, dtype)
        K, outermost = labels.num_classes, self.weight_shapes[0][1]
        self.features = features.fitted(
            "features", (self.feature_dim, labels.num_columns), labels.masses
        )
        # (an array of ones takes longer to make than all that is checked)
        self.classifier = (
            classifier.fitted("classifier", (outermost, K), jnp.ones(K, dtype))
            if classifier.constrained
            else classifier
        )
        unbound = not classifier.constrained or fixed_weights is None
        require(
            unbound,
            "`classifier` must not be given together with `fixed_weights`, which leave it no "
            "freedom",
            classifier,
        )
        self.map = map.fitted(labels.num_columns, dtype)
        words = "`map` must be the product of the factors where labels are too large for all logits"
        require(self.map.identity or self.chunk is None, words, map)
        self.fixed_weights = None
        if fixed_weights is not None:
            require_factors("fixed_weights", fixed_weights, M)
            self.fixed_weights = tuple(
                checked_array(f"fixed_weights[{i}]", W, shape, dtype)
                for i, (W, shape) in enumerate(zip(fixed_weights, self.weight_shapes, strict=True))
            )

    def __str__(self) -> str:
        """One line: classes, columns, loss, widths, decay, and what else there is."""
        labels, decays = self.labels, (*_numbers(self.lambda_W), *_numbers(self.lambda_H))
        parts = [
            f"K={labels.num_classes}",
            f"C={labels.num_columns}",
            str(self.loss),
            f"widths={self.widths}",
            f"λ={', '.join(decays)}",
        ]
        if self.bias is not None:
            parts.append(
                "free bias"
                if self.lambda_b is None
                else f"bias with λ_b={_numbers(self.lambda_b)[0]}"
            )
        parts += [f"{name}={domain}" for name, domain in self.domains.items() if domain.constrained]
        parts += [str(self.map)] * (not self.map.identity)
        parts += ["frozen weights"] * self.frozen + ["anchored features"] * (
            self.anchor is not None
        )
        return f"Problem({', '.join(parts)})"

    def replace(self, **changes: Any) -> Problem:
        """The problem with other arguments of the constructor, which checks them.

        The rest stays.
        """
        given = self._given()
        strange = [name for name in changes if name not in given]
        require(not strange, f"`changes` must be among {', '.join(given)}", strange)
        return Problem(**{**given, **changes})

    def to_dict(self) -> dict[str, Any]:
        """The problem as plain data, which JSON can hold: the arguments of its constructor.

        Returns
        -------
        dict
            "format", "version" and "dtype" of the document, and every argument; arrays with dtype
            and shape, parts with the class that they are imported from and what it is made from.

        Raises
        ------
        ValueError
            Inside `jit`, for a part whose class cannot be imported (one of a script, or of a
            function), and for one that does not keep what it is made from.

        Notes
        -----
        Every number of the targets is written: dense labels of many columns make a long document.
        """
        return as_document(self._given(), self.dtype)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Problem:
        """The problem of a document that `to_dict` wrote, to the last bit, checked as any other.

        It imports the modules of the classes that the document names.

        Raises
        ------
        ValueError
            For another format or version, a document in float64 without `jax_enable_x64`, arguments
            that lack or are not known, and a class that is not there.
        """
        return cls(**arguments_of(document, _ARGUMENTS))

    def _given(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        given = {name: getattr(self, name) for name in _ARGUMENTS}
        given["loss"] = self.bare_loss
        given["bias"] = self.lambda_b if self.bias == "penalised" else self.bias
        return given

    @property
    def loss(self) -> AbstractLoss:
        """The loss of logits, all columns at once: that which was given, `bare_loss`, where it does
        not see them through offsets of the labels."""
        offsets = self.labels.offsets
        return self.bare_loss if offsets is None else OffsetLoss(self.bare_loss, offsets)

    @property
    def domains(self) -> dict[str, AbstractDomain]:
        """The domains by the argument that gives them."""
        return {"features": self.features, "classifier": self.classifier}

    @property
    def chunk(self) -> int | None:
        """How many columns of logits exist at a time: None where all do."""
        return self.labels.chunk(self.feature_dim)

    @property
    def unconstrained(self) -> bool:
        """Whether factors may be anything."""
        return not any(domain.constrained for domain in self.domains.values())

    @property
    def frozen(self) -> bool:
        """Whether the weights are fixed."""
        return self.fixed_weights is not None

    @property
    def plain(self) -> bool:
        """Whether it is the unconstrained model with decay alone.

        No domain, no anchor, no frozen weights, no map but the product.
        """
        return self.unconstrained and self.anchor is None and not self.frozen and self.map.identity

    @property
    def kinked(self) -> bool:
        """Whether a ReLU stands between factors, so that minima lie on kinks."""
        return self.map.kinked and self.depth > 1

    @property
    def bounded(self) -> bool:
        """Whether a domain bounds some free factor, so that lengths are not held by decay alone."""
        return any(domain.compact for domain in self.domains.values())

    @property
    def logarithmic(self) -> bool:
        """Whether solvers minimise the logarithm of the objective.

        Without decay a loss can fall below any tolerance of its own.
        """
        return self.bounded and self.loss.exponential

    @property
    def feature_decay(self) -> Float[Array, ""]:
        """What holds a feature: λ_H, and β of an anchor."""
        return self.lambda_H if self.beta is None else self.lambda_H + self.beta

    @property
    def decays(self) -> Float[Array, " M+1"]:
        """λ of every factor, features last, for the natural scale of a start.

        Where there is none, that of the features, or 1.
        """
        lambda_H = self.feature_decay
        if self.bounded:
            positive = jnp.max(jnp.append(self.lambda_W, lambda_H))
            lambda_H = jnp.where(lambda_H > 0, lambda_H, jnp.where(positive > 0, positive, 1))
        return jnp.append(jnp.where(self.lambda_W > 0, self.lambda_W, lambda_H), lambda_H)

    @property
    def blocks(self) -> Blocks:
        """The free factors as solvers see them."""
        labels, K = self.labels, self.labels.num_classes
        outer = self.classifier.unit(self.lambda_W[0], jnp.full((), 1 / K, self.dtype))
        units = (outer, *(jnp.sqrt(lam) for lam in self.lambda_W[1:]))
        domains = (self.classifier, *[_REAL] * (self.depth - 1))
        weights = tuple(
            Block(domain, unit, shape, by_rows=domain.constrained)
            for domain, unit, shape in zip(domains, units, self.weight_shapes, strict=True)
        )
        unit = self.features.unit(self.feature_decay * labels.masses, labels.mass_shares)
        features = Block(self.features, unit, (self.feature_dim, labels.num_columns))
        bias = Block(_REAL, self._bias_unit(), (K,)) if self.has_bias else None
        return Blocks(weights=() if self.frozen else weights, features=features, bias=bias)

    def _bias_unit(self) -> Float[Array, ""]:
        """What the coordinates of a bias are multiplied by.

        A bias has curvature 1 + λ_b, a factor in decay-weighted coordinates typical^(2M/(M+1)) / (N
        Λ): without matching the two, the ball in which Newton trusts its model is a needle (1000
        steps at λ = 1e-6 on a long tail, 60 with it).
        """
        penalty = 1 if self.lambda_b is None else 1 + self.lambda_b
        if self.bounded:
            return jnp.sqrt(jnp.ones((), self.dtype) * penalty)
        M, (Lambda, typical) = self.depth, self.sizes
        curvature = jnp.maximum(
            typical ** (2 * M / (M + 1)) / (self.labels.num_samples * Lambda), 1
        )
        return jnp.sqrt(penalty / curvature)

    @property
    def sizes(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Λ, the geometric mean of the decay of all factors, and the root mean square singular
        value of the mass-weighted targets."""
        lambdas, labels = self.decays, self.labels
        # in the coordinates √m h the loss pulls with N ω / √m, which is √m where all samples count
        # alike
        masses = (
            labels.masses
            if labels.weights is None
            else (labels.num_samples * labels.column_weights) ** 2 / labels.masses
        )
        energy = jnp.dot(masses, labels.squares) / min(labels.num_classes, labels.num_columns)
        return jnp.exp(jnp.mean(jnp.log(lambdas))), jnp.sqrt(energy)

    def logits(self, params: Params) -> Float[Array, "K C"]:
        """Z at a point, bias included. Runs inside `jit`."""
        if self.map.identity:
            return params.logits
        logits = self.map.logits(params.weights, params.features)
        return logits if params.bias is None else logits + params.bias[:, None]

    def head(self, params: Params) -> Params:
        """The last linear layer with what enters it, of which the metrics of collapse speak."""
        if self.map.identity:
            return params
        W, features = self.map.head(params.weights, params.features)
        return Params((W,), features, params.bias)

    def free_part(self, params: Params) -> Params:
        """`params` without the frozen factors."""
        return (
            Params(weights=(), features=params.features, bias=params.bias)
            if self.frozen
            else params
        )

    def projected(self, free: Params) -> Params:
        """The nearest point in the domains."""
        return (
            self.blocks.apply(lambda block, value: block.project(value), free)
            if not self.unconstrained
            else free
        )

    def filled(self, free: Params) -> Params:
        """Inverse of `free_part`."""
        return (
            free
            if self.fixed_weights is None
            else Params(self.fixed_weights, free.features, free.bias)
        )

    @property
    def depth(self) -> int:
        """M, the number of linear layers after the features."""
        return len(self.widths)

    @property
    def feature_dim(self) -> int:
        """d = d_1."""
        return self.widths[0]

    @property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shapes of (W_M, …, W_1)."""
        outward = (*self.widths, self.labels.num_classes)
        return tuple((outward[m + 1], outward[m]) for m in reversed(range(self.depth)))

    @property
    def has_bias(self) -> bool:
        """Whether the logits carry a bias, free or penalised."""
        return self.bias is not None

    @property
    def dtype(self) -> np.dtype:
        """The float dtype of everything in the problem."""
        return self.labels.dtype


_ARGUMENTS = (
    "labels",
    "loss",
    "widths",
    "lambda_W",
    "lambda_H",
    "bias",
    "anchor",
    "beta",
    "fixed_weights",
    "features",
    "classifier",
    "map",
)


def _numbers(value: Array) -> list[str]:
    """Numbers in words, each once where all are equal."""
    values = concrete(value)
    return (
        ["traced"]
        if values is None
        else [f"{x:g}" for x in dict.fromkeys(np.ravel(values).tolist())]
    )


def with_canonical_loss(problem):
    """The same problem with the simplest loss of the same values, whose bounds and structure are
    known."""
    # of the class, as equinox makes an object for a method of an object, which takes longer than
    # the method
    loss = problem.bare_loss
    simplest = type(loss).canonical(loss)
    return problem if simplest is loss else eqx.tree_at(lambda p: p.bare_loss, problem, simplest)


def _checked_widths(widths) -> tuple[int, ...]:
    several = isinstance(widths, tuple | list) and len(widths) >= 1
    require(several, "`widths` must be a tuple (d_1, …, d_M) with M >= 1", Shown(widths))
    return tuple(require_whole(f"widths[{i}]", d) for i, d in enumerate(widths))


def require_factors(name: str, weights, depth: int) -> None:
    """A tuple or list of M factors.

    Parameters
    ----------
    name
        For the message.
    weights
        What the user gave.
    depth
        M.

    Raises
    ------
    ValueError
        For another kind or number.
    """
    several = isinstance(weights, tuple | list)
    wanted = f"`{name}` must hold the M = {depth} factors (W_M, …, W_1)"
    require(several, wanted, Shown(weights))
    require(len(weights) == depth, wanted, len(weights))


def checked_array(name: str, value, shape: tuple[int, ...], dtype) -> Array:
    """A finite array of this shape, in the problem's dtype.

    Parameters
    ----------
    name
        For the message.
    value
        What the user gave.
    shape, dtype
        Which it must have.

    Returns
    -------
    Array
        Itself where it is one already.

    Raises
    ------
    ValueError
        For another shape or dtype, and for numbers that are not finite.
    """
    require_finite(name, value, shape=shape)
    require_dtype(name, value, dtype)
    made = isinstance(value, jax.Array) and value.dtype == dtype and not value.weak_type
    return value if made else as_array(value, dtype)
