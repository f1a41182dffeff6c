"""Every strategy and every balance on avdigits (image, audio and text) at one equal budget, with all labels and few.

Prints the tables of docs/results.md. Runs that are finished are found again, so it may be stopped and started.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from mmrun.compose import list_options

NEEDS_MORE = ("multitask", "prompt_tuning", "mla")  # several targets, a pretrained multimodal model, its own fusion

SETTING = (
    "experiment=avdigits", "modalities=[image,audio,text]", "encoder.text=transformer", "trainer.progress=false",
)  # fmt: skip


def mmrun(*words: str, ok: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run([sys.executable, "-m", "mmrun", *words], stdout=subprocess.PIPE, text=True)
    if done.returncode not in ok:
        raise SystemExit(done.returncode)
    return done.stdout


def list_usual(group: str) -> str:
    return ",".join(name for name in list_options(group) if name not in NEEDS_MORE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", type=Path, default=Path("outputs"))
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labelled", default="1.0,0.1")
    parser.add_argument("--strategies", default=list_usual("strategy"))
    parser.add_argument("--balances", default=list_usual("balance"))
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    args = parser.parse_args()

    words = [
        *SETTING, f"budget.epochs={args.epochs:g}", f"seed={','.join(map(str, range(args.seeds)))}",
        f"dataset.labelled={args.labelled}",
    ]  # fmt: skip
    table = ["--metric", "test/accuracy", "--paired", "seed", "--format", "md"]
    for by, names, against in (("strategy", args.strategies, "scratch"), ("balance", args.balances, "none")):
        folder = args.outputs / by
        sweep = [*words, f"{by}={names}", f"outputs={folder}"]
        mmrun("train", "-m", "--jobs", str(args.jobs), *sweep, ok=(0, 1))  # what fails is named; others go on
        compared = ["compare", str(folder), "--by", by, "--against", against, *table]
        for share in args.labelled.split(","):
            print(f"\n## {by}, dataset.labelled={share}\n")
            print(mmrun(*compared, "--where", f"dataset.labelled={share}"))


if __name__ == "__main__":
    main()
