"""mmrun data prepare: what it prints, writes and refuses."""

import json

import pytest

from mmrun.cli import main
from mmrun.data.benchmarks.catalog import BENCHMARKS
from tests.data.benchmarks.layouts import write_crema_d, write_food_101


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *words):
    code = main(["data", "prepare", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_all_benchmarks_are_listed(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:13]] == list(BENCHMARKS)


def test_without_a_source_it_says_where_to_get_it_and_under_which_licence(capsys):
    code, out, _ = run(capsys, "ravdess")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "RAVDESS (Livingstone and Russo, 2018)"
    assert "  get it from: https://zenodo.org/records/1188976" in lines
    assert "  licence: CC BY-NC-SA 4.0" in lines
    assert lines[-1] == "to prepare: mmrun data prepare ravdess --source DIR"


def test_a_manifest_is_written_with_the_commands_that_check_it_and_train_on_it(capsys, folder):
    write_crema_d(folder / "CREMA-D")
    code, out, err = run(capsys, "crema_d", "--source", "CREMA-D")
    assert (code, err) == (0, "")
    assert (folder / "crema_d.csv").read_text().splitlines()[1] == (
        "1001_DFA_ANG_XX,AudioWAV/1001_DFA_ANG_XX.wav,VideoFlash/1001_DFA_ANG_XX.jpg,anger,1001,DFA,unspecified,30,male"
    )
    lines = out.splitlines()
    assert lines[0] == "crema_d.csv: 12 rows"
    assert "  the official release has 7,442 rows, this folder 12" in lines
    assert lines[-1] == (
        "to train: mmrun train dataset=manifest dataset.path=crema_d.csv dataset.root=CREMA-D "
        "dataset.columns.audio=audio dataset.columns.image=image dataset.target=emotion dataset.task=classification "
        "dataset.group=speaker"
    )


def test_a_manifest_in_the_folder_needs_no_root(capsys, folder):
    write_crema_d(folder / "CREMA-D")
    code, out, _ = run(capsys, "crema_d", "--source", "CREMA-D", "-o", "CREMA-D/manifest.csv", "--format", "json")
    assert code == 0
    assert json.loads(out)["check"] == (
        "mmrun data check CREMA-D/manifest.csv columns.audio=audio columns.image=image target=emotion "
        "task=classification group=speaker"
    )


def test_missing_files_are_counted_named_and_only_with_permission_left_empty(capsys, folder):
    write_crema_d(folder / "CREMA-D")
    for stem in ("1001_DFA_ANG_XX", "1004_DFA_HAP_XX"):
        (folder / "CREMA-D" / "AudioWAV" / f"{stem}.wav").unlink()
    code, out, err = run(capsys, "crema_d", "--source", "CREMA-D")
    assert (code, out) == (2, "")
    assert err == (
        "mmrun: CREMA-D: files of CREMA-D are missing: 2 of audio (AudioWAV/1001_DFA_ANG_XX.wav, "
        "AudioWAV/1004_DFA_HAP_XX.wav); get them, or leave their cells empty with --allow-missing\n"
    )
    assert [path.name for path in folder.iterdir()] == ["CREMA-D"]
    code, out, _ = run(capsys, "crema_d", "--source", "CREMA-D", "--allow-missing")
    assert code == 0
    assert "  audio: 2 files\n    AudioWAV/1001_DFA_ANG_XX.wav\n    AudioWAV/1004_DFA_HAP_XX.wav\n" in out
    assert (folder / "crema_d.csv").read_text().splitlines()[1].startswith("1001_DFA_ANG_XX,,VideoFlash/")


def test_a_modality_that_no_row_has_is_not_read(capsys, folder):
    write_food_101(folder / "food")
    for image in (folder / "food").rglob("*.jpg"):
        image.unlink()
    code, out, _ = run(capsys, "food_101", "--source", "food", "--allow-missing", "--format", "json")
    assert code == 0
    answer = json.loads(out)
    assert len(answer["missing"]["image"]) == 20
    assert answer["train"] == (
        "mmrun train dataset=manifest dataset.path=food_101.csv dataset.root=food dataset.columns.text=text "
        "dataset.kinds.text=text dataset.target=dish dataset.task=classification"
    )


def test_links_out_of_the_folder_are_followed_with_permission(capsys, folder):
    write_food_101(folder / "food")
    (folder / "food" / "images").rename(folder / "images")
    (folder / "food" / "images").symlink_to(folder / "images")
    code, _, err = run(capsys, "food_101", "--source", "food")
    assert code == 2
    assert "'images' is a link out of the folder" in err
    code, out, _ = run(capsys, "food_101", "--source", "food", "--allow-outside")
    assert code == 0
    assert out.splitlines()[-1].endswith(" dataset.allow_outside=true")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["meldd"], "no benchmark 'meldd'; did you mean 'meld'? (there are av_mnist, "),
        (["--source", "x"], "name the benchmark before --source (there are av_mnist, "),
        (["meld", "-o", "a.csv"], "name the folder of MELD: --source DIR\n"),
        (["meld", "--source", "x"], "--source x: is not a folder; name the one into which MELD was unpacked\n"),
        (["meld", "--source", "."], ".: is not a folder of MELD: it lacks train/train_sent_emo.csv or "),
        (["av_mnist", "--source", ".", "-o", "a.csv"], "-o a.csv: images lie in the cells of this manifest; name a "),
    ],
)
def test_what_cannot_be_prepared_is_refused(capsys, folder, words, message):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"mmrun: {message}")
    assert list(folder.iterdir()) == []
