"""What the verbs show at several widths, literally, in tests/cli/snapshots.

    MMRUN_RENEW_SNAPSHOTS=1 pytest tests/cli/test_snapshots.py

writes them anew; read the difference before you commit it.
"""

import os
import re
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from mmrun.cli import main, plan
from mmrun.cli.answer import print_answer
from mmrun.run.estimate import ColumnEstimate, RunEstimate, StageEstimate
from tests.results.fabricate import detail, finished, started

SNAPSHOTS = Path(__file__).parent / "snapshots"
WIDTHS = {"80": 80, "100": 100, "120": 120, "200": 200, "piped": None}
TWO_HOURS = 7200

CONFIGS = {
    "dataset/digits.yaml": "# Handwritten and spoken digits, with their names as text\nseed: 0\n",
    "encoder/image/cnn.yaml": "# A small convolutional network\ndim: 64  # of the pooled vector\n",
    "encoder/image/resnet18.yaml": "# ResNet-18 (He et al., 2016), from random or pretrained weights\n",
    "fusion/gated.yaml": "# Gated multimodal unit (Arevalo et al., 2017): modalities weighted by gates of all of them\n"
    "dim: 128     # of the fused vector\ndropout: 0.0\nstages: {first: [encoder, fusion], second: [head]}\n",
    "fusion/late.yaml": "# Decision-level fusion: the average of one linear classifier per modality\n",
    "strategy/scratch.yaml": "# Train everything at once, from random weights\n",
}


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "outputs"


