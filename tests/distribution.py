"""How the tests are shared among the workers of pytest-xdist, so that all of them end at about the
same time."""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

# Seconds of processor time, measured with two workers, of what takes longer than its number of
# tests says.
SECONDS_A_TEST = 0.3
COSTS = {
    "tests/solvers/test_minimise.py": 131,
    "tests/test_metrics.py": 122,
    "tests/test_certificate.py": 115,
    "tests/solvers/test_projected_newton.py": 108,
    "tests/flows/test_gradient_flow.py": 95,
    "tests/flows/test_velocity.py": 76,
    "tests/test_notebooks.py": 140,
    "tests/certificates/test_enclosure.py": 69,
    "tests/theory_checks/engine/test_figures.py": 75,
    "tests/test_loss_sums.py": 66,
    "tests/test_losses.py": 65,
    "tests/solvers/test_fixed_classifier.py": 65,
    "tests/sweeping/test_sweeps.py": 62,
    "tests/optima/test_channels.py": 58,
    "tests/theory_checks/test_checks.py[dang2023]": 52,
    "tests/test_fuzz.py": 49,
    "tests/analysis/test_critical_decay.py": 48,
    "tests/theory_checks/test_checks.py[ufm]": 45,
    "tests/analysis/test_kinked_search.py": 42,
    "tests/test_main.py": 42,
    "tests/theory_checks/test_checks.py[li2023]": 32,
    "tests/theory_checks/test_checks.py[wang2023]": 24,
    "tests/theory_checks/test_checks.py[tirer2022]": 24,
    "tests/solvers/test_implicit.py": 30,
    "tests/labels/test_offsets.py": 30,
    "tests/solvers/test_kinks.py": 20,
    "tests/analysis/test_landscape.py": 37,
    "tests/solvers/test_newton_rules.py": 36,
    "tests/sweeping/test_sweep_devices.py": 35,
    "tests/test_loss_weights.py": 30,
    "tests/mutation/test_mutation.py": 27,
    "tests/sweeping/test_sweep_store.py": 26,
}


def unit_of(nodeid: str) -> str:
    """The tests that one worker runs.

    Those of a file, which share what was compiled, or of one paper's checks.
    """
    file, _, test = nodeid.partition("::")
    paper = (
        re.search(r"\[(?:\w+-)?([\w.]+)/", test)
        if file.endswith("theory_checks/test_checks.py")
        else None
    )
    return f"{file}[{paper[1]}]" if paper else file


class ByCost(LoadScopeScheduling):
    """Hands out the longest unit first."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node) -> None:
        self.workqueue.move_to_end(max(self.workqueue, key=self._cost), last=False)
        super()._assign_work_unit(node)

    def _cost(self, unit: str) -> float:
        return COSTS.get(unit, SECONDS_A_TEST * len(self.workqueue[unit]))
