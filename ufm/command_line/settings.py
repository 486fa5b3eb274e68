"""Problems as words and numbers.

What `python -m ufm` reads from its options and from a SPEC.toml, checked before anything is
imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ufm.command_line import catalogue

SOLVERS = ("newton", "lbfgs", "projected-newton")
COLUMNS = ("collapsed", "full")
# Whole numbers beyond this fit no counter of JAX; seeds beyond theirs would be cut to equal ones in
# single precision.
LARGEST, LARGEST_SEED = 2**31 - 1, 2**32 - 1
# A list of more values, or of more classes, is a slip: making it takes all memory.
LONGEST = 10**7


def require(condition, key: str, wanted: str, value) -> None:
    """`ValueError` naming key and value unless the condition holds.

    Parameters
    ----------
    condition
        What must hold.
    key, wanted, value
        For the message: which setting, what it must be, and what came.

    Raises
    ------
    ValueError
        "`key` must be wanted; got value".
    """
    if not condition:
        raise ValueError(f"`{key}` must be {wanted}; got {value!r}")


def is_number(value) -> bool:
    """A finite int or float, and no bool."""
    small = not isinstance(value, int) or abs(value) < 2**63
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and small
        and math.isfinite(value)
    )


def is_whole(value, least: int, most: int = LARGEST) -> bool:
    """Whether a value is an int within bounds, and no bool.

    Parameters
    ----------
    value
        Anything.
    least, most
        The bounds, both allowed.

    Returns
    -------
    bool
        True for such an int.
    """
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def whole(value, key: str, *, least: int, most: int = LARGEST) -> int:
    """An int within bounds.

    Parameters
    ----------
    value
        What the user gave.
    key
        Which setting.
    least, most
        The bounds, both allowed.

    Returns
    -------
    int
        The value.

    Raises
    ------
    ValueError
        Naming the key, for anything else.
    """
    huge = isinstance(value, int) and value > most
    require(
        is_whole(value, least, most),
        key,
        f"a whole number {f'<= {most}' if huge else f'>= {least}'}",
        value,
    )
    return value


def seed_of(value, key: str) -> int:
    """The seed of a random key; `ValueError` naming the key otherwise."""
    return whole(value, key, least=0, most=LARGEST_SEED)


def counts_of(value: Any, key: str = "class_counts") -> tuple[int, ...]:
    """Class counts from a list, from words such as "10x100" or "5x500,5x5", or from a table of a
    long tail; `ValueError` otherwise."""
    wanted = (
        'a list of whole numbers >= 1, words such as "10x100" or "500,50,5", { classes, largest, '
        "ratio } or { majority, minority, largest, ratio }"
    )
    if isinstance(value, Mapping):
        kinds = set(value) - {"largest", "ratio"}
        fits = {"largest", "ratio"} <= set(value)
        fits = fits and kinds in ({"classes"}, {"majority", "minority"})
        require(fits, key, wanted, dict(value))
        for name in sorted(kinds):
            whole(value[name], f"{key}.{name}", least=2 if name == "classes" else 1, most=LONGEST)
        whole(value["largest"], f"{key}.largest", least=1)
        require(
            is_number(value["ratio"]) and value["ratio"] >= 1,
            f"{key}.ratio",
            "a number >= 1",
            value["ratio"],
        )
        from ufm.labels import exponential_counts, step_counts

        if "classes" not in value:
            smallest = round(value["largest"] / value["ratio"])
            words = "such that largest / ratio rounds to a sample"
            require(smallest >= 1, f"{key}.ratio", words, value["ratio"])
            return step_counts(
                value["majority"], value["minority"], majority=value["largest"], minority=smallest
            )
        return exponential_counts(value["classes"], largest=value["largest"], ratio=value["ratio"])
    if isinstance(value, str):
        counts: list[int] = []
        for word in value.replace(",", " ").split():
            times, _, each = word.rpartition("x")
            require(all(_is_count(digits) for digits in (each, times or "1")), key, wanted, value)
            require(
                len(counts) + int(times or 1) <= LONGEST, key, f"at most {LONGEST} counts", value
            )
            counts += [int(each)] * int(times or 1)
        value, given = counts, value
    else:
        given = value
    require(
        isinstance(value, list | tuple) and len(value) >= 2 and all(is_whole(n, 1) for n in value),
        key,
        f"{wanted}, >= 2 classes",
        given,
    )
    return tuple(value)


def _is_count(digits: str) -> bool:
    # (more digits than this `int` may refuse to read)
    return digits.isdecimal() and len(digits) <= 20 and int(digits) <= LARGEST


def one_of(choices: tuple[str, ...]) -> Callable[[Any, str], Any]:
    """The check that a value is one of the choices."""

    def check(value, key):
        require(value in choices, key, f"one of {', '.join(map(repr, choices))}", value)
        return value

    return check


def number(value, key):
    """A float >= 0; `ValueError` otherwise."""
    require(is_number(value) and value >= 0, key, "a number >= 0", value)
    return float(value)


def _decays(value, key):
    values: Any = value if isinstance(value, list | tuple) and value else [value]
    require(
        all(is_number(lam) and lam > 0 for lam in values),
        key,
        "a number > 0, or one per factor",
        value,
    )
    return float(values[0]) if values[0] is value else tuple(map(float, values))


def positive(value, key):
    """A float > 0; `ValueError` otherwise."""
    require(is_number(value) and value > 0, key, "a number > 0", value)
    return float(value)


def _widths(value, key):
    value = [value] if is_whole(value, 1) else value
    require(
        isinstance(value, list | tuple) and len(value) >= 1 and all(is_whole(d, 1) for d in value),
        key,
        "whole numbers >= 1",
        value,
    )
    return tuple(value)


def bias_of(value, key: str = "bias"):
    """None for "none", "free", or a penalty > 0; `ValueError` otherwise."""
    if value == "none":
        return None
    require(
        value == "free" or (is_number(value) and value > 0),
        key,
        '"none", "free" or a penalty > 0',
        value,
    )
    return value


def _smoothing(value, key):
    require(is_number(value) and 0 <= value < 1, key, "a number in [0, 1)", value)
    return float(value)


def _loss(value, key):
    words = (
        f"one of {', '.join(map(repr, catalogue.losses()))}, a sum of them with weights > 0, such "
        f'as "cross-entropy+0.1*squared-error", or "package.module:Class" of a loss'
    )
    require(isinstance(value, str), key, words, value)
    require(_entry(catalogue.loss_entry, value, key) is not None, key, words, value)
    return value


def _entry(find: Callable, name: str, key: str):
    """What the catalogue has of that name; a class that it cannot take is named with the key."""
    try:
        return find(name)
    except ValueError as error:
        raise ValueError(f"`{key}`: {error}") from error


def activation_of(value, key: str = "activation"):
    """The name of an activation, "none" for none; `ValueError` otherwise."""
    # (it imports JAX, for which `--help` must not wait)
    from ufm.maps.activated import ACTIVATIONS

    choice = one_of(("none", *ACTIVATIONS))(value, key)
    return None if choice == "none" else choice


def domain_of(value, key: str = "features"):
    """A domain from words such as "nonnegative" or "sphere,radius=2"; `ValueError` otherwise."""
    wanted = (
        f'one of {", ".join(map(repr, catalogue.domains()))} or "package.module:Class", with its '
        f'parameters: "sphere,radius=2"'
    )
    require(isinstance(value, str), key, wanted, value)
    name, *given = value.split(",")
    entry = _entry(catalogue.domain_entry, name, key)
    if entry is None:
        raise ValueError(f"`{key}` must be {wanted}; got {value!r}")
    numbers = {}
    for word in given:
        parameter, _, digits = word.partition("=")
        require(
            parameter in entry.parameters,
            key,
            f'"{name}" with {" and ".join(entry.parameters) or "no parameter"}',
            value,
        )
        try:
            numbers[parameter] = float(digits)
        except ValueError:
            raise ValueError(f"`{key}` must give {parameter} a number; got {value!r}") from None
    missing = [parameter for parameter in entry.required if parameter not in numbers]
    require(not missing, key, f'given as "{",".join([name, *(f"{p}=…" for p in missing)])}"', value)
    return entry.build(numbers)


def _parameter(value, key):
    """A parameter of a loss, or one number a class; the loss itself says which numbers it takes."""
    values: Any = value if isinstance(value, list | tuple) and value else [value]
    require(all(map(is_number, values)), key, "a number, or one per class", value)
    return float(values[0]) if values[0] is value else tuple(map(float, values))


# What a problem is made of: name → check, which also turns the value into what `problem_of` takes.
SETTINGS: dict[str, Callable[[Any, str], Any]] = {
    "class_counts": counts_of,
    "loss": _loss,
    **dict.fromkeys(catalogue.loss_parameters(), _parameter),
    "widths": _widths,
    "lambda_W": _decays,
    "lambda_H": positive,
    "bias": bias_of,
    "smoothing": _smoothing,
    "columns": one_of(COLUMNS),
    "features": domain_of,
    "classifier": domain_of,
    "activation": activation_of,
}


def checked(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings of a problem, each checked.

    `ValueError` naming the key and the value that is wrong.
    """
    checks = checks_for(settings.get("loss"))
    for name in settings:
        require(name in checks, where, f"made of {', '.join(checks)}", name)
    return {
        name: checks[name](value, f"{where}.{name}" if where else name)
        for name, value in settings.items()
    }


