"""How long it takes to compose configs: a run alone, and all runs of a sweep, checked and listed.

    scripts/bench compose [--rounds 20]

Seconds of processor time, which other work on the machine hardly changes; of a run alone, the median. Importing torch,
which the checks need, is left out.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from mmrun import compose
from mmrun.cli.launch import SweepRun, check_configs
from mmrun.run import checks  # noqa: F401 - imported before the clock starts

SWEEPS = (
    ["strategy=scratch,component", "seed=range(500)"],
    ["optimizer.lr=1e-4,5e-4,1e-3,2e-3,3e-3", "seed=range(50)", "fusion=concat,sum,mean,gated"],
    ["fusion.dim=8,16,32,64,128", "fusion=concat,gated", "encoder.image=cnn,lenet", "seed=range(50)"],
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    print(f"{measure(lambda: compose.load([])):8.3f} s  the first run")
    files = ["strategy=component", "encoder.image=lenet"]
    print(f"{measure(lambda: compose.load(files)):8.3f} s  a run with files not read yet")
    alone = [measure(lambda: compose.load([f"seed={seed}"])) for seed in range(args.rounds)]  # noqa: B023
    print(f"{np.median(alone):8.3f} s  a run with files read before")
    check_configs([compose.load([])])  # the first check imports what the first optimizer does
    for sweep in SWEEPS:
        runs: list[SweepRun] = []
        composed = measure(lambda: runs.extend(compose_sweep(sweep)))  # noqa: B023
        checked = measure(lambda: check_configs([run.config for run in runs]))  # noqa: B023
        listed = measure(lambda: [compose.as_yaml(run.config) for run in runs])  # noqa: B023
        print(f"{composed:8.3f} s  + {checked:.3f} s checks + {listed:.3f} s YAML: {len(runs)} runs, {' '.join(sweep)}")
    return 0


def compose_sweep(overrides: list[str]) -> list[SweepRun]:
    composer = compose.Composer()
    return [SweepRun.compose(run, composer) for run in compose.expand_sweep(overrides)]


def measure(function: Callable[[], object]) -> float:  # seconds of processor time
    began = time.process_time()
    function()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
