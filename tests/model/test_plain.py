"""A problem as plain data and back."""

from __future__ import annotations

import copy
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from tests.extension.parts import LogCosh, Pinned
from ufm.command_line import catalogue

LABELS = ufm.one_hot([3, 2, 1])
BASE = {"loss": ufm.CrossEntropy(), "widths": (4,), "lambda_W": 0.1 / 3, "lambda_H": 1e-3 / 7}
RNG = np.random.default_rng(0)
TARGETS = np.abs(RNG.standard_normal((3, 5)))
INDEX = np.array([[0, 1, 2], [1, 2, 0]])


def problem_of(labels=LABELS, **parts) -> ufm.Problem:
    return ufm.Problem(labels, **{**BASE, **parts})


SQUARED = ufm.MeanSquaredError()
FAMILIES = {
    "one-hot": LABELS,
    "collapsed": ufm.one_hot([3, 2, 1], collapsed=True),
    "smoothed": ufm.labels.smoothed([3, 2, 1], smoothing=0.1),
    "weighted": ufm.Labels(
        jnp.asarray(TARGETS / TARGETS.sum(0)), jnp.arange(1.0, 6.0), jnp.arange(2.0, 7.0)
    ),
    "sparse": ufm.labels.SparseLabels(
        jnp.asarray(INDEX),
        jnp.asarray([[0.7, 0.4, 0.9], [0.3, 0.6, 0.1]]),
        jnp.zeros(3),
        jnp.asarray([1.0, 2.0, 3.0]),
        3,
    ),
    "pairs": ufm.labels.PairLabels(
        jnp.asarray(INDEX[0]), jnp.asarray(INDEX[1]), jnp.asarray([0.1, 0.2, 0.3]), jnp.ones(3), 3
    ),
    "mixup": ufm.mixup(3, 1.0, nodes=4),
}
LOSSES = {
    "cross-entropy": ufm.CrossEntropy(),
    "squared-error": SQUARED,
    "focal": ufm.losses.Focal(1.7),
    "rescaled-squared-error": ufm.losses.RescaledSquaredError(length=2.0, weight=3.0),
    "adjusted-cross-entropy": ufm.losses.AdjustedCrossEntropy(additive=jnp.asarray(TARGETS[:, 0])),
}
DOMAINS = {
    "real": ufm.domains.Real(),
    "nonnegative": ufm.domains.Nonnegative(),
    "sphere": ufm.domains.Sphere(1 / 3),
    "ball": ufm.domains.Ball(jnp.arange(1.0, 7.0)),
    "budget": ufm.domains.Budget(2.0),
    "budget with weights": ufm.domains.Budget(2.0, jnp.arange(1.0, 7.0)),
}
PROBLEMS = {
    **{f"labels {name}": problem_of(labels) for name, labels in FAMILIES.items()},
    **{f"loss {name}": problem_of(loss=loss) for name, loss in LOSSES.items()},
    **{f"features {name}": problem_of(features=part) for name, part in DOMAINS.items()},
    "classifier sphere": problem_of(classifier=ufm.domains.Sphere(2.0)),
    "deep, a decay a factor": problem_of(widths=(4, 5), lambda_W=(0.1, 1 / 3)),
    "free bias": problem_of(bias="free"),
    "penalised bias": problem_of(bias=1 / 3),
    "anchor": problem_of(anchor=RNG.standard_normal((4, 6)), beta=0.7),
    "frozen weights": problem_of(
        widths=(4, 5),
        fixed_weights=(RNG.standard_normal((3, 5)), RNG.standard_normal((5, 4))),
    ),
    "relu": problem_of(widths=(4, 5), activation="relu"),
    "leaky relu": problem_of(widths=(4, 5), map=ufm.maps.Activated("leaky_relu", 0.2)),
    "parts from outside": problem_of(loss=LogCosh(), features=Pinned(0.5)),
    "float32": ufm.Problem(ufm.one_hot([2, 2], dtype=jnp.float32), **BASE),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_comes_back_to_the_last_bit(name):
    problem = PROBLEMS[name]
    document = problem.to_dict()
    again = ufm.Problem.from_dict(json.loads(json.dumps(document)))
    assert bool(eqx.tree_equal(again, problem, typematch=True))
    assert again.to_dict() == document
    # nothing is compiled again for it
    assert jax.tree.structure(again) == jax.tree.structure(problem)


def test_every_loss_and_domain_of_the_library_is_among_the_cases():
    assert {*LOSSES} == {*catalogue.losses()}
    assert {*catalogue.domains()} <= {*DOMAINS}
    families = {type(labels) for labels in FAMILIES.values()}
    assert families == {ufm.Labels, ufm.labels.SparseLabels, ufm.labels.PairLabels}


def test_a_class_is_named_by_its_room_and_the_format_by_its_version():
    document = problem_of().to_dict()
    assert (document["format"], document["version"]) == ("ufm.Problem", 1)
    assert document["loss"] == {"class": "ufm.losses:CrossEntropy", "made_from": {}}
    assert document["widths"] == [4]
    outside = PROBLEMS["parts from outside"].to_dict()
    assert outside["loss"]["class"] == "tests.extension.parts:LogCosh"


class Renamed(ufm.losses.AbstractLoss):
    """Made from `power`, kept as `half`."""

    half: jax.Array

    def __init__(self, power):
        self.half = jnp.asarray(power) / 2

    def __call__(self, logits, targets):
        return jnp.sum(((logits - targets) ** 2) ** self.half, axis=0)


def local_loss() -> ufm.losses.AbstractLoss:
    class Local(LogCosh):
        """Found nowhere but here."""

    return Local()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        pytest.param(
            local_loss(),
            r"`loss` must be of a class at the top of a module that can be imported.*Local",
            id="of-a-function",
        ),
        pytest.param(
            Renamed(2.0),
            "`loss` must keep what it is made from.*; got Renamed without power",
            id="another-name",
        ),
    ],
)
def test_a_part_that_could_not_be_made_again_is_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        problem_of(loss=loss).to_dict()


