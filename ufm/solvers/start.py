"""Random starts. They know the sizes of λ and targets, and nothing of any optimum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._validate import require_instance, require_key, require_positive
from ufm.batch.layout import one_by_one
from ufm.model import Params, Problem, require_decay

# From this ratio of sides on, the singular values of a Gaussian matrix lie within a third of each
# other.
_NEARLY_ORTHONORMAL = 8
# One layer has no local minima to avoid, and a small start has less to unlearn: a third fewer
# Hessian-vector products.
_ONE_LAYER = 0.3


def random_start(problem: Problem, *, key: PRNGKeyArray, std: float | None = None) -> Params:
    r"""A random point: factors and features at random, zero bias, frozen factors as they are.

    With `std`, independent Gaussian entries of that standard deviation, as the papers' scripts have
    it (0.1, say). Without it, each factor is a random matrix with orthonormal rows or columns,
    times $\sqrt{\Lambda/\lambda_m}\,s^{1/(M+1)}$ with $\Lambda$ the geometric mean of all λ and s
    the root mean square singular value of the mass-weighted targets (0.3 of that for M = 1). For M
    >= 2 the origin is a local minimum that attracts small starts, and the small singular values of
    a product of Gaussian matrices are small starts too: of 12 starts on ten balanced classes all
    reach the global optimum with orthonormal factors at M = 2, 3, 4, 6, half of them with Gaussian
    ones of mixed scales.

    Where a factor has a domain, each of its vectors is then moved there (`AbstractDomain.start`):
    nonnegative features are the absolute values, those on a sphere have its radius.

    Raises `ValueError` for `std` <= 0, and without `std` for λ = 0.
    """
    require_instance("problem", problem, Problem)
    require_key("key", key)
    if std is None:
        require_decay(problem, "a start scaled to the problem; pass `std`")
    else:
        require_positive("std", std, shape=())
    return _random_start(
        problem,
        key,
        None if std is None else jnp.asarray(std, problem.dtype),
        jnp.ones((), problem.dtype),
    )


@jax.jit
def _random_start(
    problem: Problem, key: PRNGKeyArray, std: Float[Array, ""] | None, multiple: Float[Array, ""]
) -> Params:
    labels = problem.labels
    shapes = (*problem.weight_shapes, (problem.feature_dim, labels.num_columns))
    # one key per factor: a shared key would start W and H with equal entries
    keys = jax.random.split(key, len(shapes))
    normals = [
        jax.random.normal(k, shape, problem.dtype) for k, shape in zip(keys, shapes, strict=True)
    ]
    if std is not None:
        factors = [std * normal for normal in normals]
    else:
        Lambda, typical = problem.sizes
        multiple = multiple * (_ONE_LAYER if problem.depth == 1 else 1)
        size = multiple * jnp.sqrt(Lambda) * typical ** (1 / (problem.depth + 1))
        scale = jnp.sqrt(problem.decays)
        factors = [
            _orthonormal(normal) * (size / s) for normal, s in zip(normals, scale, strict=True)
        ]
        # equal singular values for the mass-weighted features, which is what the balance of a
        # stationary point is about
        factors[-1] = factors[-1] / jnp.sqrt(labels.masses)[None, :]
    bias = jnp.zeros(labels.num_classes, problem.dtype) if problem.has_bias else None
    free = problem.free_part(Params(weights=tuple(factors[:-1]), features=factors[-1], bias=bias))
    return problem.filled(problem.blocks.apply(lambda block, value: block.start(value), free))


def _orthonormal(normal: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """A Gaussian matrix made orthonormal on its shorter side.

    One much longer than wide is so nearly already and only scaled.
    """
    rows, columns = normal.shape
    if max(rows, columns) >= _NEARLY_ORTHONORMAL * min(rows, columns):
        return normal / jnp.sqrt(max(rows, columns))
    return _orthonormal_columns(normal) if rows >= columns else _orthonormal_columns(normal.T).T


_orthonormal_columns = one_by_one(lambda tall: jnp.linalg.qr(tall)[0])


def random_starts(problem: Problem, key: PRNGKeyArray, number: int) -> Params:
    """`number` starts, stacked.

    The first at the problem's scale, the others at 0.35 to 1.4 times it. Runs inside `jit`.
    """
    key_scale, key_start = jax.random.split(key)
    # larger ones overshoot into the origin of a deep product, smaller ones lose the classes that
    # need a large start
    exponents = jax.random.uniform(key_scale, (number,), problem.dtype, -1.5, 0.5).at[0].set(0.0)
    keys = jax.random.split(key_start, number)
    return jax.vmap(lambda k, e: _random_start(problem, k, None, 2.0**e))(keys, exponents)
