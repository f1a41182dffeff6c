"""mmrun train: one run, or with -m a sweep. Overrides of the config and flags come in any order."""

import argparse

from mmrun.errors import ConfigError

HELP = "train a run; with -m a sweep of runs"

EPILOG = """\
overrides:
  strategy=component               choose a YAML file of a group (`mmrun options` lists them)
  encoder.image=resnet18           choose one modality's encoder
  budget.epochs=20 seed=1          set a key
  +optimizer.amsgrad=true          add a key
  ~strategy.stages.pretrain        remove a key
  -m seed=0,1,2 fusion=sum,gated   one run per combination
  -m sweep=tpe 'optimizer.lr=tag(log,interval(1e-4,1e-2))'   a search, by validation rows
  -m hydra/launcher=joblib         several runs at a time; submitit_slurm: on a cluster

A finished run is found and not repeated; an interrupted one is resumed.
"""


def main(overrides: list[str]) -> int:
    """Compose and train."""
    from mmrun.cli import Parser

    parser = Parser(prog="mmrun train", description=HELP, epilog=EPILOG, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_arguments(parser)
    return run(parser.parse_intermixed_args(overrides))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags; every other argument is an override."""
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="key=value, as below")
    parser.add_argument("-m", "--multirun", action="store_true", help="a run for every combination of a,b,c values")
    parser.add_argument("--cfg", choices=["job"], help="print the composed config, and train nothing")
    parser.add_argument("--config-dir", action="append", default=[], metavar="DIR", help="search YAML here first")
    parser.add_argument("--rerun", action="store_true", help="repeat a finished run")


def run(args: argparse.Namespace) -> int:
    """Compose; then print, sweep or train."""
    from mmrun import compose

    compose.use_config_dirs(args.config_dir)
    if args.multirun:
        from mmrun.cli.sweep import sweep

        return sweep(args.overrides, args.rerun)
    for override in args.overrides:
        if override.startswith(("sweep=", "hydra/")):
            raise ConfigError(f"{override}: is for a sweep; add -m")
    config = compose.load(args.overrides)
    if args.cfg is not None:
        print(compose.as_yaml(config), end="")
        return 0

    from mmrun.cli.terminal import Terminal, print_result
    from mmrun.run.pipeline import run as run_one

    with Terminal(live=config.trainer.progress) as terminal:
        folder = run_one(config, terminal, args.overrides, args.rerun)
    print_result(folder)
    return 0
