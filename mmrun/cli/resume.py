"""mmrun resume: continue an interrupted run."""

import argparse

from mmrun.cli.arguments import add_run
from mmrun.errors import ConfigError
from mmrun.results.index import resolve

HELP = "Continue an interrupted run from its last checkpoint."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)


def run(args: argparse.Namespace) -> int:
    """Train the rest of a run, with the config in its folder."""
    from mmrun import compose

    folder = resolve(args.run)
    if folder.compression_file.exists() and not folder.finished:
        raise ConfigError(f"{folder.path}: was made by mmrun compress; repeat that command, which continues it")
    config = compose.restore(folder.read_config())

    from mmrun.cli.result import print_result
    from mmrun.cli.terminal import Terminal
    from mmrun.run import pipeline

    with Terminal.for_run(config) as terminal:
        pipeline.run(config, terminal, folder.read_overrides(), folder=folder)
    print_result(folder)
    return 0
