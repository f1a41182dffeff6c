"""How long it takes to compose and check a config: the first, the next of a sweep, and one with other files.

    scripts/bench compose [--rounds 20]

Milliseconds of processor time, which other work on the machine hardly changes; medians.
"""

import argparse
import sys
import time

import numpy as np

from mmrun import compose


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    print(f"{measure([]):6.0f} ms  the first")
    print(f"{measure(['strategy=component', 'encoder.image=lenet']):6.0f} ms  with files not read yet")
    seeds = [measure([f"seed={seed}"]) for seed in range(args.rounds)]
    print(f"{np.median(seeds):6.0f} ms  the next of a sweep over seeds")
    return 0


def measure(overrides: list[str]) -> float:  # milliseconds
    began = time.process_time()
    compose.load(overrides)
    return 1000 * (time.process_time() - began)


if __name__ == "__main__":
    sys.exit(main())
