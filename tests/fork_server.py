"""A Python that has imported the heavy packages once, and forks for each command: one starts in 0.2 s instead of 5.

A fork has the arguments, folder, environment and files of its command, imports mmrun itself, and ends like any Python:
with an exit code, or by a signal. `ForkServer.interpreter` is a program that replaces `python` in a shell, and the
Python that torchrun starts.
"""

import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

PACKAGES = (
    *("accelerate", "hydra", "joblib", "matplotlib", "pyarrow", "rich", "safetensors", "scipy.stats"),
    *(
        "sklearn.datasets",
        "timm",
        "tokenizers",
        "torch._dynamo",
        "torch.distributed.run",
        "transformers.modeling_utils",
    ),
)
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
INTERPRETER = """#!{python} -IS
import sys
sys.path.insert(0, {tests!r})
from fork_server import stand_for_python
stand_for_python({address!r}, sys.argv[1:])
"""


class Process:
    """A fork that runs a command, with a part of what `subprocess.Popen` offers. It is killed if this object goes.

    Args:
        address: socket of the server.
        arguments: of Python: `-m MODULE ...` or `FILE ...`.
        cwd: the folder to run in.
        environment: all of it.
        files: descriptors of its stdin, stdout and stderr.
    """

    def __init__(self, address, arguments, cwd, environment, files):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(address)
        request = json.dumps([arguments, str(cwd), environment]).encode()
        socket.send_fds(self.connection, [len(request).to_bytes(8, "big")], files)
        self.connection.sendall(request)
        self.pid = int.from_bytes(self.connection.recv(8), "big")
        self.returncode = None

    def poll(self):
        if self.returncode is None and select.select([self.connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            self.connection.settimeout(timeout)
            self.returncode = int.from_bytes(self.connection.recv(8), "big", signed=True)
            self.connection.close()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Completed(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class ForkServer:
    """Starts the Python that forks, and commands in it. Its files are in a short folder: an address has 107 bytes.

    Args:
        folder: empty.
        python: the program; None: that of this process.
        environment: of the server; None: that of this process.

    Attributes:
        interpreter: stands for `python`.
    """

    def __init__(self, folder, python=None, environment=None):
        import subprocess  # here: clients need to start at once

        self.address, self.interpreter = str(folder / "socket"), folder / "python"
        python = python or sys.executable
        text = INTERPRETER.format(python=python, tests=str(Path(__file__).parent), address=self.address)
        self.interpreter.write_text(text)
        self.interpreter.chmod(0o755)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address)
        listener.listen()
        command = [python, __file__, str(listener.fileno())]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, pass_fds=[listener.fileno()])
        listener.close()

    def start(self, *arguments, cwd, environment=(), files=None):
        """Start a command.

        Args:
            arguments: of Python: `-m MODULE ...` or `FILE ...`.
            cwd: the folder to run in.
            environment: added to that of this process.
            files: descriptors of its stdin, stdout and stderr; None: it reads and writes nothing.
        """
        environment = {**os.environ, "PYTHON_EXEC": str(self.interpreter), **dict(environment)}
        with open(os.devnull, "r+") as nothing:
            files = files or [nothing.fileno()] * 3
            return Process(self.address, [str(argument) for argument in arguments], cwd, environment, files)

    def run(self, *arguments, cwd, environment=(), timeout=300):
        """Run a command, and return its exit code and what it wrote to stdout and stderr."""
        with open(os.devnull) as nothing, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            files = [nothing.fileno(), out.fileno(), err.fileno()]
            code = self.start(*arguments, cwd=cwd, environment=environment, files=files).wait(timeout)
            out.seek(0)
            err.seek(0)
            return Completed(code, out.read(), err.read())

    def close(self):
        self.server.stdin.close()
        self.server.wait()


def stand_for_python(address, arguments):
    """Run a command in a fork in place of this process; signals are passed on."""
    arguments = arguments[1:] if arguments[0] == "-u" else arguments  # torchrun's
    process = Process(address, arguments, os.getcwd(), dict(os.environ), [0, 1, 2])
    for number in FORWARDED:
        signal.signal(number, lambda number, frame: process.send_signal(number))
    code = process.wait()
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def serve(listener):
    """Fork for each request, until the process that started this one ends. Then this one ends too.

    Returns:
        In a fork: the arguments of its command.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return answer(connection)
        connection.close()
    os._exit(0)


def answer(connection):
    """Fork once more: one process becomes the command, the other one reports how it ends."""
    size, files, *_ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        arguments, folder, environment = json.loads(stream.read(int.from_bytes(size, "big")))
    pid = os.fork()
    for place, file in enumerate(files):
        os.dup2(file, place)
        os.close(file)
    if pid:
        report(connection, pid)
    connection.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = sys.__stdin__ = open(0)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1 if os.isatty(1) else -1)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    return arguments


def report(connection, pid):
    """Send the number and the exit code of a process; kill it if nobody waits for it. Never returns."""
    for file in range(3):  # nobody shall wait for this process to close them
        os.close(file)
    connection.sendall(pid.to_bytes(8, "big"))
    ended = os.pidfd_open(pid)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))
    os._exit(0)


def run(arguments):
    """Run the arguments of Python in this process."""
    import runpy

    if arguments[0] == "-m":
        sys.argv, sys.path[0] = arguments[1:], os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = arguments, str(Path(arguments[0]).parent.resolve())
        runpy.run_path(arguments[0], run_name="__main__")


def leave(code):
    """End this process as Python does, less the seconds in which that would free a gigabyte of modules."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    for package in PACKAGES:
        import_module(package)
    os.fsync = lambda descriptor: None  # see conftest.py
    gc.collect()
    gc.freeze()  # a collection would copy all of these pages into each fork
    command = serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        run(command)
        leave(0)
    except SystemExit as stopped:
        leave(stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None))
