"""Rows of quantities with their errors, and the verdict: what `compare` hands out."""

from __future__ import annotations

from dataclasses import dataclass

from ufm._classes.module import Displayed
from ufm.tolerances import in_words

_NORMS = "arrays by their norm, no entry alone; error: norm of the difference, relative"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a comparison.

    `measured` and `predicted` are norms where the quantity is an array; `error` is of the array
    itself.
    """

    quantity: str
    measured: float
    predicted: float
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return bool(self.error <= self.tolerance)


@dataclass(frozen=True, kw_only=True)
class Comparison(Displayed):
    """What `compare` found.

    One row a quantity, the verdict, and the name of the stationary point that the solver reached.

    `found`: "global optimum", or which truncation or branch it is and by how much its value exceeds
    the optimum. `result`: how the solver ended.
    """

    rows: tuple[Row, ...]
    found: str
    regime: str
    source: str
    result: str
    dtype: str

    @property
    def ok(self) -> bool:
        """Whether every quantity agrees."""
        return all(row.ok for row in self.rows)

    def __getitem__(self, quantity: str) -> Row:
        """The row of a quantity."""
        return {row.quantity: row for row in self.rows}[quantity]

    def __str__(self) -> str:
        width = max(len(row.quantity) for row in self.rows)
        lines = [
            f"{'quantity':<{width}}  {'measured':>17}  {'predicted':>17}  {'error':>8}  "
            f"{'tolerance':>9}"
        ]
        for row in self.rows:
            numbers = (
                f"{row.measured:17.12g}  {row.predicted:17.12g}  {row.error:8.1e}  "
                f"{row.tolerance:9.0e}"
            )
            lines.append(f"{row.quantity:<{width}}  {numbers}  {'ok' if row.ok else 'FAILS'}")
        verdict = "agrees with the prediction" if self.ok else "does not agree with the prediction"
        lines += [
            f"{verdict}; found: {self.found}",
            f"predicted: {self.regime}; {self.source}",
            f"solver: {self.result}",
        ]
        return "\n".join([*lines, _NORMS, in_words(self.dtype)])

    def to_dict(self) -> dict:
        """Plain numbers and strings, for JSON."""
        rows = [
            {
                "quantity": row.quantity,
                "measured": row.measured,
                "predicted": row.predicted,
                "error": row.error,
                "tolerance": row.tolerance,
                "ok": row.ok,
            }
            for row in self.rows
        ]
        rest = {
            "found": self.found,
            "regime": self.regime,
            "source": self.source,
            "result": self.result,
            "dtype": self.dtype,
        }
        return {"ok": self.ok, **rest, "rows": rows}
