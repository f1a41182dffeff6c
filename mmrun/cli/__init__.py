"""The command line. Each verb is one small module, imported only when it is used, so that help is instant.

The module of a verb has `HELP`, `add_arguments(parser)` and `run(args) -> exit code`. Only `train` parses its own
arguments, in `mmrun.cli.train.main(arguments) -> exit code`.

Exit codes: 0 success, 1 a run failed or a file of a run is damaged, 2 bad usage or input, 130 interrupted by Ctrl-C,
143 by another signal.
"""

import argparse
import os
import select
import sys
from importlib import import_module
from typing import NoReturn, cast

from mmrun import plugins, renamed
from mmrun.cli.output import echo, set_quiet, split_quiet
from mmrun.errors import STORAGE_ERRORS, ConfigError, MmrunError, Terminated, escape, nearest
from mmrun.version import __version__

VERBS = {  # in reading order
    "train": ("mmrun.cli.train", "train a run; with -m a sweep of runs"),
    "plan": ("mmrun.cli.plan", "estimate time, disk and shared work before anything runs"),
    "bench": ("mmrun.cli.bench", "measure training and inference speed of a config on this machine"),
    "resume": ("mmrun.cli.resume", "continue an interrupted run"),
    "ls": ("mmrun.cli.ls", "list runs with state, progress and primary metric"),
    "show": ("mmrun.cli.show", "show one run: config, metrics, cost"),
    "diff": ("mmrun.cli.diff", "show how two runs differ"),
    "note": ("mmrun.cli.note", "read or write the note of a run"),
    "open": ("mmrun.cli.open", "open a run's report or folder"),
    "rm": ("mmrun.cli.rm", "remove runs"),
    "verify": ("mmrun.cli.verify", "retrain a stage and check that the result is bit-identical"),
    "compare": ("mmrun.cli.compare", "compare groups of runs, with statistics and cost"),
    "report": ("mmrun.cli.report", "write a page that answers the question behind the runs"),
    "eval": ("mmrun.cli.eval", "measure what each modality contributes: missing, corrupted, alone"),
    "ensemble": ("mmrun.cli.ensemble", "evaluate ensembles of several runs"),
    "predict": ("mmrun.cli.predict", "predict the rows of a new file"),
    "explain": ("mmrun.cli.explain", "show why a run predicts what it does, row by row"),
    "serve": ("mmrun.cli.serve", "answer requests with a run over HTTP, with a page to try it"),
    "export": ("mmrun.cli.export", "write a run as ONNX or torch.export, and check it against the run"),
    "compress": ("mmrun.cli.compress", "write a smaller and faster run: pruned, shallower, low-rank, shared weights"),
    "pack": ("mmrun.cli.pack", "write a finished run into one file"),
    "unpack": ("mmrun.cli.unpack", "unpack a run that was packed, and check it"),
    "push": ("mmrun.cli.push", "upload a finished run with a model card to a hub"),
    "pull": ("mmrun.cli.pull", "download a run from a hub, and check it"),
    "card": ("mmrun.cli.card", "write the model card of a run"),
    "options": ("mmrun.cli.options", "list the options: encoders, fusions, strategies ..."),
    "data check": ("mmrun.cli.data_check", "what a data set contains, and what is wrong with it"),
    "data clean": ("mmrun.cli.data_clean", "write a copy without rows that are broken or repeated"),
    "data prepare": ("mmrun.cli.data_prepare", "write the manifest of a named benchmark, or say where to get it"),
    "data stats": ("mmrun.cli.data_stats", "show a data set: a table, or a page with plots and samples"),
    "data split": ("mmrun.cli.data_split", "write a copy of a file with a column of splits or folds"),
    "data preview": ("mmrun.cli.data_preview", "draw rows as models read them, and augmented"),
    "cache": ("mmrun.cli.cache", "list or clear what runs share: decoded columns, reused stages, features"),
    "doctor": ("mmrun.cli.doctor", "check that this machine has what mmrun needs"),
    "completion": ("mmrun.cli.completion", "print a script for tab completion"),
}
FIRST_WORDS = ("data",)  # of verbs of two words

