"""A damaged or hostile run folder: its row says so, and the other runs are listed, compared and reported as before."""

import json
import os
import time
from pathlib import Path

import pytest

from mmrun.cli import main
from mmrun.errors import MmrunError
from mmrun.results.files import MAX_BYTES, MAX_YAML_BYTES, read_json, read_yaml, write_atomically, write_yaml
from mmrun.results.folder import RunFolder
from mmrun.results.folder_lock import lock_run
from tests.results.fabricate import detail, finished, started

BOMB = "a: &a [x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def replace_by(kind: str, file: Path) -> None:
    """Put something else in the place of a file."""
    file.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    elif kind == "huge":  # takes no room on the disk
        with file.open("wb") as stream:
            stream.truncate(1 << 40)
    elif kind == "loop":
        file.symlink_to(file.name)
    else:
        file.write_text(
            {"deep": "[" * 100_000 + "\n", "empty": "", "binary": "\x00\xff", "list": "[1]\n", "text": "{]\n"}[kind]
        )


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two intact runs of each of two strategies, and one more that a test damages."""
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    for strategy, accuracy in (("scratch", 0.5), ("component", 0.7)):
        for seed in range(2):
            detail(finished(outputs, accuracy + seed / 100, strategy, seed))
    return detail(finished(outputs, 0.9, "holistic"))


def run_verbs(victim: RunFolder, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return what each verb prints; none takes long or fails because of the damaged run."""
    printed = {}
    for verb in (["ls"], ["compare", "--metric", "test/accuracy"], ["report", "--format", "md"]):
        begun = time.monotonic()
        assert main(verb) == 0, capsys.readouterr().err
        out, err = capsys.readouterr()
        printed[verb[0]] = out + err
        assert time.monotonic() - begun < 20
        for strategy in ("scratch", "component"):
            assert strategy in out
    others = [path.name for path in victim.path.parent.iterdir() if path.name != victim.name]
    assert main(["diff", others[0], others[1]]) == 0
    assert main(["show", others[0]]) == 0
    capsys.readouterr()
    return printed


@pytest.mark.parametrize(
    "kind", ["fifo", "device", "folder", "huge", "loop", "deep", "empty", "binary", "list", "text"]
)
@pytest.mark.parametrize("name", ["metrics.json", "status.json"])
def test_a_damaged_run_is_a_row_that_says_why(name, kind, runs, capsys):
    if name == "status.json":
        runs.metrics_file.unlink()  # else it is finished, whatever its status
    replace_by(kind, runs.path / name)
    printed = run_verbs(runs, capsys)
    if kind == "loop":  # a link that leads nowhere is no file
        return
    (row,) = (line for line in printed["ls"].splitlines() if line.split()[0].endswith(runs.name))
    assert " damaged " in row
    assert name in row
    assert f"note: damaged and left out: {runs.name}: {name}" in printed["compare"]
    for verb in (["show", runs.name], ["diff", runs.name, runs.name]):
        assert main(verb) in (0, 1, 2)
        assert len(capsys.readouterr().err.splitlines()) <= 1


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "huge", "deep", "text"])
@pytest.mark.parametrize("name", ["environment.json", "evaluation.json", "log.jsonl"])
def test_a_damaged_side_file_leaves_the_run_out_of_the_report(name, kind, runs, capsys):
    replace_by(kind, runs.path / name)
    printed = run_verbs(runs, capsys)
    assert f"damaged and left out: {runs.name}: {name}" in printed["report"]


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "huge", "deep", "empty", "list", "text", "bomb"])
def test_a_damaged_config_is_one_line(kind, runs, capsys):
    if kind == "bomb":
        runs.config_file.write_text(BOMB)
    else:
        replace_by(kind, runs.config_file)
    run_verbs(runs, capsys)
    for verb in ("show", "resume", "eval"):
        begun = time.monotonic()
        assert main([verb, str(runs.path)]) in (1, 2)
        err = capsys.readouterr().err
        assert err.startswith("mmrun: ")
        assert "config.yaml" in err
        assert len(err.splitlines()) == 1
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("read", "content", "reason"),
    [
        (read_yaml, BOMB, "line 2 refers to another part: *a"),
        (read_yaml, "a: " + "1:" * 100_000 + "1", "line 1: a number of base 60; quote it"),
        (read_yaml, "[" * 100_000, "more than 64 levels"),
        (read_yaml, "a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        (read_yaml, "a" * (MAX_YAML_BYTES + 1), "larger than 1 MiB"),
        (read_json, "[" * 100_000, "more than 64 levels"),
        (read_json, "[" * 80 + "]" * 80, "more than 64 levels"),
        (read_json, "9" * 10_000, "Exceeds the limit"),
        (read_json, r'"\ud800"', "surrogates not allowed"),
        (read_json, " " * (MAX_BYTES + 1), "larger than 16 MiB"),
    ],
)
def test_bombs_are_refused_before_they_grow(read, content, reason, tmp_path):
    (tmp_path / "file").write_text(content)
    begun = time.monotonic()
    with pytest.raises(MmrunError) as caught:
        read(tmp_path / "file")
    assert reason in str(caught.value)
    assert time.monotonic() - begun < 5


