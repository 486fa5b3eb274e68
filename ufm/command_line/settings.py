"""The settings of a problem as words and numbers.

What `python -m ufm` reads from its options and from a SPEC.toml, checked before anything is
imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ufm.command_line import catalogue
from ufm.command_line.class_counts import counts_of
from ufm.command_line.values import is_number, is_whole, number, one_of, require

COLUMNS = ("collapsed", "full")


def _decays(value, key):
    # (that of a factor which no domain bounds is > 0, as the verb says that needs it)
    values: Any = value if isinstance(value, list | tuple) and value else [value]
    require(
        all(is_number(lam) and lam >= 0 for lam in values),
        key,
        "a number >= 0, or one per factor",
        value,
    )
    return float(values[0]) if values[0] is value else tuple(map(float, values))


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
    require(entry_of(catalogue.loss_entry, value, key) is not None, key, words, value)
    return value


def entry_of(find: Callable, name: str, key: str):
    """What the catalogue has of that name.

    Parameters
    ----------
    find
        A function of the catalogue.
    name
        Of a loss or a domain.
    key
        Which setting.

    Returns
    -------
    Entry or None
        None for a name that is not known.

    Raises
    ------
    ValueError
        Naming the key, for a class that the catalogue cannot take.
    """
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
    entry = entry_of(catalogue.domain_entry, name, key)
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
        require(parameter not in numbers, key, f"given {parameter} once", value)
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
    "lambda_H": number,
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
    entry = entry_of(catalogue.loss_entry, loss, "loss") if isinstance(loss, str) else None
    return SETTINGS if entry is None else dict.fromkeys(entry.parameters, _parameter) | SETTINGS