def age_files(folder):
    """Make all files two hours old, so that their age is the same for the next minute."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - TWO_HOURS,) * 2)


def write_runs(outputs):
    runs = []
    for strategy, accuracy in (("scratch", 0.61), ("component_frozen_first", 0.74), ("probe_then_finetune", 0.72)):
        for seed in range(3):
            runs.append(detail(finished(outputs, accuracy + 0.01 * seed**2, strategy, seed, dataset__labelled=0.1)))
    return runs


def show_ls(outputs):
    for run in write_runs(outputs)[::3]:
        run.write_request(run.read_config(), ["dataset.labelled=0.1"])
    labels = {"tag": ["pilot", "v2"], "note": "learning rate too low: the loss still falls at the end of the budget"}
    labelled = finished(outputs, 0.8, "component", **labels)
    labelled.write_request(labelled.read_config(), ["fusion=concat", "tag=[pilot,v2]"])
    failed = started(outputs, "component", seed=1)
    failed.status.write("failed", message="the loss is nan")
    finished(outputs, 0.5, seed=7).metrics_file.write_text("{")
    age_files(outputs)
    assert main(["ls"]) == 0


def show_show(outputs):
    choices = {"dataset": "digits", "encoder.image": "cnn", "fusion": "concat", "strategy": "component_frozen_first"}
    choices["strategy.stages.train.objective"] = "self_supervised"
    note = "learning rate too low: the loss still falls at the end of the budget, so try 1e-3 with a longer warmup"
    run = detail(finished(outputs, 0.875, "component_frozen_first", choices=choices, tag="pilot", note=note))
    assert main(["show", run.name]) == 0


def show_compare(outputs):
    write_runs(outputs)
    assert main(["compare", "--by", "strategy,dataset.labelled", "--against", "scratch", "--paired"]) == 0


def show_options(outputs):
    assert main(["options"]) == 0
    assert main(["options", "fusion"]) == 0
    assert main(["options", "fusion=gated"]) == 0


def show_diff(outputs):
    a = finished(outputs, 0.875, "scratch", encoder__image__dim=64)
    b = finished(outputs, 0.875 + 4.554e-18, "component_frozen_first", encoder__image__dim=128)
    assert main(["diff", a.name, b.name]) == 0


def show_data_check(outputs):
    rows = [
        f"{20 + i % 50},{'large and red' if i % 2 else 'small and blue'} spot {i},p{i % 40},{i % 2}" for i in range(120)
    ]
    Path("patients.csv").write_text("\n".join(["age_at_admission,description_of_lesion,patient,label", *rows]))
    main(["data", "check", "patients.csv", "target=label", "group=patient"])


def show_plan(outputs):
    stages = [
        StageEstimate("pretrain-image", "a", True, 230, 0.0125, 4.0, 10, 0.5, 12.0, 1.5e12, 2 << 20, 3 << 20),
        StageEstimate("finetune", "b", False, 460, 0.025, 0.0, 10, 0.75, 25.0, 3e12, 4 << 20, 0),
    ]
    estimate = RunEstimate(stages, 2.0, [ColumnEstimate("k", "image", 1797, 5 << 20, 3.0, "disk")])
    labels = ["strategy=component_frozen_first fusion=cross_attention dataset.labelled=0.1", "strategy=scratch"]
    groups = [plan.RunGroup(label, [0, 1, 2], 3.0, estimate) for label in labels]
    print_answer(plan._describe_plan(groups, plan._sum_up(groups, 6, 0), is_search=False), "table")


def show_cache_ls(outputs):
    for kind, name in (("columns", "0f3a9c2b7d1e4f60"), ("columns", "9b1d7e5f2c3a4b60.partial")):
        folder = Path("cache") / kind / name
        folder.mkdir(parents=True)
        (folder / "values.npy").write_bytes(bytes(3 << 20))
    age_files(Path("cache"))
    assert main(["cache", "ls", "--cache", "cache"]) == 0


VERBS = {
    "ls": show_ls,
    "show": show_show,
    "compare": show_compare,
    "options": show_options,
    "diff": show_diff,
    "data_check": show_data_check,
    "plan": show_plan,
    "cache_ls": show_cache_ls,
}


def show(verb, outputs, width, monkeypatch, capsys):
    """Return what a verb prints to stdout."""
    configs = outputs.parent / "shipped"
    for name, text in CONFIGS.items():
        (configs / name).parent.mkdir(parents=True, exist_ok=True)
        (configs / name).write_text(text)
    monkeypatch.setattr("mmrun.cli.table.terminal_width", lambda stream: width)
    if verb == "options":
        monkeypatch.setattr("mmrun.cli.options.config_dir", lambda: configs)
    VERBS[verb](outputs)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("verb", VERBS)
def test_output_is_the_snapshot_and_fits(verb, width, outputs, monkeypatch, capsys):
    shown = show(verb, outputs, WIDTHS[width], monkeypatch, capsys)
    file = SNAPSHOTS / f"{verb}-{width}.txt"
    if os.environ.get("MMRUN_RENEW_SNAPSHOTS"):
        file.write_text(shown)
    assert shown == file.read_text()
    if WIDTHS[width] is not None:
        assert [line for line in shown.splitlines() if cell_len(line) > WIDTHS[width]] == []
        assert find_broken_words(shown, (SNAPSHOTS / f"{verb}-piped.txt").read_text()) == []


def find_broken_words(shown, unwrapped):
    """Return the words that are neither whole nor a part between punctuation."""
    allowed = set()
    for word in unwrapped.split():
        pieces = re.findall(r"[^/._=,:;-]*[/._=,:;-]+|[^/._=,:;-]+", word)
        for start in range(len(pieces)):
            allowed |= {"".join(pieces[start:end]) for end in range(start + 1, len(pieces) + 1)}
    return [word for word in shown.split() if word not in allowed and set(word) not in ({"─"}, {"\\"})]


def test_every_snapshot_belongs_to_a_verb():
    expected = {f"{verb}-{width}.txt" for verb in VERBS for width in WIDTHS}
    assert {file.name for file in SNAPSHOTS.iterdir()} == expected


def test_colours_only_without_no_color(outputs, monkeypatch, capsys):
    write_runs(outputs)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["ls"]) == 0
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["ls"]) == 0
    assert "\x1b" not in capsys.readouterr().out