def checks_for(loss) -> dict[str, Callable[[Any, str], Any]]:
    """`SETTINGS`, and the parameters of a loss from outside the library."""
    entry = _entry(catalogue.loss_entry, loss, "loss") if isinstance(loss, str) else None
    return SETTINGS if entry is None else dict.fromkeys(entry.parameters, _parameter) | SETTINGS


def problem_of(
    *,
    class_counts,
    lambda_W,
    lambda_H,
    loss="cross-entropy",
    widths: Any = None,
    bias=None,
    smoothing=0.0,
    columns="collapsed",
    features=None,
    classifier=None,
    activation=None,
    **parameters,
):
    """The `Problem` of checked settings; numbers may be traced.

    Parameters
    ----------
    class_counts, lambda_W, lambda_H
        As `one_hot` and `Problem` take them.
    loss
        Its name.
    widths
        As for `Problem`; (K,) unless given.
    bias, features, classifier, activation
        As for `Problem`.
    smoothing
        Of the labels.
    columns
        "collapsed" or "full".
    parameters
        Of the loss.

    Returns
    -------
    Problem
        With its labels.

    Raises
    ------
    ValueError
        As `Problem` and `loss_of` do.
    """
    from ufm.labels import one_hot, smoothed
    from ufm.model import Problem

    collapsed = columns == "collapsed"
    plain = isinstance(smoothing, float) and smoothing == 0
    labels = (
        one_hot(class_counts, collapsed=collapsed)
        if plain
        else smoothed(class_counts, smoothing=smoothing, collapsed=collapsed)
    )
    return Problem(
        labels,
        loss=loss_of(loss, parameters),
        widths=(labels.num_classes,) if widths is None else widths,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
        activation=activation,
        **{
            name: domain
            for name, domain in (("features", features), ("classifier", classifier))
            if domain is not None
        },
    )


def loss_of(name: str, parameters: Mapping[str, Any]):
    """The loss of that name.

    `ValueError` for a parameter that it needs and lacks, or that it does not have.
    """
    entry = _entry(catalogue.loss_entry, name, "loss")
    assert entry is not None
    owners = catalogue.loss_parameters()
    for key in dict.fromkeys((*entry.required, *parameters)):
        names = " or ".join(f'"{owner}"' for owner in owners.get(key, (name,)))
        fits = key in parameters and key in entry.parameters
        require(fits, key, f"given with loss {names}, and only then", parameters.get(key))
    return entry.build(dict(parameters))


def solver_of(name: str | None, max_steps: int | None):
    """The solver of that name with that budget, or None for the default of the problem."""
    from ufm.solvers.lbfgs import LBFGS
    from ufm.solvers.newton import Newton, ProjectedNewton

    require(
        name is not None or max_steps is None,
        "max_steps",
        "given together with a solver's name",
        max_steps,
    )
    if name is None:
        return None
    kind = {"newton": Newton, "lbfgs": LBFGS, "projected-newton": ProjectedNewton}[name]
    return kind() if max_steps is None else kind(max_steps=max_steps)
