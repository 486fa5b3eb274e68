"""What a loss is: a function of the logits of samples, with its convex conjugate and best bias."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._classes.named import AbstractNamed
from ufm._exact.fractions import fractions
from ufm.labels import AbstractLabels
from ufm.losses.parameters import per_class
from ufm.losses.rounding import generous, rounding_of_conjugate, unit_roundoff
from ufm.losses.rows import AbstractRows, DifferentiatedRows


class AbstractLoss(AbstractNamed):
    """A loss of the logits.

    Its value, and what it says of itself to those who would otherwise ask for its type.

    A new loss gives `name` and `__call__`; one that is convex gives `conjugate` for certificates,
    and `best_bias` for certificates with a free bias. Everything else has a default.

    `name`: what the command line, SPEC.toml and messages call it; that of the class unless given.
    `convex`: whether it is convex in the logits; one that is not has no certificate.
    `shift_invariant`: whether a number added to all logits of a sample costs nothing, for targets
    that sum to one. `least_squares`: whether it is half the squared distance of logits and targets.
    `needs_every_class`: whether it falls for ever with the logits of a class that no target holds,
    so that with a free bias the infimum is not attained. `exponential`: whether it is positive and
    falls like the exponential of logits that grow, so that where domains bound the factors its
    logarithm is what can be minimised. `drops_classes`: whether the logit of a class may be −∞,
    which takes it out of a sample's loss. `by_column`: whether it is another one for each column.
    `searches_conjugate`: whether `conjugate` is the best value that a search finds, and so above
    the conjugate where logits are too large for it.
    """

    # (a loss that wraps another works these out, which pyright is told where it does)
    convex: ClassVar[bool] = True
    shift_invariant: ClassVar[bool] = False
    needs_every_class: ClassVar[bool] = False
    exponential: ClassVar[bool] = False
    least_squares: ClassVar[bool] = False
    drops_classes: ClassVar[bool] = False
    by_column: ClassVar[bool] = False
    searches_conjugate: ClassVar[bool] = False

    def canonical(self) -> AbstractLoss:
        """The simplest loss with the same values.

        Itself where there is none, or while parameters are traced.
        """
        return self

    @property
    def shifts(self) -> Float[Array, "_ _"] | None:
        """What is added to the logits of which this is the cross-entropy, (1, 1), (K, 1) or (K, C).

        None for another loss.
        """
        return None

    def of_columns(self, columns) -> AbstractLoss:
        """The loss of some of the columns, an index array or a slice; itself where all have one."""
        return self

    def flat_direction(self, num_classes: int) -> Float[Array, " K"] | None:
        """Logits (K,) of which any multiple may be added to a sample's for nothing.

        None where there are none.
        """
        return jnp.ones(num_classes) if self.shift_invariant else None

    def rows(
        self, root: Float[Array, "K K"], scale: Float[Array, ""], gamma: Float[Array, ""]
    ) -> AbstractRows:
        r"""Its derivatives for rows of logits under one classifier.

        Parameters
        ----------
        root
            $S = (WW^\top)^{1/2}$ (K, K).
        scale
            The mean of $S^2$ over the contrasts.
        gamma
            Decay of a feature.

        Returns
        -------
        AbstractRows
            Found by differentiation, unless the loss knows of a structure.
        """
        return DifferentiatedRows(self)

    @abstractmethod
    def __call__(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """Loss of every sample: classes on the first axis, samples on any further ones."""

    def conjugate(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        r"""$\ell^*(u; q) = \sup_z u^\top z - \ell(z; q)$.

        Parameters
        ----------
        dual, targets
            u and q, one sample a column (K, ...).

        Returns
        -------
        Float[Array, ...]
            Of every sample; $+\infty$ outside its domain.

        Raises
        ------
        ValueError
            Unless the loss has one.
        """
        raise self._missing("conjugate", "a conjugate")

    def best_bias(
        self,
        logits: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, " K"]:
        r"""$\arg\min_b \sum_c \omega_c\,\ell(z_c + b; q_c)$.

        Parameters
        ----------
        logits, targets
            (K, C), without the bias.
        column_weights
            $\omega$ (C,).

        Returns
        -------
        Float[Array, " K"]
            Any minimiser where a shift of all logits costs nothing.

        Raises
        ------
        ValueError
            Unless the loss has one.
        """
        raise self._missing("best_bias", "its best bias")

    def _missing(self, method: str, what: str) -> ValueError:
        if not self.convex:
            return ValueError(f"`loss` must be convex in the logits for {what}; got {self}")
        return ValueError(f"`loss` must define `{method}` for {what}; got {self}, which does not")

    def lacking(self, method: str) -> AbstractLoss | None:
        """The loss that leaves a method undefined, itself or a part; None where all is there.

        Parameters
        ----------
        method
            "conjugate" or "best_bias", without which convex losses do.

        Returns
        -------
        AbstractLoss | None
            The first such loss.
        """
        defined = getattr(type(self), method) is not getattr(AbstractLoss, method)
        return None if defined else self

    def centring(self, mean_dual: Float[Array, " K"], mean_target: Float[Array, " K"]) -> Any:
        r"""What `centred` needs to make $\sum_c\omega_c u_c$ vanish.

        Parameters
        ----------
        mean_dual
            That sum (K,), for the gradients as they are.
        mean_target
            $\sum_c\omega_c q_c$ (K,).

        Returns
        -------
        Any
            Arrays, passed to `centred` for every column.
        """
        return mean_dual

    def centred(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."], centring: Any
    ) -> Float[Array, "K ..."]:
        r"""Dual columns changed so that $\sum_c\omega_c u_c = 0$, as a free bias asks.

        The mean is subtracted; a loss whose conjugate is infinite somewhere has a better way.

        Parameters
        ----------
        dual, targets
            Gradients of the loss and targets, one sample a column (K, ...).
        centring
            From `centring`.

        Returns
        -------
        Float[Array, "K ..."]
            Within the domain of the conjugate.
        """
        return dual - per_class(centring, beside=dual)

    def check_targets(self, labels: AbstractLabels) -> None:
        """`ValueError` for labels with whose targets the loss has no minimum.

        All are taken unless a loss says otherwise. `labels.numbers()` are all numbers in the
        targets and `labels.sums()` those of the columns, None while they are traced: nobody has to
        write down the matrix.
        """

    def convex_at(self, labels: AbstractLabels) -> bool:
        """Whether it is convex in the logits with these targets.

        Read on the host, True where they are traced.
        """
        return self.convex

    def value_error(
        self, logits: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """What rounding can amount to in the loss of every sample, for exact logits.

        Parameters
        ----------
        logits, targets
            One sample a column (K, ...).

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.

        Notes
        -----
        The default is that of a loss whose terms are of the size of logits and their squares; one
        that loses fewer digits says so, and its small values are certified more sharply.
        """
        size = jnp.sum(jnp.abs(logits) * (1 + jnp.abs(targets)) + targets**2, axis=0)
        return generous(len(targets), logits.dtype) * (1 + jnp.abs(self(logits, targets)) + size)

    def conjugate_error(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> Float[Array, ...]:
        """What rounding can amount to in the conjugate of every sample.

        Parameters
        ----------
        dual, targets
            One sample a column (K, ...); `dual` in the domain, or within rounding of it.

        Returns
        -------
        Float[Array, ...]
            Of every sample, >= 0.
        """
        return rounding_of_conjugate(self.conjugate(dual, targets), dual, targets)

    def conjugate_and_error(
        self, dual: Float[Array, "K ..."], targets: Float[Array, "K ..."]
    ) -> tuple[Float[Array, ...], Float[Array, ...]]:
        """The conjugate of every sample, and what rounding can amount to in it.

        Parameters
        ----------
        dual, targets
            As of `conjugate_error`.

        Returns
        -------
        tuple[Float[Array, ...], Float[Array, ...]]
            Of every sample.

        Notes
        -----
        A loss that searches for both says so here, and searches once.
        """
        return self.conjugate(dual, targets), self.conjugate_error(dual, targets)

    def off_domain(
        self,
        dual: Float[Array, "K ..."],
        targets: Float[Array, "K ..."],
        logits: Float[Array, "K ..."],
    ) -> Float[Array, ...]:
        r"""By how much $u^\top z$ moves as u is brought to the domain of the conjugate, which it is
        off by rounding.

        Parameters
        ----------
        dual, targets
            As of `conjugate_error`.
        logits
            z, any, one sample a column.

        Returns
        -------
        Float[Array, ...]
            Of every sample, or more; 0 where the conjugate is finite around every gradient.
        """
        given = self.share_scale(len(targets))
        if given is None:
            return jnp.zeros(dual.shape[1:], dual.dtype)
        scale = per_class(jnp.asarray(given), beside=dual)
        shares = dual / scale
        below = jnp.sum(jnp.maximum(-(targets + shares), 0), axis=0)
        known = (len(targets) + 4) * unit_roundoff(dual.dtype) * jnp.sum(jnp.abs(shares), axis=0)
        off = jnp.abs(jnp.sum(shares, axis=0)) + 2 * below + known
        return jnp.max(scale * jnp.abs(logits), axis=0) * off

    def least(self, targets: Float[Array, "K ..."]) -> Float[Array, ...]:
        """What the loss of every sample is not below, whatever its logits.

        Parameters
        ----------
        targets
            One sample a column (K, ...).

        Returns
        -------
        Float[Array, ...]
            Of every sample: from the conjugate at 0, less its rounding.
        """
        conjugates, errors = self.conjugate_and_error(jnp.zeros_like(targets), targets)
        return -conjugates - errors

    def centring_pattern(
        self, dual: Float[Array, "K C"], targets: Float[Array, "K C"]
    ) -> Float[Array, "K C"]:
        """How `centred` spreads the change of a row over the columns.

        Parameters
        ----------
        dual, targets
            (K, C), as for `centred`.

        Returns
        -------
        Float[Array, "K C"]
            Entries >= 0, up to a factor a row.
        """
        return jnp.ones_like(dual)

    def centred_together(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
    ) -> Float[Array, "K C"]:
        r"""All dual columns, as `centred` changes them.

        Parameters
        ----------
        dual, targets
            u and q (K, C), where u is a gradient of the loss.
        column_weights
            $\omega$ (C,).

        Returns
        -------
        Float[Array, "K C"]
            With a weighted sum of zero, to rounding.
        """
        centring = self.centring(dual @ column_weights, targets @ column_weights)
        return self.centred(dual, targets, centring)

    def centring_moves(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
        residual: Float[Array, " K"],
    ) -> Float[Array, "K C"]:
        r"""By how much the entries of dual columns change as a weighted sum is taken away.

        Parameters
        ----------
        dual, targets, column_weights
            As for `centred_together`.
        residual
            The size of the sum (K,), or more.

        Returns
        -------
        Float[Array, "K C"]
            Entries >= 0: what a class gives of its own, or more. It goes to others in the column.
        """
        pattern = self.centring_pattern(dual, targets)
        total = (pattern @ column_weights)[:, None]
        return residual[:, None] * pattern / jnp.where(total > 0, total, 1)

    def dual_scale(
        self,
        dual: Float[Array, "K C"],
        targets: Float[Array, "K C"],
        column_weights: Float[Array, " C"],
        *,
        limit: Float[Array, ""],
        quadratic: Float[Array, ""],
    ) -> Float[Array, ""]:
        r"""A good t for $-\sum_c \omega_c \ell^*(t u_c; q_c) - \tfrac12 t^2\,$`quadratic`.

        Parameters
        ----------
        dual, targets
            u and q (K, C), where u is a gradient of the loss.
        column_weights
            $\omega$ (C,).
        limit
            $t_{\max}$.
        quadratic
            >= 0.

        Returns
        -------
        Float[Array, ""]
            In [0, `limit`].

        Notes
        -----
        $\min(1, t_{\max})$ serves every convex loss: t <= 1 stays inside the domain, and at a
        stationary point the slope of the bound at t = 1 is $\lambda_W\|W\|^2 \ge 0$, so that by
        concavity no smaller t is better there.
        """
        return jnp.minimum(1, limit)

    def enclose(self, logits: list, target: list) -> Any:
        """Loss of one column as a ball, for `ufm.prove`.

        Parameters
        ----------
        logits
            K balls (`flint.arb`).
        target
            K numbers (`flint.fmpq`).

        Returns
        -------
        Any
            A `flint.arb` that holds the value.

        Raises
        ------
        ValueError
            Unless the loss has both this and `enclose_conjugate`.
        """
        raise self._without_enclosure()

    def enclose_conjugate(self, dual: list, target: list) -> Any:
        r"""Conjugate of one column as a ball, for `ufm.prove`.

        Parameters
        ----------
        dual, target
            K numbers each (`flint.fmpq`).

        Returns
        -------
        Any
            A `flint.arb` that holds the value, $+\infty$ outside the domain.

        Raises
        ------
        ValueError
            Unless the loss has both this and `enclose`.
        """
        raise self._without_enclosure()

    def share_scale(self, num_classes: int) -> Float[Array, " K"] | None:
        r"""$\Delta$ (K,) of a conjugate that is finite where $q + u/\Delta \ge 0$ sums to $\sum_k
        q_k$.

        None where the conjugate is finite everywhere. A proof makes its dual logits accordingly.
        """
        return None

    def exact_share_scale(self, num_classes: int) -> list | None:
        """Δ as exact fractions, where the dual columns of a proof may be made of shares of it.

        Parameters
        ----------
        num_classes
            K.

        Returns
        -------
        list | None
            K fractions; None where the conjugate is finite everywhere, or around every gradient.
        """
        scale = self.share_scale(num_classes)
        return None if scale is None else fractions(scale)

    def _without_enclosure(self) -> ValueError:
        form = "an interval form, `enclose` and `enclose_conjugate`"
        return ValueError(f"`problem.loss` must have {form}, for a proof; got {self}")
