"""mmrun pack and unpack: one checked file to hand over, which may also come from a stranger."""

import json
import shutil
import stat
import zipfile

import pytest

from tests.people import rows, write


@pytest.fixture
def packed(shell, moved_run, tmp_path):
    code, out, err = shell("pack", moved_run, "-o", "run.zip")
    assert (code, out) == (0, "run.zip\n"), err
    return tmp_path / "run.zip"


def rewrite(archive, changes, remove=()):
    """Change members of an archive; a value is their new content or a function of the old one."""
    with zipfile.ZipFile(archive) as source:
        members = {info.filename: source.read(info) for info in source.infolist()}
    members |= {name: change(members[name]) if callable(change) else change for name, change in changes.items()}
    with zipfile.ZipFile(archive, "w") as target:
        for name, content in members.items():
            if name not in remove:
                target.writestr(name, content)


def edit_contents(**changes):
    return {"pack.json": lambda content: json.dumps(json.loads(content) | changes)}


def rename_file(old, new):
    def change(content):
        contents = json.loads(content)
        contents["files"][new] = contents["files"].pop(old)
        return json.dumps(contents)

    return {"pack.json": change}


def test_an_unpacked_run_predicts_the_same(shell, moved_run, packed, tmp_path):
    write(tmp_path / "new.csv", ["note", "weight", "height"], list(rows())[:5])
    assert shell("unpack", "run.zip")[:2] == (0, "outputs/unpacked/moved\n")
    for run, name in ((moved_run, "first.csv"), ("outputs/unpacked/moved", "second.csv")):
        assert shell("predict", run, "new.csv", "-o", name)[0] == 0
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert shell("show", "outputs/unpacked/moved")[0] == 0


def test_only_the_weights_that_predict_are_packed(shell, moved_run, packed, tmp_path):
    shell("pack", moved_run, "-o", "all.zip", "--all")
    with zipfile.ZipFile(packed) as few, zipfile.ZipFile(tmp_path / "all.zip") as every:
        folders = [
            {name.rsplit("/", 1)[0] for name in archive.namelist() if "safetensors" in name} for archive in (few, every)
        ]
    assert folders == [
        {"moved/checkpoints/train/best"},
        {"moved/checkpoints/train/best", "moved/checkpoints/train/last"},
    ]


def test_packing_twice_gives_the_same_bytes(shell, moved_run, packed, tmp_path):
    shell("pack", moved_run, "-o", "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_a_file_that_is_no_archive_is_not_replaced(shell, moved_run, tmp_path):
    (tmp_path / "rows.csv").write_text("note,label\n")
    message = "mmrun: rows.csv: exists, and is no archive; pack elsewhere with -o FILE\n"
    assert shell("pack", moved_run, "-o", "rows.csv") == (2, "", message)
    assert (tmp_path / "rows.csv").read_text() == "note,label\n"


def test_a_run_is_not_unpacked_over_another(shell, packed):
    shell("unpack", "run.zip")
    assert shell("unpack", "run.zip") == (
        2, "", "mmrun: outputs/unpacked/moved: exists; remove it, or unpack elsewhere with -o FOLDER\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "remove", "message"),
    [
        ({"moved/config.yaml": b"seed: 1\n"}, (), "config.yaml is shorter than its list says"),
        ({"moved/config.yaml": lambda content: content[:-2] + b"1\n"}, (), "config.yaml is not what was packed"),
        ({"moved/fitted.json": lambda content: content + b" " * 10**8}, (), "fitted.json is longer than its list says"),
        ({}, ("moved/log.jsonl",), "log.jsonl is missing"),
        ({}, ("pack.json",), "no archive of a run, it has no readable pack.json"),
        ({"pack.json": b"{" * 100_000}, (), "no archive of a run, it has no readable pack.json"),
        ({"pack.json": b"[]"}, (), "pack.json: the file: expected a mapping, not []"),
        (edit_contents(run=".."), (), "a file called '..' is refused"),
        (edit_contents(run="a/b"), (), "a run called 'a/b' is refused"),
        (rename_file("config.yaml", "../config.yaml"), (), "a file called '../config.yaml' is refused"),
        (rename_file("config.yaml", "/tmp/config.yaml"), (), "a file called '/tmp/config.yaml' is refused"),
        (rename_file("config.yaml", ".hidden"), (), "a file called '.hidden' is refused"),
    ],
)  # fmt: skip
def test_a_hostile_or_damaged_archive_leaves_nothing(shell, packed, tmp_path, changes, remove, message):
    rewrite(packed, changes, remove)
    assert shell("unpack", "run.zip") == (1, "", f"mmrun: run.zip: {message}\n")
    assert not (tmp_path / "outputs").exists()


def test_a_link_in_an_archive_is_refused(shell, packed, tmp_path):
    rewrite(packed, {}, ("moved/log.jsonl",))
    info = zipfile.ZipInfo("moved/log.jsonl")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    assert shell("unpack", "run.zip") == (1, "", "mmrun: run.zip: log.jsonl is not a file\n")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 half"])
def test_what_is_no_archive_is_refused(shell, tmp_path, content):
    (tmp_path / "run.zip").write_bytes(content)
    code, out, err = shell("unpack", "run.zip")
    assert (code, out) == (1, "")
    assert err.startswith("mmrun: run.zip: damaged, or no archive of a run (")


def test_a_newer_archive_names_the_version_that_reads_it(shell, packed):
    rewrite(packed, edit_contents(format=2, version="9.0"))
    assert shell("unpack", "run.zip") == (
        2, "", "mmrun: run.zip: was written by mmrun 9.0; install that version or a later one\n"
    )  # fmt: skip


def test_a_run_without_its_record_is_not_packed(shell, moved_run, tmp_path):
    shutil.copytree(moved_run, tmp_path / "old")
    (tmp_path / "old" / "fitted.json").unlink()
    code, out, err = shell("pack", "old")
    assert (code, out) == (2, "")
    assert err == (
        "mmrun: old: an earlier version of mmrun trained this run, and did not record what new rows are read by; train "
        "it again with --rerun\n"
    )


def test_a_name_that_unpack_would_refuse_is_refused_at_once(shell, moved_run, tmp_path):
    shutil.copytree(moved_run, tmp_path / "my run")
    assert shell("pack", "my run") == (
        2, "", "mmrun: my run: a file called 'my run' is refused; rename it, to letters, digits and . _ = , + -\n"
    )  # fmt: skip


def test_a_run_is_packed_from_inside_its_folder(shell, moved_run, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(moved_run, tmp_path / "inside"))
    assert shell("pack", ".", "-o", tmp_path / "run.zip")[0] == 0
    assert shell("unpack", tmp_path / "run.zip", "-o", tmp_path)[:2] == (2, "")  # the run is there
    assert shell("unpack", tmp_path / "run.zip", "-o", tmp_path / "new")[:2] == (0, f"{tmp_path}/new/inside\n")
