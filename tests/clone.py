"""A clone of this repository in which a page's commands are typed.

It differs from a user's clone in three things, for time: its `.venv` borrows the packages of the Python that runs the
tests, a run without a budget of its own trains for a few steps, and `mmrun` is forked from a Python that has imported
the packages. `scripts/mmrun`, `python` and `torchrun` start anew.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.fork_server import ForkServer
from tests.shown_commands import ROOT, list_commands, read_files

MARK = "---- exit code"
ACTIVATE = ". .venv/bin/activate"


def write_program(file, interpreter, code):
    file.write_text(f"#!{interpreter}\n{code}\n")
    file.chmod(0o755)


def make_venv(clone):
    """Make the `.venv` that `scripts/mmrun` would make, out of the packages of this Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    programs = clone / ".venv" / "bin"
    (packages,) = clone.glob(".venv/lib/*/site-packages")
    (packages / "borrowed.pth").write_text(f"{clone}\n{sysconfig.get_path('purelib')}\n")
    for name, module in (("mmrun", "mmrun.cli"), ("torchrun", "torch.distributed.run")):
        write_program(programs / name, programs / "python", f"import sys\nfrom {module} import main\nsys.exit(main())")
    made_for = '. scripts/venv.sh; describe_venv "" > "$venv/made-for"'
    subprocess.run(["bash", "-c", made_for], cwd=clone, check=True)


def make_clone(folder):
    """Copy the checked-out files to a folder, make an environment of its own for them, and return it."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout
    for file in files.rstrip("\0").split("\0"):
        if (ROOT / file).is_file():
            (folder / "mmrun" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / "mmrun" / file)
    clone = folder / "mmrun"
    make_venv(clone)
    train = clone / "configs" / "train.yaml"
    train.write_text(train.read_text().replace("budget: {} ", "budget: {steps: 6} "))
    return clone


def make_environment(clone):
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return environment | {"MMRUN_CACHE": str(clone / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def fork_programs(clone):
    """Yield a folder with an `mmrun` that forks from the clone's Python."""
    with TemporaryDirectory(prefix="mmrun-") as folder:
        server = ForkServer(Path(folder), clone / ".venv/bin/python", make_environment(clone))
        programs = Path(folder) / "bin"
        programs.mkdir()
        write_program(programs / "mmrun", "/bin/sh", f'exec {server.interpreter} {clone}/.venv/bin/mmrun "$@"')
        yield programs
        server.close()


class Result(NamedTuple):
    """How a command ended, and what it wrote to stdout and stderr."""

    command: str
    code: str
    output: str


def run_page(clone, programs, page):
    """Run the commands of a page in one shell, in a clone whose environment is active, save for the README's."""
    for file, content in read_files(page).items():
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        (clone / file).write_text(content)
    commands = [command for command in list_commands(page) if command.is_run]
    first_on_path = f"PATH={programs}:$PATH"
    script = [] if page == ROOT / "README.md" else [ACTIVATE, first_on_path]
    for command in commands:
        script += [command.text, f'printf "\\n%s %s\\n" "{MARK}" $?']
        if command.text.startswith(ACTIVATE):
            script.append(first_on_path)
    (clone / f"{page.stem}.sh").write_text("\n".join(script))
    done = subprocess.run(
        ["bash", f"{page.stem}.sh"],
        cwd=clone,
        env=make_environment(clone),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    results = re.split(rf"\n{MARK} (\d+)\n", done.stdout)
    outputs, codes = results[0::2], results[1::2]
    assert len(codes) == len(commands)
    return [Result(*result) for result in zip([command.text for command in commands], codes, outputs, strict=False)]


def format_failures(results):
    return "\n\n".join(f"{result.code} {result.command}\n{result.output}" for result in results if result.code != "0")
