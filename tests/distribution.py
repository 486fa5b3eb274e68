"""How the tests are shared among the workers of pytest-xdist, so that all of them end at about the
same time."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Seconds of processor time, measured with two workers, of what takes longer than its number of
# tests says.
SECONDS_A_TEST = 0.3
COSTS = {
    "tests/flows/test_gradient_flow.py": 27,
    "tests/flows/test_batched_flow.py": 23,
    "tests/test_notebooks.py": 61,
    "tests/theory_checks/engine/test_figures.py": 55,
    "tests/flows/test_velocity.py": 30,
    "tests/solvers/test_fixed_classifier.py": 12,
    "tests/test_metrics.py": 54,
    "tests/solvers/test_projected_newton.py": 15,
    "tests/sweeping/test_sweeps.py": 33,
    "tests/test_losses.py": 40,
    "tests/theory_checks/test_checks.py[dang2023]": 38,
    "tests/solvers/test_minimise.py": 27,
    "tests/test_loss_sums.py": 37,
    "tests/theory_checks/test_checks.py[li2023]": 35,
    "tests/certificates/test_randomised.py": 34,
    "tests/labels/test_offsets.py": 27,
    "tests/solvers/test_newton_rules.py": 12,
    "tests/certificates/test_mixtures_proved.py": 31,
    "tests/certificates/test_code_bound.py": 30,
    "tests/test_check_loss.py": 29,
    "tests/test_slips.py": 29,
    "tests/model/test_chunks.py": 29,
    "tests/test_main.py": 28,
    "tests/certificates/test_enclosure.py": 26,
    "tests/test_certificate.py": 26,
    "tests/test_fuzz.py": 80,
    "tests/optima/test_channels.py": 12,
    "tests/mutation/test_mutation.py": 25,
    "tests/certificates/test_lift.py": 25,
    "tests/solvers/test_continuation.py": 14,
    "tests/theory_checks/test_checks.py[ufm]": 23,
    "tests/analysis/test_observables.py": 19,
    "tests/extension/test_extension.py": 22,
    "tests/flows/test_walls.py": 20,
    "tests/flows/test_integrators.py": 11,
    "tests/solvers/test_exchangeable.py": 18,
    "tests/solvers/test_rounded.py": 16,
    "tests/solvers/test_implicit.py": 16,
    "tests/solvers/test_fixed_classifier_routes.py": 14,
    "tests/analysis/test_kinked_search.py": 14,
    "tests/sweeping/test_sweep_devices.py": 20,
}


# files whose problems are the same
TOGETHER = (
    (
        "tests/certificates/test_lift.py",
        "tests/certificates/test_mixtures_proved.py",
        "tests/certificates/test_maps_proved.py",
    ),
    ("tests/test_check_loss.py", "tests/test_loss_sums.py", "tests/test_slips.py"),
)


def unit_of(nodeid: str) -> str:
    """The tests that one worker runs: those of a file, which share what was compiled, or of files
    that do."""
    file = nodeid.partition("::")[0]
    return next((files[0] for files in TOGETHER if file in files), file)


class ByCost(LoadScopeScheduling):
    """Hands out the longest unit first."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node) -> None:
        self.workqueue.move_to_end(max(self.workqueue, key=self._cost), last=False)
        super()._assign_work_unit(node)

    def _cost(self, unit: str) -> float:
        return COSTS.get(unit, SECONDS_A_TEST * len(self.workqueue[unit]))
