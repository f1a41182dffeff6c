"""The same task with mmrun, Ludwig, AutoGluon and a plain PyTorch script, in turn.

    scripts/bench peers [--task digits|titles] [--accuracy 0.9] [--rounds 3] [--rows N] [--epochs N] [--cache FOLDER]

digits  image and sound of the data set avdigits, small convolutional networks from scratch: Ludwig, plain
titles  the same pictures (64 px, EfficientNet-Lite0) with titles of 3 to 12 words (MiniLM), both fine-tuned from the
        weights of `python -m mmrun.testing.real_weights`: AutoGluon, plain

Each command starts cold: a process of its own, no cache, files on disk. Batch size, rows, epochs and threads are the
same for all, the models of `titles` too; each evaluates once an epoch. With --accuracy, each ends at the first
evaluation whose validation accuracy is at least that, and --epochs is how many it may take: the time is that to a given
accuracy. Ludwig and AutoGluon have virtual environments, which are made in --cache at the first call (6 GB each); one
that cannot be made is left out, with a message.
"""

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file

from mmrun.compose import load
from mmrun.errors import ConfigError
from mmrun.testing.real_weights import save_real_weights

ROOT = Path(__file__).parents[1]
REQUIREMENTS = {
    "ludwig": ["ludwig==0.11.*", "torch==2.11.0", "torchaudio==2.11.0", "torchvision", "soundfile"],
    "autogluon": ["autogluon.multimodal==1.6.3", "torch==2.13.0"],
}
PEERS = {"digits": ["ludwig", "plain"], "titles": ["autogluon", "plain"]}
EPOCHS = {"digits": 10, "titles": 3}
IMAGE_MODEL = "tf_efficientnet_lite0"
MOST_EPOCHS = 20  # to reach a given accuracy
WORDS = (
    "small",
    "large",
    "old",
    "new",
    "bright",
    "grey",
    "plain",
    "painted",
    "printed",
    "wooden",
    "round",
    "a",
    "the",
    "with",
)
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@dataclass
class Result:
    """What one command took, and reached."""

    wall: float  # s, from the start of the process to its end
    cpu: float  # s, of all cores
    memory: float  # bytes, at the peak
    accuracy: float  # on the test rows
    samples_per_second: float  # while it trains, without evaluation
    epochs: float  # trained


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(PEERS), action="append", help="default: both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="of each part at most; default: all of digits, 800 of titles")
    parser.add_argument("--epochs", type=int, help=f"at most; default: {EPOCHS}, with --accuracy: {MOST_EPOCHS}")
    parser.add_argument("--accuracy", type=float, help="of the validation rows, at which each command stops")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/mmrun-peers"), help="of virtual environments")
    args = parser.parse_args()
    cache = args.cache.expanduser().absolute()
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.task or list(PEERS):
            try:
                epochs = args.epochs or (EPOCHS[name] if args.accuracy is None else MOST_EPOCHS)
                task = write_task(name, Path(scratch) / name, args.rows, epochs) | {"accuracy": args.accuracy}
            except ConfigError as error:
                print(f"{name}: skipped: {error}")
                continue
            compare(task, args.rounds, args.threads, cache)
    return 0


