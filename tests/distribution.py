"""How the tests are shared among the workers of pytest-xdist, so that all of them end at about the
same time."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Seconds of processor time, measured with two workers, of what takes longer than its number of
# tests says.
SECONDS_A_TEST = 0.1
COSTS = {
    "tests/theory_checks/test_checks.py": 230,
    "tests/certificates/test_lift.py": 59,
    "tests/test_check_loss.py": 59,
    "tests/theory_checks/engine/test_figures.py": 31,
    "tests/test_metrics.py": 30,
    "tests/sweeping/test_sweeps.py": 19,
    "tests/flows/test_batched_flow.py": 15,
    "tests/flows/test_velocity.py": 15,
    "tests/labels/test_offsets.py": 15,
    "tests/test_main.py": 14,
    "tests/analysis/test_landscape.py": 14,
    "tests/certificates/test_code_bound.py": 14,
    "tests/theory_checks/engine/test_workers.py": 13,
    "tests/extension/test_extension.py": 13,
    "tests/model/test_chunks.py": 13,
    "tests/solvers/test_exchangeable.py": 13,
    "tests/test_fuzz.py": 13,
    "tests/sweeping/test_sweep_store.py": 12,
    "tests/certificates/test_randomised.py": 12,
    "tests/test_pages.py": 12,
    "tests/test_losses.py": 11,
    "tests/plotting/test_redraw.py": 11,
    "tests/solvers/test_newton_rules.py": 11,
    "tests/flows/test_walls.py": 11,
    "tests/flows/test_gradient_flow.py": 11,
    "tests/test_metrics_scale.py": 11,
    "tests/optima/test_channels.py": 11,
    "tests/solvers/test_fixed_classifier_routes.py": 10,
    "tests/analysis/test_critical_decay.py": 10,
    "tests/test_loss_weights.py": 10,
    "tests/solvers/test_minimise.py": 10,
    "tests/test_notebooks.py": 9,
    "tests/solvers/test_continuation.py": 9,
    "tests/analysis/test_observables.py": 9,
    "tests/solvers/test_implicit.py": 9,
    "tests/solvers/test_projected_newton.py": 9,
    "tests/domains/test_check_domain.py": 9,
    "tests/test_certificate.py": 8,
    "tests/theory_checks/engine/test_command.py": 8,
    "tests/optima/test_mse.py": 8,
    "tests/certificates/test_enclosure.py": 8,
    "tests/analysis/test_searches.py": 7,
    "tests/labels/test_sparse.py": 7,
    "tests/test_host.py": 7,
    "tests/certificates/test_dual_point.py": 7,
    "tests/domains/test_domains.py": 7,
    "tests/solvers/test_rounded.py": 7,
    "tests/solvers/test_lanes.py": 7,
    "tests/test_comparison.py": 7,
    "tests/test_frames.py": 6,
    "tests/batch/test_layout.py": 6,
    "tests/certificates/test_bound.py": 6,
    "tests/solvers/test_narrowing.py": 6,
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
