"""mmrun completion: the completions, from Python, bash and zsh."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mmrun
from mmrun.cli import VERBS
from mmrun.cli.completion import complete
from mmrun.compose import list_options
from tests.results.fabricate import started

REPOSITORY = Path(mmrun.__file__).parents[1]
ZSH = shutil.which("zsh")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mmrun tr", ["train"]),
        ("mmrun --v", ["--version"]),
        ("mmrun nonsense x", []),
        ("mmrun compare --pa", ["--paired"]),
        ("mmrun compare --format ", ["csv", "json", "latex", "md", "table"]),
        ("mmrun completion ", ["bash", "zsh"]),
        ("mmrun options fus", ["fusion"]),
        ("mmrun options optimizer=ad", ["optimizer=adam", "optimizer=adamw"]),
        ("mmrun train --re", ["--rerun"]),
        ("mmrun da", ["data"]),
        ("mmrun data pre", ["prepare", "preview"]),
        ("mmrun data prepare m", ["meld", "mimic_cxr", "mm_imdb"]),
        ("mmrun data prepare meld --so", ["--source"]),
        ("mmrun data check --al", ["--all"]),
        ("mmrun data preview augment=tr", ["augment=trivial"]),
        ("mmrun train --cfg ", ["job"]),
        ("mmrun train se", ["seed="]),
        ("mmrun train strat", ["strategy.", "strategy="]),
        ("mmrun train strategy=froz", ["strategy=frozen"]),
        ("mmrun train -m strategy=scratch,froz", ["strategy=scratch,frozen"]),
        ("mmrun train encoder/image=cn", ["encoder/image=cnn"]),
        ("mmrun train enc", ["encoder.", "encoder_lr="]),
        ("mmrun train budget.s", ["budget.samples=", "budget.seconds=", "budget.steps="]),
        ("mmrun train trainer.prec", ["trainer.precision="]),
        ("mmrun train trainer.precision=b", ["trainer.precision=bf16"]),
        ("mmrun train +optimizer.bet", ["+optimizer.betas="]),
        ("mmrun train optimizer=sgd optimizer.n", ["optimizer.nesterov="]),
        ("mmrun train optimizer=adam optimizer.n", []),
        ("mmrun train strategy=component ~strategy.stages.pre", ["~strategy.stages.pretrain."]),
        (
            "mmrun train strategy=component strategy.stages.finetune.lr",
            ["strategy.stages.finetune.lr=", "strategy.stages.finetune.lr_scale="],
        ),
        ("mmrun train strategy.stages.finetune.objective=tas", ["strategy.stages.finetune.objective=task"]),
        (
            "mmrun train strategy.stages.finetune.keep=",
            [f"strategy.stages.finetune.keep={w}" for w in ("best", "last")],
        ),
    ],
)
def test_completions(line, words):
    assert complete(line) == words


def test_every_verb_and_option_is_completed():
    assert complete("mmrun ") == sorted({verb.split()[0] for verb in VERBS})
    assert complete("mmrun train fusion=") == [f"fusion={name}" for name in list_options("fusion")]


def test_encoders_match_the_kinds_of_the_chosen_data_set():
    words = complete("mmrun train dataset=synthetic encoder.a=")
    assert words == [f"encoder.a={name}" for name in list_options("encoder/tabular")]
    assert words


def test_run_names_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert complete("mmrun show ") == []
    run = started(tmp_path / "outputs")
    assert complete("mmrun show digits-") == complete("mmrun resume digits-") == [run.name]


BASH = """
mmrun() {{ {python} -m mmrun "$@"; }}
eval "$(mmrun completion bash)"
complete -p mmrun
tab() {{ COMP_LINE=$1 COMP_POINT=${{#1}}; _mmrun; printf '%s\\n' "${{COMPREPLY[@]}}"; }}
tab 'mmrun compl'
tab 'mmrun train seed=1 strategy=froz'
tab 'mmrun train strategy=scratch,froz'
COMP_WORDBREAKS=' '
tab 'mmrun train strategy=froz'
"""


def test_in_bash():
    script = BASH.format(python=shlex.quote(sys.executable))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "complete -o default -F _mmrun mmrun",
        "completion",
        "frozen",  # bash splits words at "="
        "scratch,frozen",
        "strategy=frozen",
    ]


@pytest.mark.skipif(ZSH is None, reason="no zsh on this machine: apt-get install zsh")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("mmrun compl", "mmrun completion "),
        ("mmrun train seed=1 strategy=froz", "mmrun train seed=1 strategy=frozen "),
        ("mmrun train strategy=scratch,froz", "mmrun train strategy=scratch,frozen "),
        ("mmrun train trainer.prec", "mmrun train trainer.precision="),
        ("mmrun predict run table.c", "mmrun predict run table.csv "),
    ],
)
def test_tab_in_zsh(tmp_path, typed, completed):
    """Type in a terminal, press Tab, and compare the line that zsh then has."""
    (tmp_path / "mmrun").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mmrun "$@"\n')
    (tmp_path / "mmrun").chmod(0o755)
    (tmp_path / "table.csv").touch()
    (tmp_path / ".zshrc").write_text(
        "PS1='ready> '\n"
        'show() { print -r -- "$BUFFER" > line; BUFFER=; }; zle -N show; bindkey "^G" show\n'
        'eval "$(mmrun completion zsh)"\n'
    )
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    environment |= {"PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    terminal, inner = pty.openpty()
    shell = subprocess.Popen(
        [ZSH, "-i"],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    try:
        output, line, deadline = "", tmp_path / "line", time.monotonic() + 60
        while "ready> " not in output and time.monotonic() < deadline:
            output += _read_terminal(terminal)
        os.write(terminal, f"{typed}\t\a".encode())
        while not (line.exists() and line.read_text()) and time.monotonic() < deadline:
            output += _read_terminal(terminal)
        assert line.exists(), output
        assert line.read_text() == f"{completed}\n", output
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)
        os.close(inner)


def _read_terminal(terminal):
    """Return what a terminal prints within 0.1 s."""
    readable, _, _ = select.select([terminal], [], [], 0.1)
    return os.read(terminal, 4096).decode(errors="replace") if readable else ""


def test_no_hydra_is_imported():
    code = "import sys; from mmrun.cli.completion import complete; complete('mmrun train fusion='); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert not {"hydra", "omegaconf", "torch"} & set(done.stdout.split())
