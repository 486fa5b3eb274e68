"""A graph convolution as a map, graphs whose classes are an equitable partition, and others."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import ufm


class GraphConvolution(ufm.maps.AbstractMap):
    r"""$Z = WH\hat A$: every node sees the mean of its neighbours."""

    name: ClassVar[str] = "graph-convolution"
    linear: ClassVar[bool] = True
    right: ClassVar[bool] = True
    adjacency: Float[Array, "C C"] = eqx.field(converter=jnp.asarray)

    def logits(self, weights, features):
        """Those of the product, averaged over neighbours."""
        return weights[0] @ features @ self.adjacency

    def of_sizes(self, sizes):
        """With the absolute values of the operator."""
        return sizes @ jnp.abs(self.adjacency)

    def pulled_back(self, slopes):
        """The adjoint."""
        return slopes @ self.adjacency.T

    def pulled_sizes(self, sizes):
        """The adjoint with absolute values."""
        return sizes @ jnp.abs(self.adjacency.T)


def equitable(K: int, n: int, inside: int, across: int) -> np.ndarray:
    """A graph in which every node has `inside` neighbours (an even number) of its own class and
    `across` of each other one, without any symmetry but that."""
    rng, A = np.random.default_rng(0), np.zeros((K * n, K * n))
    order = [rng.permutation(n) for _ in range(K)]
    for a in range(K):
        for b in range(a, K):
            half = inside // 2
            steps = [*range(1, half + 1)] if a == b else range(across)
            for step in steps:
                ends = order[b][(np.arange(n) + step) % n] + b * n
                A[order[a] + a * n, ends] = 1
                A[ends, order[a] + a * n] = 1
    return A


def drawn(K: int, n: int, inside: int, across: int) -> np.ndarray:
    """A graph of the stochastic block model with these numbers of neighbours in the mean."""
    rng, N = np.random.default_rng(1), K * n
    label = np.repeat(np.arange(K), n)
    chance = np.where(label[:, None] == label, inside / (n - 1), across / n)
    upper = np.triu(rng.random((N, N)) < chance, 1)
    return (upper + upper.T).astype(float)


def graph_problem(*, K, n, inside, across, load, share=0.0, dim=None) -> ufm.Problem:
    """`share` of the operator is that of a random draw; `load` is K √(n λ_W λ_H)."""
    parts = []
    for graph in (equitable, drawn):
        A = graph(K, n, inside, across)
        parts.append(A / A.sum(axis=0))
    lam = load / (K * np.sqrt(n))
    return ufm.Problem(
        ufm.one_hot((n,) * K),
        loss=ufm.MeanSquaredError(),
        widths=(K + 1 if dim is None else dim,),
        lambda_W=2 * lam,
        lambda_H=lam / 2,
        map=GraphConvolution((1 - share) * parts[0] + share * parts[1]),
    )