def compare(task: dict, rounds: int, threads: int, cache: Path) -> None:
    """Run all commands of a task in turn, and print what they took."""
    peers: dict[str, str] = {"mmrun": sys.executable}
    for peer in PEERS[task["name"]]:
        python = sys.executable if peer == "plain" else peer_python(peer, cache)
        if python is not None:
            peers[peer] = python
    until = "" if task["accuracy"] is None else f" until the validation accuracy is {task['accuracy']}, at most"
    training = f"{task['train_rows']} training rows,{until} {task['epochs']} epochs, batch {task['batch_size']}"
    print(f"{task['name']}: {training}; load {os.getloadavg()[0]:.1f}")
    results: dict[str, list[Result]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer, python in peers.items():
            results[peer] += measure(peer, python, task, threads)
    ours = results.pop("mmrun")
    if not ours:
        return
    print(f"  median\n  {describe('mmrun', ours)}")
    for peer, of_peer in results.items():
        if of_peer:
            print(f"  {describe(peer, of_peer)}  {ratios(of_peer, ours)}", flush=True)


def describe(peer: str, results: list[Result]) -> str:
    """Return a line of the table: medians."""
    wall, cpu, memory, accuracy, rate, epochs = (median(results, field.name) for field in fields(Result))
    return (
        f"{peer:10} {wall:7.1f} s  {cpu:7.1f} CPU s  {memory / 2**20:6.0f} MiB  accuracy {accuracy:.3f}  "
        f"{rate:7.1f} samples/s  {epochs:g} epochs"
    )


def ratios(results: list[Result], ours: list[Result]) -> str:
    """Return how many times longer a peer takes than mmrun, and how many times faster mmrun trains."""
    wall, cpu = (median(results, field) / median(ours, field) for field in ("wall", "cpu"))
    speed = median(ours, "samples_per_second") / median(results, "samples_per_second")
    return f"x {wall:.2f} wall, x {cpu:.2f} CPU; mmrun trains x {speed:.2f} samples/s"


def median(results: list[Result], field: str) -> float:
    return statistics.median(getattr(result, field) for result in results)


def measure(peer: str, python: str, task: dict, threads: int) -> list[Result]:
    """Run one command in a folder of its own and print what it took; nothing but its last lines, where it fails."""
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
    environment = {**os.environ, **offline, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory(dir=task["folder"]) as scratch:
        folder = Path(scratch)
        command = mmrun_command(task, folder) if peer == "mmrun" else peer_command(peer, python, task, folder)
        began = time.perf_counter()
        with (folder / "log.txt").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        if status != 0:
            lines = (folder / "log.txt").read_text(errors="replace").splitlines()
            print(f"  {peer} failed:", *lines[-8:], sep="\n    ")
            return []
        reached = read_mmrun(folder) if peer == "mmrun" else json.loads((folder / "result.json").read_text())
    result = Result(wall, usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss, **reached)
    print(f"  {describe(peer, [result])}", flush=True)
    return [result]


# ------------------------------------------------------------------------------------------------------- commands


def mmrun_command(task: dict, folder: Path) -> list:
    manifest = task["manifest"]
    words = ["encoder.image=lenet", "encoder.audio=logmel_cnn", "optimizer.lr=3e-3"]
    if task["name"] == "titles":
        words = [
            *("encoder.image=timm", f"encoder.image.model={IMAGE_MODEL}"),
            *(f"encoder.image.pretrained={task['image_weights']}", f"encoder.image.preprocess.size={task['pixels']}"),
            *("encoder.text=hf", f"encoder.text.model={task['text_model']}"),
        ]
    if task["accuracy"] is not None:
        words.append(f"strategy.stages.train.stopping_threshold={task['accuracy']}")
    columns = ",".join(f"{column}:{column}" for column in task["columns"])
    data = [
        "dataset=manifest",
        f"dataset.path={manifest}",
        f"dataset.columns={{{columns}}}",
        f"outputs={folder}/outputs",
    ]
    trainer = [f"trainer.batch_size={task['batch_size']}", "trainer.progress=false", f"budget.epochs={task['epochs']}"]
    modalities = f"modalities=[{','.join(task['columns'])}]"
    return [sys.executable, "-m", "mmrun", "train", *data, modalities, *words, *trainer, f"cache={folder}/cache"]


def read_mmrun(folder: Path) -> dict[str, float]:
    [file] = folder.glob("outputs/*/*/metrics.json")
    metrics = json.loads(file.read_text())
    [stage] = metrics["cost"]["stages"].values()
    return {
        "accuracy": metrics["metrics"]["test"]["accuracy"],
        "samples_per_second": stage["samples_per_second"],
        "epochs": round(stage["epochs"], 2),
    }


def peer_command(peer: str, python: str, task: dict, folder: Path) -> list:
    (folder / "task.json").write_text(json.dumps(task))
    return [python, Path(__file__).with_name(f"_peer_{peer}.py"), folder / "task.json", folder / "result.json"]


def peer_python(peer: str, cache: Path) -> str | None:
    """Return the Python of a peer's virtual environment, which is made if it is not there; None where it cannot be."""
    folder = cache / peer
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"{peer}: preparing {folder} (once; some minutes, 6 GB)", flush=True)
        steps = [[sys.executable, "-m", "venv", folder], [python, "-m", "pip", "install", "-q", *REQUIREMENTS[peer]]]
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True)
            if done.returncode != 0:
                print(f"{peer}: left out, it cannot be installed: {done.stderr.strip().splitlines()[-1]}")
                return None
        (folder / "complete").touch()
    return str(python)


