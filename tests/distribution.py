"""How the tests are shared among the workers of pytest-xdist, so that all of them end at about the same time."""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

# seconds of processor time, of what takes long; a test elsewhere takes far less than a second
COSTS: dict[str, float] = {}


def unit_of(nodeid: str) -> str:
    """The tests that one worker runs: those of a file, which share what was compiled, or of one paper's checks."""
    file, _, test = nodeid.partition("::")
    paper = re.search(r"\[(?:\w+-)?([\w.]+)/", test) if file.endswith("theory_checks/test_checks.py") else None
    return f"{file}[{paper[1]}]" if paper else file


class ByCost(LoadScopeScheduling):
    """Hands out the longest unit first."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node) -> None:
        self.workqueue.move_to_end(max(self.workqueue, key=self._cost), last=False)
        super()._assign_work_unit(node)

    def _cost(self, unit: str) -> float:
        return COSTS.get(unit, 0.05 * len(self.workqueue[unit]))