def test_equal_parts_are_written_without_references(tmp_path):
    shared = {"a": [1, 2]}
    write_yaml(tmp_path / "config.yaml", {"x": shared, "y": shared})
    assert read_yaml(tmp_path / "config.yaml") == {"x": {"a": [1, 2]}, "y": {"a": [1, 2]}}


@pytest.mark.parametrize(
    ("key_path", "value", "reason"),
    [
        (("metrics", "test", "accuracy"), "high", "metrics.test.accuracy: expected a number or null, not 'high'"),
        (("cost", "stages"), [], "cost.stages: expected a mapping, not []"),
        (("cost", "seconds"), 10**400, "cost.seconds: expected a number, not 1000"),
        (("budget",), {}, "budget: expected one unit"),
        (("choices",), {"strategy": {"a": 1}}, "choices.strategy: expected a string, not {'a': 1}"),
        (("config", "strategy"), None, "strategy: expected a mapping, not None"),
    ],
)
def test_a_wrong_layout_is_named_by_its_key(key_path, value, reason, runs, capsys):
    content = json.loads(runs.metrics_file.read_text())
    node = content
    for key in key_path[:-1]:
        node = node[key]
    node[key_path[-1]] = value
    runs.metrics_file.write_text(json.dumps(content))
    printed = run_verbs(runs, capsys)
    assert f"metrics.json: {reason}" in printed["ls"]


def test_links_lead_neither_in_circles_nor_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = finished(tmp_path / "outputs", 0.5)
    for name in ("a", "b"):
        (tmp_path / "outputs" / name).symlink_to(tmp_path / "outputs")
    (tmp_path / "outputs" / "root").symlink_to("/")
    (tmp_path / "outputs" / "linked").symlink_to(run.path)
    begun = time.monotonic()
    assert main(["ls"]) == 0
    assert time.monotonic() - begun < 10
    out = capsys.readouterr().out
    assert out.count(" finished ") == 2  # the run, and the link to it


def test_training_writes_through_no_link(tmp_path):
    run = started(tmp_path / "outputs")
    target = tmp_path / "precious"
    target.write_text("precious\n")
    run.log_file.symlink_to(target)
    with (
        pytest.raises(MmrunError, match=r"log\.jsonl: is a link, which training does not write through"),
        lock_run(run),
    ):
        pass
    with pytest.raises(MmrunError, match=r"cannot be written .*symbolic link"):
        run.log.append({"event": "x"})
    (run.path / f".metrics.json.{os.getpid()}").symlink_to(target)
    write_atomically(run.metrics_file, lambda path: path.write_text("{}"))
    assert target.read_text() == "precious\n"


def test_a_rerun_removes_links_and_not_what_they_lead_to(tmp_path):
    run = finished(tmp_path / "outputs", 0.5)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (run.path / "checkpoints").symlink_to(precious)
    run.clear()
    assert list(run.path.iterdir()) == []
    assert (precious / "file").exists()


def test_environment_json_holds_no_secrets(tmp_path, monkeypatch):
    from mmrun.results.environment import describe_environment

    secrets = {"AWS_SECRET_ACCESS_KEY": "s3cr3t-1", "HF_TOKEN": "s3cr3t-2", "WANDB_API_KEY": "s3cr3t-3"}
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("USER", "s3cr3t-user")
    monkeypatch.setenv("HOME", str(tmp_path / "s3cr3t-home"))
    text = json.dumps(describe_environment("cpu", 1))
    assert "s3cr3t" not in text
    assert os.uname().nodename not in text
