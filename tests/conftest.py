"""The strict switches, before the first array.

Double precision, no implicit rank or dtype promotion, one BLAS thread.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile

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
# that. Without them the same loops become LLVM code directly; that is optimised to LLVM's first
# level, which leaves loops as they are and rounds like the others, for a quarter of what is left.
# `XLA_FLAGS= pytest` compiles as a user does, and so do the commands that are tested as a user
# starts them.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"
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

# What one file compiled serves the next, which has forgotten it (see below). A folder for each
# process, as JAX does not write its files whole.
_compiled = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _compiled = tempfile.mkdtemp(prefix="ufm-compiled-")
    jax.config.update("jax_compilation_cache_dir", _compiled)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# a first compile takes longer than any deadline
hypothesis.settings.register_profile("ufm", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("ufm")


def pytest_unconfigure():
    """No process leaves behind what it compiled."""
    if _compiled is not None:
        shutil.rmtree(_compiled, ignore_errors=True)


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
    # (a worker is told what its controller found)
    if not hasattr(config, "workerinput"):
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
    """Files stay whole, but the checks of each paper go to whichever worker is free.

    What takes longest begins first.
    """
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


@pytest.fixture(scope="module")
def quick_compilation():
    """Compiled code is optimised less.

    For a file whose judge is no compiled code, or which compares two routes of it.

    Most of its time goes into compiling. Files about rounding do without: they test the code that
    users run.
    """
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def _settings_of_jax_stay():
    """A command that a test runs in this process configures JAX, and code that is optimised less
    differs in the last bits."""
    names = ("jax_disable_most_optimizations", "jax_compilation_cache_dir")
    before = {name: jax.config.values[name] for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """Every program compiled on a CPU holds memory maps, of which a process may have 65 530.

    Too many end in a segmentation fault.
    """
    yield
    jax.clear_caches()
