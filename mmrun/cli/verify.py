"""`mmrun verify`: train a stage of a finished run once more, and tell whether the same weights come out."""

import argparse
import hashlib
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.diff import unlike
from mmrun.errors import ConfigError, nearest
from mmrun.results.environment import describe_environment
from mmrun.results.files import read_json
from mmrun.results.folder import RunFolder
from mmrun.results.index import resolve
from mmrun.results.selection import format_value

if TYPE_CHECKING:
    from mmrun.run.session import Session

HELP = "Train a stage of a finished run again, from the weights before it, and tell whether the same bits come out."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", metavar="RUN", help="a run's folder, or the beginning of its name or hash")
    parser.add_argument("--stage", help="which (default: the last)")


def run(args: argparse.Namespace) -> int:
    """Train, compare, and give 0 where every weight is identical."""
    import torch

    from mmrun.cli.terminal import Terminal
    from mmrun.run.pipeline import reopen

    folder = resolve(args.run)
    recorded = read_json(folder.environment_file)
    torch.set_num_threads(recorded["threads"])  # it decides in which order numbers are added up
    with Terminal() as terminal:
        session = reopen(folder, terminal)
        name = _stage(session, args.stage)
        kept = folder.checkpoint_path(name, session.stages[name].config.keep)
        with tempfile.TemporaryDirectory() as scratch:
            again = train_again(session, name, RunFolder(scratch))
            told = differing(kept, again)
        here = describe_environment(str(session.accelerator.device), torch.get_num_threads())
    if not told:
        print(f"{folder.path}: {name} trained again: identical, sha256 {_digest(kept)} ...")
        return 0
    print(f"{folder.path}: {name} trained again: different in {told}")
    for key, (then, now) in unlike(recorded, here).items():
        print(f"not as it was then: {key} {format_value(then)}, now {format_value(now)}", file=sys.stderr)
    return 1


def _stage(session: "Session", wanted: str | None) -> str:
    names = list(session.stages)
    if session.config.budget.seconds is not None:
        raise ConfigError("a budget in seconds ends at another step each time: this run cannot be repeated bit for bit")
    if wanted is not None and wanted not in names:
        raise ConfigError(f"--stage: no stage '{wanted}'{nearest(wanted, names)} (the run has {', '.join(names)})")
    return wanted or names[-1]


def train_again(session: "Session", name: str, folder: RunFolder) -> Path:
    """Train one stage into another folder, from the weights before it, and return the checkpoint of its result."""
    from mmrun.run import build
    from mmrun.run.stage import build_stage, run_stage
    from mmrun.run.stage_checkpoints import load_stage_weights

    names = list(session.stages)
    if name == names[0]:
        session.model.load_state_dict(build.build_model(session.config, session.data).state_dict())
        build.fit_encoders(session.data, session.columns, session.model, session.accelerator.device)
    else:
        before = session.stages[names[names.index(name) - 1]]
        load_stage_weights(session, before)
    trainer = replace(session.config.trainer, save_every=math.inf)
    session = replace(session, folder=folder, config=replace(session.config, trainer=trainer))
    stage = session.stages[name]
    run_stage(session, build_stage(session, stage))
    folder.log.close()
    return folder.checkpoint_path(name, stage.config.keep)


def differing(one: Path, other: Path) -> str:
    """Describe which weights of two checkpoints differ, and by how much at most; empty where all are identical."""
    from mmrun.training import checkpoint

    _, a = checkpoint.load(one, "model")
    _, b = checkpoint.load(other, "model")
    unlike = [name for name in a if not a[name].equal(b[name])]
    if not unlike:
        return ""
    apart = max((a[name].double() - b[name].double()).abs().max().item() for name in unlike)
    return f"{len(unlike)} of {len(a)} tensors, at most {apart:.2g} apart: {', '.join(unlike[:3])} ..."


def _digest(checkpoint: Path) -> str:
    return hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()[:16]
