"""One thread and no hub: the tests measure nothing, and must give the same bits beside any other load."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch

torch.set_num_threads(1)

# Whole runs from the shell, kills, compilation, and measurements of what a method gains: `scripts/test --fast` leaves
# them out.
SLOW = ("end_to_end", "faults", "evaluation", "cli/test_plan.py", "cli/test_bench.py", "training/test_compile.py")


def pytest_collection_modifyitems(items):
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
