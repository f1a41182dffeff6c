"""One thread and no hub: results must be the same bits whatever else the machine does."""

import functools
import gc
import os
import resource
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest

from tests.fork_server import ForkServer

os.fsync = lambda descriptor: None  # no test cuts the power, and a tiny run waits for the disk longer than it computes
gc.disable()  # until all tests are collected, nothing is garbage

# Whole runs from the command line, kills, compilation, and evidence that a method helps: `scripts/test --fast` leaves
# these out.
SLOW = (
    "cli/test_bench.py",
    "cli/test_compress.py",
    "cli/test_data_preview.py",
    "cli/test_export.py",
    "cli/test_plan.py",
    "cli/test_report.py",
    "cli/test_serve.py",
    "cli/test_verify.py",
    "data/sources/test_digits.py",
    "data/test_packed.py",
    "deploy/explain/test_encoders.py",
    "deploy/explain/test_evidence.py",
    "deploy/serve",
    "deploy/test_exported_parts.py",
    "deploy/test_share.py",
    "end_to_end",
    "evaluation",
    "examples",
    "faults",
    "models/compress/test_contract.py",
    "models/encoders/test_points_evidence.py",
    "models/encoders/test_real_weights.py",
    "models/fusions/test_evidence.py",
    "models/fusions/test_positions.py",
    "models/test_adapters.py",
    "objectives/balance/test_evidence.py",
    "objectives/balance/test_pairs.py",
    "objectives/test_contrastive.py",
    "objectives/test_cross_modal.py",
    "objectives/test_gather.py",
    "run/test_data_identity.py",
    "run/test_storage.py",
    "run/test_vectorized.py",
    "search/test_trials.py",
    "security",
    "test_wrong_command_lines.py",
    "testing/test_real_weights.py",
    "training/test_compile.py",
)
SLOW_NAMES = (  # parts of a test's name
    "another_determines_is_generated",
    "check_learning",
    "check_no_synchronisation",
    "clocks_agree",
    "composed_as_hydra_composes_each",
    "config_that_each_has_alone",
    "digits_never_labelled",
    "direction_of_motion",
    "export",
    "hidden_patches",
    "identifies_hidden_steps",
    "import_no_library",
    "imported_only_by_runs",
    "less_ranks_off",
    "live_display",
    "modality_of_noise",
    "not_run_is_composed",
    "plots_are_written",
    "recipe_of_the_docs",
    "repeat_by_nature_are_not_a_leak",
    "same_runs_make_the_same_page",
    "waits_for_the_device",
    "worth_something",
)


def is_slow_file(path):
    return path.relative_to(Path(__file__).parent).as_posix().startswith(SLOW)


def pytest_ignore_collect(collection_path, config):
    if config.option.markexpr == "not slow" and is_slow_file(collection_path):
        return True  # without importing it
    return None


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name != "test_docs.py")  # takes minutes: the other process does the rest
    for item in items:
        if is_slow_file(item.path) or any(part in item.name for part in SLOW_NAMES):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    gc.freeze()  # a collection while a test runs skips what stays until the end
    gc.enable()


def pytest_unconfigure():
    gc.unfreeze()  # libraries complain at exit about what is left over


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Return a function that saves a tiny pretrained model of a family, once, and returns its folder."""
    folder = tmp_path_factory.mktemp("tiny_models")

    @functools.cache
    def save(name):
        from mmrun.testing.tiny_models import save_tiny_model

        save_tiny_model(name, folder / name)
        return str(folder / name)

    return save


@pytest.fixture(scope="session")
def fork_server():
    """A Python that starts commands quickly, in processes of their own."""
    with TemporaryDirectory(prefix="mmrun-") as folder:
        server = ForkServer(Path(folder))
        yield server
        server.close()


@pytest.fixture
def clone(tmp_path):
    """A clone of the checked-out files, in an environment of its own."""
    from tests.clone import make_clone

    return make_clone(tmp_path)


@pytest.fixture
def forked_programs(clone):
    """A folder with an `mmrun` that forks from the clone's Python."""
    from tests.clone import fork_programs

    with fork_programs(clone) as programs:
        yield programs


@pytest.fixture(scope="session")
def moved_run(tmp_path_factory):
    """A run whose training file and cache are gone, and whose folder was moved."""
    from mmrun.cli import main
    from tests.people import COLUMNS, WORDS, rows, write

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MMRUN_CACHE", str(folder / "cache"))
        write(folder / "rows.csv", COLUMNS, rows())
        assert main(["train", *WORDS, "budget.epochs=1", "trainer.progress=false"]) == 0
    (folder / "rows.csv").unlink()
    shutil.rmtree(folder / "cache", ignore_errors=True)
    [trained] = (folder / "outputs").glob("*/*")
    return trained.rename(folder / "moved")


@pytest.fixture
def small_disk():
    """Let no file grow above so many bytes: writing more fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
