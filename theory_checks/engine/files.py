"""Files of a run, each written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from theory_checks.engine.document import FORMAT, file_of
from theory_checks.engine.registry import Verdict
from theory_checks.engine.runner import Row
from ufm._system.files import checked_json, sealed_json, write_whole


def write_counterexamples(folder: str | os.PathLike, rows: Iterable[Row]) -> list[str]:
    """Write every refutation of refuted `rows` to an `.npz` file in `folder`; returns the paths."""
    paths = []
    for row in rows:
        if row.verdict is Verdict.REFUTED:
            for refutation in row.refutations:
                path = os.path.join(os.fspath(folder), file_of(row, refutation))
                assert path not in paths, f"two counterexamples of one name: {path}"
                write_whole(path, refutation.as_npz())
                paths.append(path)
    return paths


def json_text(document: Mapping[str, Any]) -> str:
    """The document as JSON, sealed: `read_json` refuses it once it has been changed."""
    return json.dumps(sealed_json(document), indent=1, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike, document: Mapping[str, Any]) -> None:
    """Write the document as a JSON file."""
    write_whole(path, json_text(document))


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """A document of `as_document` from the file of `write_json`.

    `ValueError` for any other or changed file.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        try:
            document = checked_json(file.read())
        except ValueError as error:
            raise ValueError(
                f"`path` must be a JSON file written by this command ({error}); got "
                f"{os.fspath(path)!r}"
            ) from error
    if document.get("format") != FORMAT:
        raise ValueError(
            f"`path` must be a JSON file written by this version; got {os.fspath(path)!r}"
        )
    return document
