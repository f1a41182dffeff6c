"""The command line. Each verb is one small module, imported only when the verb is typed, so that help is instant.

A verb's module has `HELP`, `add_arguments(parser)` and `run(args) -> exit code`. Only `train` parses its arguments
itself, in `mmrun.cli.train.main(arguments) -> exit code`: flags may stand among the overrides.

Exit codes: 0 done, 1 a run failed, 2 bad usage or input, 130 interrupted.
"""

import argparse
import os
import select
import sys
from importlib import import_module
from typing import NoReturn

import mmrun
from mmrun import plugins, renamed
from mmrun.errors import ConfigError, MmrunError, nearest

VERBS = {  # in reading order
    "train": ("mmrun.cli.train", "train a run; with -m a sweep of runs"),
    "plan": ("mmrun.cli.plan", "estimate time, disk and shared work before anything runs"),
    "bench": ("mmrun.cli.bench", "measure training and inference speed of a config on this machine"),
    "resume": ("mmrun.cli.resume", "continue an interrupted run"),
    "ls": ("mmrun.cli.ls", "list runs with state, progress and primary metric"),
    "show": ("mmrun.cli.show", "show one run: config, metrics, cost"),
    "diff": ("mmrun.cli.diff", "show how two runs differ"),
    "verify": ("mmrun.cli.verify", "retrain a stage and check that the result is bit-identical"),
    "compare": ("mmrun.cli.compare", "compare groups of runs, with statistics and cost"),
    "report": ("mmrun.cli.report", "write a page that answers the question behind the runs"),
    "eval": ("mmrun.cli.eval", "measure what each modality contributes: missing, corrupted, alone"),
    "ensemble": ("mmrun.cli.ensemble", "evaluate ensembles of several runs"),
    "predict": ("mmrun.cli.predict", "predict the rows of a new file"),
    "options": ("mmrun.cli.options", "list the options: encoders, fusions, strategies ..."),
    "data": ("mmrun.cli.data", "inspect a data set before training on it"),
    "cache": ("mmrun.cli.cache", "list or clear what runs share: decoded columns, reused stages, features"),
    "doctor": ("mmrun.cli.doctor", "check that this machine has what mmrun needs"),
    "completion": ("mmrun.cli.completion", "print a script for tab completion"),
}


SPIN = "10000"  # spins of an idle OpenMP thread: as fast alone, twice as fast beside other work


class Parser(argparse.ArgumentParser):
    """Reports errors in one line, as every other part of mmrun does."""

    def error(self, message: str) -> NoReturn:
        """Raise a ConfigError instead of exiting."""
        raise ConfigError(f"{message} (see `{self.prog} -h`)")


def main(argv: list[str] | None = None) -> int:
    """Run one verb, and return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if "OMP_WAIT_POLICY" not in os.environ:  # read when torch is loaded
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
    try:
        arguments, packages = plugins.split_allowed(words)
        plugins.allow(packages)
        renamed.check_flags(arguments)
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except MmrunError as error:
        print(f"mmrun: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("mmrun: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _reader_left():
            raise
        return 0


def verb_parser(verb: str) -> Parser:
    """Build a verb's parser."""
    module = import_module(VERBS[verb][0])
    parser = Parser(prog=f"mmrun {verb}", description=module.HELP, allow_abbrev=False)
    module.add_arguments(parser)
    return parser


def _dispatch(words: list[str]) -> int:
    if not words:
        print(_help(), file=sys.stderr)
        return 2
    verb, *rest = words
    if verb in ("-h", "--help"):
        print(_help())
        return 0
    if verb == "--version":
        print(f"mmrun {mmrun.__version__}")
        return 0
    if verb not in VERBS:
        raise ConfigError(f"no verb '{verb}'{nearest(verb, VERBS)} (there are {', '.join(VERBS)})")
    module = import_module(VERBS[verb][0])
    code: int = module.main(rest) if verb == "train" else module.run(verb_parser(verb).parse_args(rest))
    return code


def _help() -> str:
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {verb:{width}}{line}" for verb, (_, line) in VERBS.items())
    usage = "usage: mmrun VERB ... [--allow PACKAGE]    (`mmrun VERB -h` for details; `mmrun --version`)"
    return f"{usage}\n\n{mmrun.__doc__}\n\n{verbs}"


def _reader_left() -> bool:
    """Return whether stdout was closed, as by `| head`; if so, silence the flush at exit."""
    watch = select.poll()
    watch.register(sys.stdout, select.POLLOUT)
    left = any(event & select.POLLERR for _, event in watch.poll(0))
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return left
