"""Tries random input and random faults for some minutes.

    scripts/soak [--minutes 10] [--seed 0] [--kind overrides|manifests|folders|kills|storage]

Overrides, manifests and damaged run folders must end in a clear error. A run that is killed, or whose storage fails,
at any single call must end as if nothing had happened once it is trained again.

Prints how many inputs were tried, the smallest one of each failure, and the largest memory of the process. The exit
code is 1 if an input ended in a traceback, a wrong exit code or a long error.
"""

import argparse
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests import fuzzing
from tests.faults import injection

BATCHES = {"kills": 10, "storage": 10}  # inputs of one seed; time is looked at between seeds
BATCH = 200  # of the other kinds
PHASES = [Phase.generate, Phase.shrink]
RUN = st.integers(0, len(injection.RUNS) - 1)
SHARE = st.floats(0, 1, exclude_max=True)  # of the calls of a run, at which a fault is placed
HEALTH = list(HealthCheck)  # slow inputs are the point


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0, help="the first one; another seed tries other inputs")
    parser.add_argument("--kind", choices=list(KINDS), help="default: all of them, in turn")
    args = parser.parse_args()
    kinds = [args.kind] if args.kind else list(KINDS)
    tried, failures = dict.fromkeys(kinds, 0), {}
    started, number = time.monotonic(), args.seed
    while time.monotonic() - started < 60 * args.minutes:
        kind = kinds[number % len(kinds)]
        count, failure = try_batch(kind, number)
        tried[kind] += count
        if failure is not None:
            place, text = failure
            failures.setdefault((kind, place), text)
        number += 1
    for (kind, place), text in failures.items():
        print(f"{kind}: {place}\n{text}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    counts = ", ".join(f"{count:,} {kind}" for kind, count in tried.items())
    print(f"{counts}: {len(failures)} kinds of failures; at most {memory:.2f} GB; {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


def try_batch(kind, number):
    """Try the inputs of one seed; return how many, and of a failure its place and the smallest input."""
    strategy, attempt = KINDS[kind]
    count, last = 0, None

    @seed(number)
    @settings(
        max_examples=BATCHES.get(kind, BATCH),
        deadline=None,
        database=None,
        phases=PHASES,
        report_multiple_bugs=False,
        suppress_health_check=HEALTH,
    )
    @given(strategy)
    def trial(value):
        nonlocal count, last
        count, last = count + 1, value
        attempt(value)

    try:
        trial()
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
        return count, (place, f"    {last!r}: {str(error)[:300]}")
    return count, None


def in_folder(attempt):
    """Give each input an empty folder."""

    def wrapped(value):
        with tempfile.TemporaryDirectory() as folder:
            attempt(Path(folder), value)

    return wrapped


KINDS = {
    "overrides": (fuzzing.COMMAND_LINES, fuzzing.check_command_line),
    "manifests": (fuzzing.MANIFESTS, in_folder(fuzzing.check_manifest)),
    "folders": (fuzzing.DAMAGES, in_folder(fuzzing.check_run_folder)),
    "kills": (st.tuples(RUN, SHARE), in_folder(injection.check_kill)),
    "storage": (st.tuples(RUN, SHARE, st.sampled_from(injection.ERRORS)), in_folder(injection.check_storage)),
}

if __name__ == "__main__":
    sys.exit(main())
