"""What a SPEC.toml ties together: two decays that are one, and class counts by a ratio.

`Ties` turn the settings that are swept into those of a problem, and may be traced: one program for
all ratios and decays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ufm.command_line.making import problem_of
from ufm.command_line.values import LONGEST, is_number, require, whole

RATIO = "ratio"
_DECAYS = ("lambda_W", "lambda_H")
_WANTED = (
    "a table { classes } or { majority, minority }, and { largest } or { smallest }, where "
    "sweep.ratio is swept"
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Class counts from `largest` down to `smallest`, of which one is given and the other follows
    from their ratio.

    An exponential tail of `classes`, or a step of `majority` and `minority` of them.
    """

    largest: float | None = None
    smallest: float | None = None
    classes: int = 0
    majority: int = 0
    minority: int = 0

    def counts(self, ratio):
        """Class counts (K,) of a ratio, which may be traced; not rounded, as masses need not be
        whole."""
        import jax.numpy as jnp
        import numpy as np

        if self.classes:
            shares = np.arange(self.classes) / (self.classes - 1)
        else:
            shares = np.repeat([0.0, 1.0], [self.majority, self.minority])
        ratio = jnp.asarray(ratio, float)
        if self.largest is not None:
            return self.largest * ratio**-shares
        assert self.smallest is not None
        return self.smallest * ratio ** (1 - shares)


@dataclass(frozen=True)
class Ties:
    """Settings of all problems, a profile of class counts or None, and which decay is which."""

    shared: Mapping[str, Any]
    profile: Profile | None
    same: Mapping[str, str]

    def __call__(self, **swept):
        """The problem of one point of the sweep."""
        settings = {**self.shared, **swept}
        if self.profile is not None:
            settings["class_counts"] = self.profile.counts(settings.pop(RATIO))
        return problem_of(
            **settings, **{name: settings[other] for name, other in self.same.items()}
        )

    @property
    def long_names(self) -> dict[str, str]:
        """What names of their own stand for, as a sweep keeps it."""
        return {} if self.profile is None else {RATIO: "ratio of largest to smallest class"}

    @property
    def names(self) -> tuple[str, ...]:
        """The settings that follow from others."""
        return (*self.same, *(() if self.profile is None else ("class_counts",)))


def untied(problem: Mapping[str, Any], sweep) -> tuple[dict[str, Any], Profile | None, dict]:
    """The rest of a [problem] table, the profile whose ratio is swept, and the decays that are
    others.

    `ValueError` naming key and value for what ties nothing.
    """
    rest = dict(problem)
    same = {}
    for name, other in zip(_DECAYS, reversed(_DECAYS), strict=True):
        if isinstance(rest.get(name), str):
            require(
                rest[name] == other, f"problem.{name}", f'a number >= 0, or "{other}"', rest[name]
            )
            same[name] = rest.pop(name)
    wanted = "a number >= 0, or swept, as lambda_W is tied to it"
    require(len(same) < len(_DECAYS), "problem.lambda_H", wanted, same.get("lambda_H"))
    points = sweep if isinstance(sweep, list) else [sweep]
    if not any(isinstance(point, Mapping) and RATIO in point for point in points):
        return rest, None, same
    key = "problem.class_counts"
    table = rest.pop("class_counts", None)
    require(isinstance(table, Mapping), key, _WANTED, table)
    assert isinstance(table, Mapping)
    ends = {"largest", "smallest"} & set(table)
    kinds = set(table) - ends
    fits = len(ends) == 1 and kinds in ({"classes"}, {"majority", "minority"})
    require(fits, key, _WANTED, dict(table))
    for name in kinds:
        whole(table[name], f"{key}.{name}", least=2 if name == "classes" else 1, most=LONGEST)
    (end,) = ends
    positive = is_number(table[end]) and table[end] > 0
    require(positive, f"{key}.{end}", "a number > 0", table[end])
    columns = rest.get("columns", "collapsed")
    words = '"collapsed" where sweep.ratio is swept, as counts need not be whole'
    require(columns == "collapsed", "problem.columns", words, columns)
    return rest, Profile(**table), same


def ratio_of(value, key: str) -> float:
    """A ratio of class counts; `ValueError` otherwise."""
    require(is_number(value) and value >= 1, key, "a number >= 1", value)
    return float(value)
