"""mmrun serve: a finished run over HTTP, with a page to try it."""

import argparse
import ipaddress
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.arguments import add_run, parse_number
from mmrun.cli.output import echo, is_quiet
from mmrun.cli.table import inform, print_note
from mmrun.errors import ConfigError
from mmrun.results.index import resolve
from mmrun.values import Range

if TYPE_CHECKING:
    from mmrun.deploy.serve.model import ServedModel

HELP = (
    "Answer requests with the predictions of a finished run, an archive that mmrun pack wrote, or a folder that "
    "mmrun export wrote. A page to try it is at /, the interface at /docs. There is no authentication."
)
ROWS = Range(at_least=1, at_most=100_000)
LIBRARIES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}  # module -> package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    parser.add_argument(
        "--port",
        type=parse_number(int, Range(at_least=0, at_most=65535)),
        default=8000,
        metavar="N",
        help="default: 8000; 0: any that is free",
    )
    parser.add_argument(
        "--backend", choices=["torch", "onnx"], help="onnx: export the run first, for onnxruntime (default: torch)"
    )
    parser.add_argument(
        "--max-batch",
        type=parse_number(int, ROWS),
        default=32,
        metavar="N",
        help="rows predicted together (default: 32)",
    )
    parser.add_argument(
        "--max-wait",
        type=parse_number(float, Range(at_least=0, at_most=10_000)),
        default=2.0,
        metavar="MS",
        help="milliseconds that a row waits for others (default: 2)",
    )
    parser.add_argument(
        "--max-queue",
        type=parse_number(int, ROWS),
        default=512,
        metavar="N",
        help="rows that may wait; then 503 (default: 512)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal arrives."""
    check_libraries()

    from mmrun.deploy.serve.app import App
    from mmrun.deploy.serve.server import open_socket, run_server
    from mmrun.deploy.serve.settings import Settings

    settings = Settings(max_batch=args.max_batch, max_wait=args.max_wait / 1000, max_queue=args.max_queue)
    with tempfile.TemporaryDirectory(prefix="mmrun-serve-") as scratch, open_socket(args.host, args.port) as address:
        model = _open_model(args.run, args.backend, Path(scratch))
        files = Path(scratch) / "requests"
        files.mkdir()
        host, port = address.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        if not ipaddress.ip_address(host).is_loopback:
            print_note(f"{shown} can be reached from other machines, and there is no authentication")
        echo(f"http://{shown}:{port}")
        sys.stdout.flush()
        inform(f"serving {model.schema.run} ({model.backend}); Ctrl-C stops it")
        run_server(App(model, settings, files, _log), address)
    inform("stopped")
    return 0


def _log(line: str) -> None:
    if not is_quiet():
        echo(line, file=sys.stderr)


def check_libraries() -> None:
    """Raise a ConfigError if a library is not installed that serving needs."""
    from importlib.util import find_spec

    from mmrun.installation import format_pip_command

    missing = [package for module, package in LIBRARIES.items() if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        command = format_pip_command("install", *missing)
        raise ConfigError(f"mmrun serve: {', '.join(missing)} {verb} not installed; {command}")


def _open_model(name: str, backend: str | None, scratch: Path) -> "ServedModel":
    """Open a run, an archive or an exported run."""
    from mmrun.deploy.serve.loading import is_exported, open_exported, open_run

    path = Path(name)
    if is_exported(path):
        return open_exported(path, backend, scratch)

    from mmrun.cli.terminal import Terminal

    source = path if path.is_file() else resolve(name).path
    return open_run(source, backend, scratch, Terminal(live=False))
