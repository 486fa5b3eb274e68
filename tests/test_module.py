"""Our classes of arrays."""

import dataclasses
import importlib
import inspect
import pkgutil
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from ufm._classes.module import Displayed, Module
from ufm._validate.words import Shown


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
    assert direct == ["module.py"]


def _classes() -> set[type]:
    """All classes of the library."""
    names = (module.name for module in pkgutil.walk_packages(ufm.__path__, "ufm."))
    modules = (importlib.import_module(name) for name in names if not name.endswith("__main__"))
    found = (each for module in modules for each in vars(module).values() if inspect.isclass(each))
    return {each for each in found if each.__module__.startswith("ufm.")}


def test_what_reads_well_is_shown_in_notebooks():
    # (a word of a message, which nobody is handed; an enumeration shows its name)
    others = {Shown, ufm.Result}
    texts = {each for each in _classes() if "__str__" in vars(each)} - others
    assert ufm.Problem in texts
    assert [each.__name__ for each in texts if not issubclass(each, Displayed)] == []


class Sized(Module):
    size: jax.Array

    def __str__(self) -> str:
        return f"of size {float(self.size):g}\nand no more"


@dataclasses.dataclass(frozen=True)
class Named(Displayed):
    name: str

    def __str__(self) -> str:
        return f"called {self.name}"


def test_text_in_notebooks():
    """A value was `f64[]`: IPython takes the `repr` of a dataclass before what it inherits."""
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    sized = Sized(jnp.asarray(3.0))
    assert pretty(sized) == str(sized)
    assert pretty([sized, Named("it")]) == "[of size 3\n and no more,\n called it]"
    assert repr(Named("it")) == "Named(name='it')"
    # of a batch, which has no words
    batch = jax.vmap(Sized)(jnp.arange(3.0))
    assert pretty(batch) == repr(batch) == "Sized(size=f64[3])"


def test_repr_has_no_address():
    code = ufm.frames.polygon(3)
    assert repr(code) == f"<Code: {code}>"
