"""How long a sweep of short runs takes: each run in a command of its own, all in one process, and with --jobs 2.

    scripts/bench jobs [--runs 8] [--jobs 2] [OVERRIDE ...]

Wall time from the command to its end, and processor time of all processes; the data are decoded before. Each part has
run folders of its own.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

SHORT = ["budget.steps=20", "trainer.progress=false"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    seeds = ",".join(map(str, range(args.runs)))
    with tempfile.TemporaryDirectory() as scratch:
        shared = [*SHORT, *args.overrides, f"cache={scratch}/cache"]
        train([*shared, f"outputs={scratch}/first"])
        parts = {
            "a command per run": [[f"seed={seed}"] for seed in range(args.runs)],
            "one process": [["-m", f"seed={seeds}"]],
            f"--jobs {args.jobs}": [["-m", "--jobs", str(args.jobs), f"seed={seeds}"]],
        }
        for number, (name, commands) in enumerate(parts.items()):
            began, spent = time.perf_counter(), processor_time()
            for words in commands:
                train([*shared, *words, f"outputs={scratch}/{number}"])
            print(f"{time.perf_counter() - began:7.1f} s  {processor_time() - spent:7.1f} s CPU  {name}", flush=True)
    print(f"{args.runs} runs, load {os.getloadavg()[0]:.1f}")
    return 0


def train(words: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "mmrun", "train", "--quiet", *words], check=True, stdout=subprocess.DEVNULL)


def processor_time() -> float:  # seconds
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