def test_traced_numbers_are_refused():
    with pytest.raises(ValueError, match="`problem` must hold known numbers"):
        jax.jit(lambda decay: len(problem_of(lambda_H=decay).to_dict()))(1.0)


DOCUMENT = problem_of().to_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"format": "x"}, r'"format"\]` must be "ufm.Problem"; got \'x\'', id="format"),
        pytest.param({"version": 2}, r'"version"\]` must be 1.*; got 2', id="version"),
        pytest.param({"colour": 1}, r"of a problem alone; got \['colour'\]", id="strange"),
        pytest.param(
            {"loss": {"class": "nowhere:Loss", "made_from": {}}},
            "`loss` must be of a class that can be imported, an AbstractLoss; got 'nowhere:Loss'",
            id="no-module",
        ),
        pytest.param(
            {"loss": {"class": "ufm.domains:Real", "made_from": {}}},
            "`loss` must be of a class .* an AbstractLoss",
            id="of-another-kind",
        ),
        pytest.param(
            {"loss": {"class": "ufm.losses:Focal", "made_from": {"gama": 1.0}}},
            "`loss` must be what Focal is made from; got .*gama",
            id="made-from-something-else",
        ),
        pytest.param({"loss": {"kind": 1}}, "`loss` must have a class", id="no-class"),
        pytest.param(
            {"lambda_W": {"dtype": "float64", "shape": [3], "data": [1.0]}},
            "`lambda_W` must be an array; got",
            id="array-of-another-shape",
        ),
        pytest.param({"lambda_H": -1.0}, "`lambda_H` must be", id="checked-as-any-other"),
    ],
)
def test_a_document_that_is_none_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ufm.Problem.from_dict({**copy.deepcopy(DOCUMENT), **change})


def test_an_argument_that_lacks_is_named():
    with pytest.raises(ValueError, match=r"every argument of a problem; got none for \['map'\]"):
        ufm.Problem.from_dict({name: part for name, part in DOCUMENT.items() if name != "map"})


def test_double_precision_is_not_lost_in_silence():
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match="`jax_enable_x64` must be on to read"),
    ):
        ufm.Problem.from_dict(DOCUMENT)
