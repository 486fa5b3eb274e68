"""Class counts from lists, words such as "10x100", and tables of long tails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ufm.command_line.values import LARGEST, LONGEST, is_number, is_whole, require, whole


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
