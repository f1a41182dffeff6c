"""mmrun train: one run, or a sweep with -m. Overrides and flags may be mixed."""

import argparse

from mmrun.cli.arguments import add_overrides, parse_number
from mmrun.cli.output import echo
from mmrun.errors import ConfigError
from mmrun.values import Range

MAX_JOBS = 1000  # processes on a machine

HELP = "Train a run; with -m a sweep of runs."

EPILOG = """\
overrides:
  strategy=component               choose a YAML file of a group (`mmrun options` lists them)
  encoder.image=resnet18           choose the encoder of one modality
  budget.epochs=20 seed=1          set a key
  +optimizer.amsgrad=true          add a key
  ~strategy.stages.pretrain        remove a key
  -m seed=0,1,2 fusion=sum,gated   one run per combination
  -m sweep=tpe 'optimizer.lr=tag(log,interval(1e-4,1e-2))'   a search, judged on validation rows
  -m --jobs 4 seed=0,1,2,3         four runs at a time on this machine
  -m hydra/launcher=submitit_slurm a SLURM job per run

A finished run is not repeated, and an interrupted one is resumed.
"""


def main(arguments: list[str]) -> int:
    """Parse the arguments, then compose and train.

    Args:
        arguments: overrides and flags.

    Returns:
        The exit code.
    """
    from mmrun.cli import Parser

    parser = Parser(prog="mmrun train", description=HELP, epilog=EPILOG, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags; every other argument is an override."""
    add_overrides(parser)
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="train a run for every combination of comma-separated values"
    )
    parser.add_argument("--cfg", choices=["job"], help="print the composed config instead of training")
    parser.add_argument(
        "--jobs",
        type=parse_number(int, Range(at_least=1, at_most=MAX_JOBS)),
        default=1,
        metavar="N",
        help="runs of a sweep that train at a time on this machine",
    )
    parser.add_argument("--rerun", action="store_true", help="repeat a finished run")


def run(args: argparse.Namespace) -> int:
    """Compose; then print the config, sweep, or train.

    Returns:
        The exit code: 1 if a run of a sweep failed, else 0.

    Raises:
        ConfigError: an override does not fit.
    """
    from mmrun import compose
    from mmrun.results.folder import RunFolder
    from mmrun.results.identity import run_folder_path
    from mmrun.run.early_checks import check_early

    compose.use_config_dirs(args.config_dir)
    if args.multirun:
        from mmrun.cli.sweep import print_configs, sweep

        return sweep(args.overrides, args.rerun, args.jobs) if args.cfg is None else print_configs(args.overrides)
    if args.jobs > 1:
        raise ConfigError("--jobs: a single run is one job; add -m to train a run for every combination of values")
    config = compose.load(args.overrides)
    if args.cfg is not None:
        echo(compose.as_yaml(config), end="")
        return 0
    if args.rerun or not RunFolder(run_folder_path(compose.as_dict(config))).finished:
        check_early(config)

    from mmrun.cli.result import print_result
    from mmrun.cli.terminal import Terminal
    from mmrun.run import pipeline

    with Terminal.for_run(config) as terminal:
        folder = pipeline.run(config, terminal, args.overrides, args.rerun)
    print_result(folder)
    return 0