QUESTION = "mmrun: should a multimodal model be fine-tuned as one whole, or its components apart and then fused?"
SPIN_COUNT = "10000"  # iterations that an idle OpenMP thread spins: as fast alone, twice as fast beside other work


class Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, like all of mmrun."""

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of exiting.

        Args:
            message: of argparse.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{message} (see `{self.prog} -h`)")


def main(argv: list[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the command line without the program; None: that of this process.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if "OMP_WAIT_POLICY" not in os.environ:  # OpenMP reads both when torch is imported
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    try:
        arguments, packages = plugins.split_allowed(arguments)
        plugins.allow(packages)
        arguments, quiet = split_quiet(arguments)
        set_quiet(quiet)
        renamed.check_flags(arguments)
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except MmrunError as error:
        _print_error(f"mmrun: {escape(str(error))}")
        return error.exit_code
    except Terminated:
        echo("mmrun: terminated", file=sys.stderr)
        return Terminated.exit_code
    except KeyboardInterrupt:
        echo("mmrun: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _discard_closed_stdout():
            raise
        return 0
    except OSError as error:
        if error.errno not in STORAGE_ERRORS:
            raise
        mend = "free room or change its permissions, and repeat the command"
        _print_error(f"mmrun: {error.filename or 'output'}: {error.strerror}; {mend}")
        return 1


def build_parser(verb: str) -> Parser:
    """Build the argument parser of a verb.

    Args:
        verb: one of VERBS.

    Returns:
        The parser; its `prog` is "mmrun VERB".
    """
    module = import_module(VERBS[verb][0])
    parser = Parser(prog=f"mmrun {verb}", description=module.HELP, allow_abbrev=False)
    module.add_arguments(parser)
    return parser


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        echo(_format_help(), file=sys.stderr)
        return 2
    verb, arguments = split_verb(arguments)
    if verb in ("-h", "--help"):
        echo(_format_help())
        return 0
    if verb in FIRST_WORDS:
        echo(_format_help(verb), file=None if arguments else sys.stderr)
        return 0 if arguments else 2
    if verb == "--version":
        echo(f"mmrun {__version__}")
        return 0
    if verb not in VERBS:
        raise ConfigError(f"no verb '{verb}'{nearest(verb, VERBS)} (there are {', '.join(VERBS)})")
    module = import_module(VERBS[verb][0])
    if verb == "train":
        return cast(int, module.main(arguments))
    return cast(int, module.run(build_parser(verb).parse_args(arguments)))


def split_verb(arguments: list[str]) -> tuple[str, list[str]]:
    """Split a command line into the verb, of one word or two, and its arguments.

    Args:
        arguments: at least one.

    Returns:
        The verb and the rest; the first word of a verb of two alone if nothing follows it, or help is asked for.
    """
    first, *remaining = arguments
    if first in FIRST_WORDS and remaining and remaining[0] not in ("-h", "--help"):
        return f"{first} {remaining[0]}", remaining[1:]
    return first, remaining


def _print_error(message: str) -> None:
    from mmrun.cli.table import print_text  # here: rich takes time that help does not need

    print_text(message, indent="  ", file=sys.stderr)


def _format_help(first_word: str = "") -> str:
    """Return the list of the verbs that begin with a word."""
    verbs = {verb: summary for verb, (_, summary) in VERBS.items() if verb.startswith(first_word)}
    width = max(map(len, verbs)) + 2
    lines = "\n".join(f"  {verb:{width}}{summary}" for verb, summary in verbs.items())
    if first_word:
        return f"usage: mmrun {first_word} ...    (`mmrun {first_word} VERB -h` for details)\n\n{lines}"
    usage = "usage: mmrun VERB ... [--quiet] [--allow PACKAGE]    (`mmrun VERB -h` for details; `mmrun --version`)"
    return f"{usage}\n\n{QUESTION}\n\n{lines}"


def _discard_closed_stdout() -> bool:
    """Return whether the reader of stdout closed it, as `head` does; if so, discard what is flushed at exit."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    is_closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if is_closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_closed
