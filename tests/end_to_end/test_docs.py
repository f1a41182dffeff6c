"""Every command of the README and docs, verbatim, in its order, in one folder: a clone of this repository.

The clone differs in three things, for time: its `.venv` borrows the packages of the Python that runs this test, a run
without a budget of its own trains for a few steps, and `mmrun` is forked from a Python that has imported the packages.
`scripts/mmrun`, `python` and `torchrun` start anew.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fork_server import ForkServer
from tests.shown_commands import PAGES, ROOT, list_commands, read_files

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


@pytest.fixture
def clone(tmp_path):
    """A clone of the checked-out files, in an environment of its own."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout
    for file in files.rstrip("\0").split("\0"):
        if (ROOT / file).is_file():
            (tmp_path / "mmrun" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, tmp_path / "mmrun" / file)
    clone = tmp_path / "mmrun"
    make_venv(clone)
    train = clone / "configs" / "train.yaml"
    train.write_text(train.read_text().replace("budget: {} ", "budget: {steps: 6} "))
    return clone


def make_environment(clone):
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return environment | {"MMRUN_CACHE": str(clone / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def forked_programs(clone):
    """A folder with an `mmrun` that forks from the clone's Python."""
    with TemporaryDirectory(prefix="mmrun-") as folder:
        server = ForkServer(Path(folder), clone / ".venv/bin/python", make_environment(clone))
        programs = Path(folder) / "bin"
        programs.mkdir()
        write_program(programs / "mmrun", "/bin/sh", f'exec {server.interpreter} {clone}/.venv/bin/mmrun "$@"')
        yield programs
        server.close()


def run_page(clone, programs, page):
    """Run the commands of a page in one shell. Return those that fail, with what they print."""
    for file, content in read_files(page).items():
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        (clone / file).write_text(content)
    commands = [command for command in list_commands(page) if command.is_run]
    first_on_path = f"PATH={programs}:$PATH"
    script = [] if page.name == "README.md" else [ACTIVATE, first_on_path]
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
    failures = []
    for command, output, code in zip(commands, outputs, codes, strict=False):
        print(f"{code} {command.page}: {command.text}")
        if code != "0":
            failures.append(f"{command.page}: {command.text}\n{output}")
    assert len(codes) == len(commands)
    return failures


def test_every_command_works_in_a_clone(clone, forked_programs):
    failures = []
    for page in PAGES:
        failures += run_page(clone, forked_programs, page)
    assert not failures, "\n\n".join(failures)