# ---------------------------------------------------------------------------------------------------------- tasks


def write_task(name: str, folder: Path, rows: int | None, epochs: int) -> dict:
    """Write the files that all commands of a task read, and return their description.

    Raises:
        ConfigError: the data set or the weights of MiniLM are not there.
    """
    source = Path(load(["dataset=avdigits", "encoder/image@encoder.image=lenet", "modalities=[image]"]).dataset["path"])
    if not (source / "manifest.csv").exists():
        raise ConfigError(f"{source} is not there; MMRUN_AVDIGITS names the folder of the data set avdigits")
    folder.mkdir()
    with (source / "manifest.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    task = {"name": name, "folder": str(folder), "epochs": epochs, "manifest": str(folder / "manifest.csv")}
    if name == "digits":
        task |= {"columns": ["image", "audio"], "batch_size": 40, "pixels": 28}
    else:
        task |= {"columns": ["image", "text"], "batch_size": 32, "pixels": 64, **save_models(folder, 64)}
        table = [row | {"text": title(row, number)} for number, row in enumerate(table)]
        rows = 800 if rows is None else rows
    kept = keep_rows(table, rows)
    for kind in ("images", "audio"):
        shutil.copytree(source / kind, folder / kind)
    with open(task["manifest"], "w", newline="") as file:
        names = ["id", "split", *task["columns"], "label"]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
    return task | {"train_rows": sum(row["split"] == "train" for row in kept)}


def keep_rows(table: list[dict[str, str]], rows: int | None) -> list[dict[str, str]]:
    """Return some rows of each part, drawn at random."""
    mixed = random.Random(0).sample(table, len(table))
    parts = [[row for row in mixed if row["split"] == split] for split in ("train", "val", "test")]
    return [row for part in parts for row in part[:rows]]


def title(row: dict[str, str], number: int) -> str:
    """Return 3 to 12 words; two titles in three tell the digit."""
    rng = random.Random(number)
    words = rng.choices(WORDS, k=rng.randint(2, 11))
    told = NUMBERS[int(row["label"])] if rng.random() < 2 / 3 else "number"
    return " ".join([*words, told])


def save_models(folder: Path, pixels: int) -> dict[str, str]:
    """Save EfficientNet-Lite0 as mmrun and AutoGluon load it, and MiniLM.

    Raises:
        ConfigError: a package that holds their weights is not installed.
    """
    text_model, image_weights = save_real_weights(folder)
    image_model = folder / "image_model"  # AutoGluon's
    image_model.mkdir()
    model = timm.create_model(IMAGE_MODEL)
    model.load_state_dict(load_file(image_weights))
    model.reset_classifier(0)
    torch.save(model.state_dict(), image_model / "pytorch_model.bin")
    normalization = {"mean": model.default_cfg["mean"], "std": model.default_cfg["std"]}
    pretrained = {"input_size": [3, pixels, pixels], "fixed_input_size": False, **normalization}
    config = {"architecture": IMAGE_MODEL, "num_features": model.num_features, "num_classes": 0}
    (image_model / "config.json").write_text(json.dumps({**config, "pretrained_cfg": pretrained}))
    return {"image_model": str(image_model), "image_weights": str(image_weights), "text_model": str(text_model)}


if __name__ == "__main__":
    sys.exit(main())
