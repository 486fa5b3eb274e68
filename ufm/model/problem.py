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
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._classes.module import Module
from ufm._validate import concrete, require
from ufm.domains import AbstractDomain, Real
from ufm.labels import AbstractLabels
from ufm.losses import AbstractLoss
from ufm.losses.offset import OffsetLoss
from ufm.maps import AbstractMap, Product
from ufm.model.arguments import (
    checked_anchor,
    checked_bias,
    checked_decays,
    checked_domain,
    checked_factors,
    checked_map,
    checked_widths,
    require_domains,
    require_sample_loss,
    require_targets,
)
from ufm.model.blocks import Block, Blocks
from ufm.model.params import Params
from ufm.model.plain import arguments_of, as_document

_REAL = Real()
_PRODUCT = Product()


class Problem(Module):
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

    λ must be given of what nothing else holds, and is 0 unless given of a factor that a ball, a
    sphere or a budget bounds (of all factors: M = 1), of fixed weights, and of features with an
    anchor. λ = 0 is accepted of all (gradient flows without decay are well posed); minimisers,
    closed forms and certificates require λ > 0 on every factor that no domain bounds.

    Raises `ValueError` for widths below 1, an activation with nothing to act between (M = 1),
    domains whose parameters do not fit, a domain of frozen weights, negative or non-finite λ, none
    where one must be given, a wrong number of λ_W, targets with which the loss has no minimum
    (`AbstractLoss.check_targets`), `beta` without `anchor` or the reverse, and arrays of the wrong
    shape or dtype.
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
        lambda_W=None,
        lambda_H=None,
        bias=None,
        anchor=None,
        beta=None,
        fixed_weights=None,
        features: AbstractDomain = _REAL,
        classifier: AbstractDomain = _REAL,
        activation: str | None = None,
        map: AbstractMap = _PRODUCT,
    ):
        require_sample_loss(labels, loss)
        require_domains(features=features, classifier=classifier)
        map = checked_map(map, activation)
        require_targets(labels, loss)
        dtype, (K, C) = labels.dtype, (labels.num_classes, labels.num_columns)
        self.labels = labels
        self.bare_loss = loss
        self.widths = checked_widths(widths, map)
        self.bias, self.lambda_b = checked_bias(bias, dtype)
        self.anchor, self.beta = checked_anchor(anchor, beta, (self.widths[0], C), dtype)
        self.features = checked_domain("features", features, (self.feature_dim, C), labels.masses)
        # (an array of ones takes longer to make than all that is checked)
        self.classifier = (
            checked_domain(
                "classifier", classifier, (self.weight_shapes[0][1], K), jnp.ones(K, dtype)
            )
            if classifier.constrained
            else classifier
        )
        self.map = map.fitted(C, dtype)
        words = "`map` must be the product of the factors where labels are too large for all logits"
        require(self.map.identity or self.chunk is None, words, map)
        self.fixed_weights = checked_factors(fixed_weights, self.weight_shapes, classifier, dtype)
        decays, held = (lambda_W, lambda_H), self._held()
        self.lambda_W, self.lambda_H = checked_decays(*decays, self.depth, dtype, held=held)

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

        The rest stays, but for λ = 0 of what was held by a domain, fixed weights or an anchor that
        go: it must be given. An `activation` takes the place of the map, unless a `map` is given
        too.

        Raises
        ------
        ValueError
            For what is no argument, and as the constructor does.
        """
        given = self._given() | self._undecayed()
        strange = [name for name in changes if name not in (*given, "activation")]
        words = f"`changes` must be among {', '.join((*given, 'activation'))}"
        require(not strange, words, strange)
        if "activation" in changes:
            given["map"] = _PRODUCT
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

    def _undecayed(self) -> dict[str, None]:
        """λ of what something else holds, if it is 0: to be given where that goes."""
        (of_factors, of_features), zero = self._held(), {}
        if of_factors and _is_zero(self.lambda_W):
            zero["lambda_W"] = None
        if of_features and _is_zero(self.lambda_H):
            zero["lambda_H"] = None
        return zero

    def _held(self) -> tuple[bool, bool]:
        """Whether all factors, and the features, are held by something else than decay."""
        bounded = self.classifier.compact and self.depth == 1
        return bounded or self.frozen, self.features.compact or self.anchor is not None

    @property
    def free_shifts(self) -> int:
        """In how many ways a free bias moves logits for nothing: where a loss has a flat direction,
        as many as there are groups of classes that meet in columns."""
        flat = self.free_bias and self.loss.flat_direction(self.labels.num_classes) is not None
        return len(np.unique(self.labels.shift_groups)) if flat else 0

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
    def loose(self) -> tuple[str, ...]:
        """The domains, by name, that may have constraints without a multiplier in certificates."""
        return tuple(f"{x.name} {name}" for name, x in self.domains.items() if not x.tight)

    @property
    def chunk(self) -> int | None:
        """How many columns of logits exist at a time: None where all do."""
        # (a method of a module that is asked for is a module, made anew each time)
        return type(self.labels).chunk(self.labels, self.feature_dim)

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
        """Whether a ReLU, leaky or not, stands between factors, so that minima lie on kinks."""
        return self.map.kinked and self.depth > 1

    @property
    def bounded(self) -> bool:
        """Whether a domain bounds some free factor, so that lengths are not held by decay alone."""
        return any(domain.compact for domain in self.domains.values())

    @property
    def logarithmic(self) -> bool:
        """Whether solvers minimise the logarithm of the objective, where labels compare classes.

        Without decay a loss can fall below any tolerance of its own.
        """
        return self.bounded and self.loss.exponential

    @property
    def feature_decay(self) -> Float[Array, ""]:
        """What holds a feature: λ_H, and β of an anchor."""
        return self.lambda_H if self.beta is None else self.lambda_H + self.beta

    @property
    def decays(self) -> Float[Array, " factors"]:
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
    def zero_bias(self) -> Float[Array, " K"] | None:
        """A bias of zeros, None in a problem without one."""
        return jnp.zeros(self.labels.num_classes, self.dtype) if self.has_bias else None

    @property
    def free_bias(self) -> bool:
        """Whether the bias is free of decay, so that residuals sum to 0 at a stationary point."""
        return self.bias == "free"

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


def _is_zero(value: Array) -> bool:
    """Whether it is known to be 0."""
    known = concrete(value)
    return known is not None and not np.any(known)


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
