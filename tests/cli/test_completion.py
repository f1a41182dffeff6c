"""mmrun completion: what Tab offers, from Python and from a real bash."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from runs.fabricate import started

import mmrun
from mmrun.cli import VERBS, main
from mmrun.cli.completion import complete
from mmrun.compose import options

REPOSITORY = Path(mmrun.__file__).parents[1]


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
        ("mmrun train --ag", ["--again"]),
        ("mmrun train --cfg ", ["job"]),
        ("mmrun train se", ["seed="]),
        ("mmrun train strat", ["strategy.", "strategy="]),
        ("mmrun train strategy=comp", ["strategy=component"]),
        ("mmrun train -m strategy=scratch,comp", ["strategy=scratch,component"]),
        ("mmrun train encoder/image=cn", ["encoder/image=cnn"]),
        ("mmrun train enc", ["encoder."]),
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
def test_what_may_follow(line, words):
    assert complete(line) == words


def test_every_verb_and_every_option_is_offered():
    assert complete("mmrun ") == sorted(VERBS)
    assert complete("mmrun train fusion=") == [f"fusion={name}" for name in options("fusion")]


def test_the_modalities_of_the_chosen_data_set_take_encoders_of_their_kind():
    words = complete("mmrun train dataset=synthetic encoder.a=")
    assert words == [f"encoder.a={name}" for name in options("encoder/tabular")]
    assert words


def test_runs_are_offered_by_name(tmp_path, monkeypatch):
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
tab 'mmrun train seed=1 strategy=comp'
tab 'mmrun train strategy=scratch,comp'
COMP_WORDBREAKS=' '
tab 'mmrun train strategy=comp'
"""


def test_in_bash():
    script = BASH.format(python=shlex.quote(sys.executable))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "complete -o default -F _mmrun mmrun",
        "completion",
        "component",  # bash takes "=" as the end of a word
        "scratch,component",
        "strategy=component",
    ]


def test_zsh_borrows_the_script_of_bash(capsys):
    assert main(["completion", "zsh"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["autoload -U +X compinit && compinit", "autoload -U +X bashcompinit && bashcompinit"]
    assert lines[-1] == "complete -o default -F _mmrun mmrun"


def test_no_hydra_is_imported():
    code = "import sys; from mmrun.cli.completion import complete; complete('mmrun train fusion='); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert not {"hydra", "omegaconf", "torch"} & set(done.stdout.split())
