"""Every command of the README and docs, verbatim, in its order, in one folder: a clone of this repository.

The clone differs in two things, for time: its `.venv` borrows the packages of the Python that runs this test, and a run
without a budget of its own trains for a few steps.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

from tests.shown_commands import PAGES, ROOT, list_commands, read_files

MARK = "---- exit code"


def write_program(file, python, code):
    file.write_text(f"#!{python}\nimport sys\n{code}\n")
    file.chmod(0o755)


def make_environment(clone):
    """Make the `.venv` that `scripts/mmrun` would make, out of the packages of this Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    programs = clone / ".venv" / "bin"
    (packages,) = clone.glob(".venv/lib/*/site-packages")
    (packages / "borrowed.pth").write_text(f"{clone}\n{sysconfig.get_path('purelib')}\n")
    write_program(programs / "mmrun", programs / "python", "from mmrun.cli import main\nsys.exit(main())")
    torchrun = "from torch.distributed.run import main\nsys.exit(main())"
    write_program(programs / "torchrun", programs / "python", torchrun)
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
    make_environment(clone)
    train = clone / "configs" / "train.yaml"
    train.write_text(train.read_text().replace("budget: {} ", "budget: {steps: 6} "))
    return clone


def run_page(clone, page):
    """Run the commands of a page in one shell. Return those that fail, with what they print."""
    for file, content in read_files(page).items():
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        (clone / file).write_text(content)
    commands = [command for command in list_commands(page) if command.is_run]
    script = [] if page.name == "README.md" else [". .venv/bin/activate"]
    for command in commands:
        script += [command.text, f'printf "\\n%s %s\\n" "{MARK}" $?']
    (clone / "page.sh").write_text("\n".join(script))
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment |= {"MMRUN_CACHE": str(clone / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "page.sh"],
        cwd=clone,
        env=environment,
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


def test_every_command_works_in_a_clone(clone):
    failures = []
    for page in PAGES:
        failures += run_page(clone, page)
    assert not failures, "\n\n".join(failures)
