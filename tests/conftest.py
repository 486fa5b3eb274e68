"""The strict switches, before the first array.

Double precision, no implicit rank or dtype promotion, one BLAS thread.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

# OpenBLAS reads this once, when NumPy loads it; several processes with its default threads were
# measured 80 times slower a process that is forked for each mutant has loaded it, with the limit
# set
assert "numpy" not in sys.modules or "OPENBLAS_NUM_THREADS" in os.environ, (
    "NumPy was imported before conftest.py could limit its threads"
)
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "agg")
# Most of the time of the suite is compilation, and XLA's MLIR emitters of fused loops take half of
# that. Without them the same loops become LLVM code directly, which is left as it is, by the one
# thread that a worker has: each product is rounded before it is added, where users get fused ones.
# `XLA_FLAGS= pytest` compiles as a user does, and so do the commands that are tested as a user
# starts them.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1",
)

# a shell has what it starts in the background ignore Ctrl-C, which some tests send
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# through the configuration, not the environment: a command started by a test must switch on x64 by
# itself
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# nobody reads where in the source an operation of a program came from
jax.config.update("jax_traceback_in_locations_limit", 0)

# A program holds a dozen memory maps or so, of the 65 530 that Linux gives a process. Beyond is
# a segmentation fault. They are counted after so many programs.
MOST_MAPS, PROGRAMS, SHARE = 60_000, 100, 2 / 3
_compiled: list[str] = []


def _heard(event: str, duration_secs: float, **about) -> None:
    if "backend_compile" in event:
        _compiled.append(event)


jax.monitoring.register_event_duration_secs_listener(_heard)
# tracing makes so many objects that to look for garbage as often as usual takes a tenth of the time
gc.set_threshold(50_000, 20, 50)

# a first compile takes longer than any deadline
hypothesis.settings.register_profile("ufm", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("ufm")


def pytest_addoption(parser):
    """`--typecheck`, and `--thorough`, which a run that names its tests implies."""
    parser.addoption(
        "--typecheck",
        action="store_true",
        help="check the annotations of ufm, shapes too, at every call (needs beartype)",
    )
    parser.addoption(
        "--thorough",
        action="store_true",
        help="every combination of parameters, as when files are named or -k or -m are given",
    )


def pytest_configure(config):
    """Checks are woven in where modules are imported, so before any is."""
    if config.getoption("typecheck"):
        from tests import typecheck

        typecheck.install()
    # (a worker reads the arguments of its controller again)
    files = config.args_source is pytest.Config.ArgsSource.ARGS
    marks = config.option.markexpr != "not slow"
    config.option.thorough |= files or marks or bool(config.option.keyword)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Without the tests that `--typecheck` makes no sense for, and those that a lean run can do
    without."""
    from tests import lean, typecheck

    kept = items if config.getoption("thorough") else lean.choice(items)
    if config.getoption("typecheck"):
        refusals = typecheck.leave_out_refusals(items)
        kept = [item for item in kept if item not in refusals]
    left_out = set(items) - set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = kept


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Files stay whole, some of them together, and what takes longest begins first."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.distribution import ByCost

    return ByCost(config, log)


@pytest.fixture
def key() -> jax.Array:
    """A random key, the same one in every test."""
    return jax.random.key(0)


@pytest.fixture
def enable_x64():
    """`jax.enable_x64`, which older versions keep elsewhere."""
    return jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


@pytest.fixture
def ax():
    """Axes to draw on; what was drawn must render."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    yield ax
    figure.canvas.draw()
    plt.close(figure)


@pytest.fixture(autouse=True)
def _settings_of_jax_stay():
    """A command that a test runs in this process configures JAX."""
    names = ("jax_disable_most_optimizations", "jax_compilation_cache_dir")
    before = {name: jax.config.values[name] for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True)
def _programs_are_kept_while_there_is_room():
    """What one test compiled serves the next."""
    yield
    if len(_compiled) >= PROGRAMS:
        _compiled.clear()
        if _is_full():
            jax.clear_caches()


@pytest.fixture(autouse=True, scope="module")
def _programs_are_no_garbage():
    """What one file leaves is no work for the garbage collector."""
    yield
    gc.freeze()


def _is_full() -> bool:
    """Whether this process nears the end of its memory maps, or of its share of the memory.

    Yes where the system does not say.
    """
    try:
        with open("/proc/self/maps", "rb") as maps:
            held = sum(1 for _ in maps)
        with open("/proc/self/statm", "rb") as sizes:
            resident = int(sizes.read().split()[1])
    except OSError:
        return True
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return held > MOST_MAPS or resident > SHARE * os.sysconf("SC_PHYS_PAGES") / workers
