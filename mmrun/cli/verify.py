"""mmrun verify: retrain a stage of a finished run, and check that the result is bit-identical."""

import argparse
import hashlib
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.arguments import add_run
from mmrun.cli.diff import differing_values
from mmrun.cli.output import echo
from mmrun.cli.table import print_note
from mmrun.errors import ConfigError, nearest
from mmrun.results.environment import describe_environment
from mmrun.results.folder import RunFolder
from mmrun.results.index import resolve
from mmrun.results.run_values import format_value

if TYPE_CHECKING:
    from mmrun.run.session import Session

HELP = "Train a stage of a finished run again, from the weights before it, and check that the result is bit-identical."

MAX_NAMES = 3  # of differing tensors, printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("--stage", help="name of the stage (default: the last)")


def run(args: argparse.Namespace) -> int:
    """Retrain the stage, and compare the weights.

    Returns:
        The exit code: 0 if every weight is identical, else 1.
    """
    import torch

    from mmrun.cli.terminal import Terminal
    from mmrun.run.opening import reopen

    folder = resolve(args.run)
    compression = folder.read_compression()
    if compression is not None:
        raise ConfigError(
            f"{folder.path}: was compressed from {compression['run']}; verify that run, and repeat mmrun compress"
        )
    recorded = folder.read_environment()
    torch.set_num_threads(recorded.get("threads", torch.get_num_threads()))  # it determines the order of summation
    with Terminal() as terminal:
        session = reopen(folder, terminal)
        name = _select_stage(session, args.stage)
        original = folder.checkpoint_path(name, session.stages[name].config.keep)
        with tempfile.TemporaryDirectory() as scratch:
            retrained = retrain(session, name, RunFolder(scratch))
            difference = describe_difference(original, retrained)
        current = describe_environment(str(session.accelerator.device), torch.get_num_threads())
    if not difference:
        echo(f"{folder.path}: {name} trained again: identical, sha256 {_digest(original)} ...")
        return 0
    echo(f"{folder.path}: {name} trained again: different in {difference}")
    if session.config.trainer.vectorize:
        print_note("trainer.vectorize: a run that trained together with others differs, trained alone, by its noise")
    for key, (before, after) in differing_values(recorded, current).items():
        print_note(f"the environment differs: {key} was {format_value(before)}, is {format_value(after)}")
    return 1


def _select_stage(session: "Session", name: str | None) -> str:
    names = list(session.stages)
    if session.config.budget.seconds is not None:
        raise ConfigError(
            "this run cannot be repeated bit for bit: a budget in seconds ends after a different step each time"
        )
    if session.accelerator.device.type == "cuda" and not session.config.trainer.deterministic:
        raise ConfigError(
            "this run cannot be repeated bit for bit: trainer.deterministic=false lets the GPU add up in any order"
        )
    if name is not None and name not in names:
        raise ConfigError(f"--stage: no stage '{name}'{nearest(name, names)} (the run has {', '.join(names)})")
    return name or names[-1]


def retrain(session: "Session", name: str, folder: RunFolder) -> Path:
    """Train one stage again, from the weights before it.

    Args:
        session: of the finished run.
        name: of the stage.
        folder: to write to, in place of the run folder.

    Returns:
        The checkpoint of the result.
    """
    from mmrun.run import build
    from mmrun.run.build_stage import build_stage
    from mmrun.run.stage import run_stage
    from mmrun.run.stage_checkpoints import load_stage_weights

    names = list(session.stages)
    if name == names[0]:
        session.model.load_state_dict(build.build_model(session.config, session.data).state_dict())
        build.fit_encoders(session.data, session.columns, session.model, session.accelerator.device)
    else:
        previous = session.stages[names[names.index(name) - 1]]
        load_stage_weights(session, previous)
    trainer = replace(session.config.trainer, save_every=math.inf)
    session = replace(session, folder=folder, config=replace(session.config, trainer=trainer))
    stage = session.stages[name]
    run_stage(session, build_stage(session, stage))
    folder.log.close()
    return folder.checkpoint_path(name, stage.config.keep)


def describe_difference(a: Path, b: Path) -> str:
    """Describe how the weights of two checkpoints differ.

    Args:
        a: one checkpoint.
        b: another checkpoint, of the same model.

    Returns:
        The number and names of the tensors that differ, and the largest difference; empty if all are identical.
    """
    from mmrun.training import checkpoint

    _, weights_a = checkpoint.load(a, "model")
    _, weights_b = checkpoint.load(b, "model")
    differences = {}
    for name, weight in weights_a.items():
        if not weight.equal(weights_b[name]):
            differences[name] = (weight.double() - weights_b[name].double()).abs().max().item()
    if not differences:
        return ""
    names = ", ".join(list(differences)[:MAX_NAMES])
    return f"{len(differences)} of {len(weights_a)} tensors, at most {max(differences.values()):.2g} apart: {names} ..."


def _digest(checkpoint: Path) -> str:
    return hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()[:16]
