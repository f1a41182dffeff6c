"""mmrun resume: go on with a run that was cut off."""

import argparse

HELP = "go on with a run that was interrupted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the run."""
    parser.add_argument("run", metavar="RUN", help="a run's folder, or the beginning of its name or hash")


def run(args: argparse.Namespace) -> int:
    """Take the config that the run folder keeps, and train what is missing."""
    from mmrun import compose
    from mmrun.results.index import resolve

    folder = resolve(args.run)
    config = compose.restore(folder.read_config())

    from mmrun.cli.terminal import Terminal, print_result
    from mmrun.run.pipeline import run as run_one

    with Terminal(live=config.trainer.progress) as terminal:
        run_one(config, terminal, folder.read_overrides(), folder=folder)
    print_result(folder)
    return 0
