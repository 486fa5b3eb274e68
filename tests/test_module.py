"""Our classes of arrays."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm._module import Module


class Scaled(Module):
    factor: jax.Array

    def of(self, x):
        return self.factor * x


def test_methods_are_methods_and_compile():
    scaled = Scaled(jnp.asarray(3.0))
    # (equinox's are trees of arrays, by a function of Python around every look at an attribute)
    assert Module.__getattribute__ is object.__getattribute__
    assert float(jax.jit(scaled.of)(2.0)) == 6.0
    assert float(jax.grad(lambda s: s.of(2.0))(scaled).factor) == 2.0
    np.testing.assert_array_equal(jax.vmap(scaled.of)(jnp.arange(3.0)), [0.0, 3.0, 6.0])


def test_they_are_equinox_modules_all_the_same():
    scaled = Scaled(jnp.asarray(3.0))
    assert isinstance(scaled, eqx.Module)
    with pytest.raises(AttributeError, match="factor"):
        scaled.factor = 4.0
    assert float(eqx.tree_at(lambda s: s.factor, scaled, jnp.asarray(4.0)).factor) == 4.0


def test_ours_are_all_of_this_kind():
    problem = ufm.Problem(
        ufm.one_hot((1, 1, 1), collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=(3,),
        lambda_W=1e-2,
        lambda_H=1e-2,
    )
    parts = problem, problem.labels, problem.loss, problem.features, problem.map
    assert all(isinstance(part, Module) for part in (*parts, ufm.solvers.Newton()))


def test_no_class_is_an_equinox_module_directly():
    files = Path(ufm.__file__).parent.rglob("*.py")
    direct = [file.name for file in files if "(eqx.Module" in file.read_text(encoding="utf-8")]
    assert direct == ["_module.py"]
