"""A small program as one function of machine code.

XLA runs a program on the CPU as a list of kernels, one a fused loop or product, and spends some
three tenths of a microsecond beside each. A Newton step of ten classes is a hundred of them that
take less themselves. A call with a mark is compiled as one kernel, loops and conditions with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun, jaxprs_in_params

# What marks a call: that it is one kernel, and that it stays a call until kernels are made.
_MARKS = {"xla_cpu_small_call": "true", "inlineable": "false"}
# A library's products cannot be called from inside a kernel.
OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}
# What the emitter of such kernels was seen to compile. It knows no sorting, no factorisations, no
# Fourier transform and no call of Python.
_COMPILED = """
abs acos acosh add add_any and argmax argmin asin asinh atan atan2 atanh bitcast_convert_type
broadcast_in_dim cbrt ceil clamp closed_call concatenate cond convert_element_type copy copy_p cos
cosh cummax cummin cumprod cumsum custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr
custom_vmap_call digamma div dot_general dynamic_slice dynamic_update_slice eq erf erf_inv erfc exp
exp2 expm1 floor gather ge gt integer_pow iota is_finite jit le lgamma log log1p logistic lt max min
mul ne neg nextafter not optimization_barrier or pad pjit pow reduce_and reduce_max reduce_min
reduce_or reduce_prod reduce_sum rem reshape rev round rsqrt scan scatter select_n sign sin sinh
slice split sqrt square squeeze stack stop_gradient sub tan tanh tile transpose while xor
"""
_NAMES = frozenset(_COMPILED.split())


def as_one_kernel(function: Callable) -> Callable:
    """A function whose trace is one kernel, if all that it does is known to compile as one.

    Parameters
    ----------
    function
        Of trees of arrays.

    Returns
    -------
    Callable
        To be traced for the CPU, with `OPTIONS`.
    """

    @functools.wraps(function)
    def marked(*arguments, **named):
        given, tree = jax.tree.flatten((arguments, named))

        def flat(*leaves):
            positional, keywords = jax.tree.unflatten(tree, leaves)
            return function(*positional, **keywords)

        closed, shapes = jax.make_jaxpr(flat, return_shape=True)(*given)
        kernel = bool(given) and _compiles(closed.jaxpr)
        found = (_marked if kernel else jaxpr_as_fun)(closed)(*given)
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return marked


def _marked(closed: ClosedJaxpr) -> Callable:
    """The call of a traced function, with the marks on itself.

    And on what JAX traces as late as it lowers, such as loops of `scan`: functions within the
    kernel, which do no harm. An argument of which nothing is left when XLA has simplified the
    kernel, as of rows that are all set to constants, ends the process: so every one is read.
    """

    @jax.jit
    def kernel(*given):
        with set_xla_metadata(**dict.fromkeys(_MARKS)):
            read = functools.reduce(jnp.logical_or, (leaf.ravel()[:1].any() for leaf in given))
            return jaxpr_as_fun(closed)(*given), read

    def call(*given):
        with set_xla_metadata(**_MARKS):
            found, _ = jax.lax.optimization_barrier(kernel(*given))
        return found

    return call


def _compiles(jaxpr: Jaxpr) -> bool:
    return all(
        equation.primitive.name in _NAMES
        and all(_compiles(inner) for inner in jaxprs_in_params(equation.params))
        for equation in jaxpr.eqns
    )
