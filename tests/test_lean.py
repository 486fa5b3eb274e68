"""What a lean run leaves out: combinations and what is marked `thorough`, and never another test or
a value of a parameter."""

import itertools
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import lean


@dataclass(eq=False)
class Item:
    """What `lean` asks of a collected test."""

    path: Path
    originalname: str
    parameters: dict = field(default_factory=dict)
    marks: frozenset[str] = frozenset()

    stays: tuple[str, ...] | None = None

    @property
    def callspec(self):
        return SimpleNamespace(
            params=self.parameters, id="-".join(map(str, self.parameters.values()))
        )

    @property
    def nodeid(self):
        return f"{self.path}::{self.originalname}[{self.callspec.id}]"

    def get_closest_marker(self, name):
        if name == "lean":
            return None if self.stays is None else SimpleNamespace(args=self.stays)
        return name if name in self.marks else None


def product(path, name, *marks, **values):
    """A test with every combination of its parameters."""
    return [
        Item(Path(path), name, dict(zip(values, combination, strict=True)), frozenset(marks))
        for combination in itertools.product(*values.values())
    ]


def test_every_value_and_every_test_of_a_file_stays():
    items = [
        *product("a.py", "test_values", loss=["ce", "mse", "focal"], bias=[None, "free"]),
        *product("a.py", "test_gradients", loss=["ce", "mse", "focal"], bias=[None, "free"]),
        Item(Path("a.py"), "test_alone"),
    ]
    kept = lean.choice(items)
    assert frozenset().union(*map(lean.features, kept)) == frozenset().union(
        *map(lean.features, items)
    )
    # three losses, two of them in one test and one in the other, and the test without parameters
    assert len(kept) == 4
    assert kept == [item for item in items if item in kept]


def test_a_value_in_one_file_says_nothing_of_another():
    items = [
        *product("a.py", "test_values", loss=["ce", "mse"]),
        *product("b.py", "test_values", loss=["ce", "mse"]),
    ]
    assert lean.choice(items) == items


def test_what_is_whole_stays_whole():
    items = product("a.py", "test_values", "whole", loss=["ce", "mse"], bias=[None, "free"])
    others = product("a.py", "test_others", loss=["ce", "mse"], bias=[None, "free"])
    kept = lean.choice([*items, *others])
    assert kept[:4] == items
    assert len(kept) == 6


@pytest.mark.parametrize("others", [(), ("whole",)], ids=["alone", "whole"])
def test_what_is_thorough_is_left_out_and_covers_nothing(others):
    left_out = product("a.py", "test_values", "thorough", *others, loss=["ce"], bias=["free"])
    stay = product("a.py", "test_others", loss=["ce"], bias=["free"])
    assert lean.choice([*left_out, *stay]) == stay


@pytest.mark.parametrize("marks", [(), ("whole",)], ids=["alone", "whole"])
def test_of_a_test_that_names_some_values_those_stay(marks):
    items = product("a.py", "test_values", *marks, loss=["ce", "mse", "focal"])
    for item in items:
        item.stays = ("mse",)
    assert lean.choice(items) == [items[1]]
    with pytest.raises(pytest.UsageError, match=r"a.py::test_values .* \['mse'\]"):
        lean.choice([items[0], items[2]])


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("second", range(3))
def test_this_run_leaves_out_only_combinations(first, second, request):
    """As pytest itself collected them."""
    of_here = [item for item in request.session.items if item.path == request.node.path]
    values = {
        (name, value)
        for item in of_here
        if item.originalname == request.node.originalname
        for name, value in item.callspec.params.items()
    }
    assert values == set(itertools.product(("first", "second"), range(3)))
    thorough = request.config.getoption("thorough")
    among = [item for item in of_here if item.originalname == request.node.originalname]
    assert len(among) == (9 if thorough else 3)


def test_a_run_that_names_its_tests_is_thorough_in_its_workers_too():
    """They collect by themselves."""
    test = "tests/test_lean.py::test_this_run_leaves_out_only_combinations"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n1", test],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[1],
    )
    assert "9 passed" in done.stdout, done.stdout
