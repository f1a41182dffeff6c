"""mmrun push and pull, through the real huggingface_hub, against a hub on the loopback address."""

import getpass
import json
import pickle
import shutil
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

import mmrun
from mmrun.deploy import card_metrics
from mmrun.deploy.card import read_source, write_card
from mmrun.deploy.share_files import clean_config, collect_files, shorten_paths
from mmrun.results.files import read_json, read_yaml, write_json, write_yaml
from mmrun.results.folder import RunFolder
from tests.deploy.fake_hub import TOKEN, Repository, read_uploads
from tests.people import rows, write

ADDRESS = "hf://ada/people"
FILES = [
    "README.md",
    "checkpoints/train/best/digests.json",
    "checkpoints/train/best/model.safetensors",
    "checkpoints/train/best/state.json",
    "config.yaml",
    "environment.json",
    "fitted.json",
    "metrics.json",
    "overrides.yaml",
    "pack.json",
]


@pytest.fixture(scope="module")
def shared_files(moved_run, tmp_path_factory):
    """What a push uploads, by path in the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card_metrics, "RESAMPLES", 5)
        card = write_card(read_source(RunFolder(moved_run), address=ADDRESS))
        shared = collect_files(RunFolder(moved_run), card, tmp_path_factory.mktemp("shared"))
    return {name: file.read_bytes() for name, file in shared.files.items()}


@pytest.fixture
def pushed(hub, shell, shared_files):
    """A hub with the run, as `mmrun push` leaves it."""
    hub.repositories["ada/people"] = Repository()
    hub.repositories["ada/people"].change(shared_files)
    return hub


def stored(hub, branch="main", name="ada/people"):
    repository = hub.repositories[name]
    return repository.commits[repository.branches[branch]]


def edit_contents(hub, edit):
    """Change pack.json as a hostile owner would."""
    contents = json.loads(stored(hub)["pack.json"])
    edit(contents["files"])
    hub.repositories["ada/people"].change({"pack.json": json.dumps(contents).encode()})


# -------------------------------------------------------------------------------------------------------------- push


def test_a_pulled_run_predicts_the_same(hub, shell, moved_run, tmp_path):
    code, out, err = shell("push", moved_run, ADDRESS)
    assert code == 0, err
    assert out.splitlines()[-1] == f"{hub.endpoint}/ada/people"
    write(tmp_path / "new.csv", ["note", "weight", "height"], list(rows())[:5])
    code, out, err = shell("pull", ADDRESS)
    assert (code, out) == (0, "outputs/pulled/moved\n"), err
    for run, name in ((moved_run, "first.csv"), ("outputs/pulled/moved", "second.csv")):
        assert shell("predict", run, "new.csv", "-o", name)[0] == 0
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert shell("show", "outputs/pulled/moved")[0] == 0
    assert shell("pack", "outputs/pulled/moved")[0] == 0


def test_a_run_of_a_hub_is_loaded_in_python(pushed, moved_run):
    records = [{"note": "a tall one", "weight": 60, "height": 190}]
    loaded = mmrun.load(ADDRESS)
    assert loaded.predict(records) == mmrun.load(moved_run).predict(records)
    folder = loaded.path
    assert folder.exists()
    del loaded
    assert not folder.exists()


def test_only_what_predicting_needs_is_uploaded(hub, shell, moved_run, shared_files):
    assert shell("push", moved_run, ADDRESS)[0] == 0
    assert sorted(shared_files) == FILES
    assert stored(hub) == stored(hub) | shared_files


def test_nothing_tells_who_trained_the_run_where_and_on_which_rows(hub, shell, moved_run, tmp_path):
    run = shutil.copytree(moved_run, tmp_path / "private")
    config = read_yaml(run / "config.yaml")
    config |= {"note": "for Ms Secret", "tag": "secret-project", "outputs": "/home/lovelace/outputs"}
    config["dataset"] |= {"path": "/home/lovelace/clinic/rows.csv", "root": "~/clinic"}
    config["callbacks"] = {"tracker": {"_target_": "clinic.Tracker", "key": "sk-secret"}}
    write_yaml(run / "config.yaml", config)
    local = ["dataset.path=/home/lovelace/clinic/rows.csv", "note=for Ms Secret", "init=[/home/lovelace/a]", "seed=0"]
    write_yaml(run / "overrides.yaml", local)
    environment = read_json(run / "environment.json")
    (run / "environment.json").write_text(json.dumps({**environment, "host": "lovelace-laptop"}))
    write_json(run / "status.json", {**read_json(run / "status.json"), "process": {"host": "lovelace-laptop"}})

    code, _, err = shell("push", run, ADDRESS)
    assert code == 0, err
    sent = read_uploads(hub)
    hidden = ["lovelace", "ecret", "clinic", str(tmp_path), f"{Path.home()}/", str(moved_run), TOKEN]
    assert [text for text in hidden if text.encode() in sent] == []
    assert f"/{getpass.getuser()}/".encode() not in sent
    row_names = [f'"p{row}"'.encode() for row in range(160)]
    assert not any(name in sent for name in row_names)
    assert yaml.safe_load(stored(hub)["overrides.yaml"]) == ["seed=0"]
    assert b"path: rows.csv\n" in stored(hub)["config.yaml"]


def test_a_file_that_holds_the_token_or_the_home_folder_is_not_sent(hub, shell, moved_run, tmp_path):
    run = shutil.copytree(moved_run, tmp_path / "leaking")
    config = read_yaml(run / "config.yaml")
    config["dataset"]["group"] = TOKEN
    write_yaml(run / "config.yaml", config)
    assert shell("push", run, ADDRESS) == (2, "", "mmrun: config.yaml: holds your token of the hub; nothing was sent\n")
    assert hub.received == []


@pytest.mark.parametrize(
    ("value", "shared"),
    [
        ("/home/ada/weights.safetensors", "weights.safetensors"),
        ("~/models/bert/", "bert"),
        ("../outputs/run-s0:encoder.image", "run-s0:encoder.image"),
        (r"C:\Users\ada\bert", "bert"),
        ("google/bert", "google/bert"),
        ("a/b c", "a/b c"),
        (["/a/b", {"key": "/c/d"}, 1, None], ["b", {"key": "d"}, 1, None]),
    ],
)
def test_paths_are_shortened_to_their_names(value, shared):
    assert shorten_paths(value) == shared


def test_relative_paths_of_the_data_set_are_shortened_as_well():
    config = {"dataset": {"path": "ada/private/rows.csv", "root": None}, "cache": "/scratch/ada", "note": "mine"}
    assert clean_config(config) == {
        "dataset": {"path": "rows.csv", "root": None},
        "cache": "~/.cache/mmrun",
        "note": None,
    }


def test_a_data_set_of_the_hub_keeps_its_name():
    assert clean_config({"dataset": {"path": "hf://ada/flowers"}}) == {"dataset": {"path": "hf://ada/flowers"}}


def test_a_dry_run_lists_the_files_and_sends_nothing(hub, shell, moved_run):
    code, out, err = shell("push", moved_run, ADDRESS, "--dry-run")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == FILES
    assert err.endswith("nothing is uploaded: --dry-run\n")
    assert hub.requests == []


def test_pushing_the_same_again_commits_nothing(pushed, shell, moved_run):
    code, _, err = shell("push", moved_run, ADDRESS)
    assert code == 0
    assert "nothing changed since commit" in err
    assert pushed.count()["commit"] == 0


def test_another_run_replaces_the_first_only_if_asked_to(pushed, shell, moved_run, tmp_path):
    pushed.repositories["ada/people"].change({"checkpoints/old.txt": b"of the owner"})
    other = shutil.copytree(moved_run, tmp_path / "other")
    (other / "environment.json").unlink()
    code, _, err = shell("push", other, ADDRESS)
    assert code == 2
    assert err.splitlines()[-1] == f"mmrun: {ADDRESS}: holds the run moved; use another name, or --replace it"
    assert shell("push", other, ADDRESS, "--replace")[0] == 0
    assert sorted(set(stored(pushed)) - {".gitattributes"}) == sorted(
        {*FILES, "checkpoints/old.txt"} - {"environment.json"}
    )


def test_a_branch_and_a_private_repository_are_made(hub, shell, moved_run):
    code, _, err = shell("push", moved_run, ADDRESS, "--private", "--revision", "trial", "--message", "First try")
    assert code == 0, err
    assert hub.repositories["ada/people"].private
    assert set(stored(hub)) == {".gitattributes"}
    assert set(stored(hub, "trial")) == {*FILES, ".gitattributes"}
    assert b'"summary": "First try"' in read_uploads(hub)
    assert shell("pull", f"{ADDRESS}@trial")[0] == 0


@pytest.mark.parametrize(
    ("repository", "options", "message"),
    [
        (Repository(), ["--private"], "exists and is public; make it private in its settings, or use another name"),
        (None, [], "exists, and holds something else than a run; use another name"),
    ],
)
def test_a_repository_of_something_else_is_left_alone(hub, shell, moved_run, repository, options, message):
    hub.repositories["ada/people"] = repository or Repository()
    if repository is None:
        hub.repositories["ada/people"].change({"pytorch_model.bin": b"weights"})
    before = stored(hub)
    code, _, err = shell("push", moved_run, ADDRESS, *options)
    assert (code, err.splitlines()[-1]) == (2, f"mmrun: {ADDRESS}: {message}")
    assert stored(hub) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hf://ada/people/x"], "hf://ada/people/x: no repository; type hf://USER/NAME or hf://USER/NAME@REVISION"),
        (["ada/people"], "ada/people: no repository; type hf://USER/NAME or hf://USER/NAME@REVISION"),
        ([f"{ADDRESS}@trial"], f"{ADDRESS}@trial: name the branch with --revision trial"),
        ([ADDRESS, "--license", "MIT License"],
         "--license MIT License: no identifier of a license; mit, apache-2.0, cc-by-4.0 are some"),
    ],
)  # fmt: skip
def test_wrong_words(hub, shell, moved_run, words, message):
    assert shell("push", moved_run, *words) == (2, "", f"mmrun: {message}\n")


@pytest.mark.parametrize(
    "name", ["ada/pe--ople", "ada/..", "ada/people.git", "ada/-people", "ada/peöple", "ada/" + 93 * "a"]
)
def test_a_name_that_the_hub_does_not_allow(hub, shell, moved_run, name):
    code, _, err = shell("push", moved_run, f"hf://{name}")
    assert code == 2
    assert err.startswith(f"mmrun: hf://{name}: the hub allows no such name; it has letters, digits and single - . _ ")


def test_an_unfinished_run_is_not_pushed(hub, shell, moved_run, tmp_path):
    run = shutil.copytree(moved_run, tmp_path / "unfinished")
    (run / "metrics.json").unlink()
    assert shell("push", "unfinished", ADDRESS) == (
        2, "", "mmrun: unfinished: this run is not finished; mmrun resume unfinished\n"
    )  # fmt: skip


def test_without_a_token_nothing_is_sent(hub, shell, moved_run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    code, _, err = shell("push", moved_run, ADDRESS)
    message = "no token of the hub; log in with `hf auth login`, or set HF_TOKEN"
    assert (code, err.splitlines()[-1]) == (2, f"mmrun: {ADDRESS}: {message}")


def test_offline_nothing_is_sent(hub, shell, moved_run, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, _, err = shell("push", moved_run, ADDRESS)
    message = "HF_HUB_OFFLINE=1 forbids to ask the hub; unset it"
    assert (code, err.splitlines()[-1]) == (2, f"mmrun: {ADDRESS}: {message}")


@pytest.mark.parametrize(
    ("action", "statuses", "message"),
    [
        ("create", [401], "the hub does not accept your token; log in again with `hf auth login`"),
        ("create", [403], "your token may not do this; use one with write access to this repository (`hf auth login`)"),
        ("create", [409], "somebody else changes this repository; repeat the command"),
        ("commit", [412], "somebody else changed this repository; repeat the command"),
        ("commit", [500], "the hub is out of order (planned by the test); repeat the command later"),
        ("info", [429], "the hub asks to slow down; repeat the command in some minutes"),
        ("store", [503] * 6, "the hub is out of order (planned by the test); repeat the command later"),
        ("preupload", [418], "the hub refuses with status 418"),
    ],
)
def test_what_the_hub_refuses_is_one_line(hub, shell, moved_run, action, statuses, message):
    hub.failures[action] = statuses
    code, _, err = shell("push", moved_run, ADDRESS)
    assert code == 2
    assert err.splitlines()[-1].removesuffix(" (planned by the test)") == f"mmrun: {ADDRESS}: {message}"
    assert "secret" not in err  # of signed addresses
    assert shell("push", moved_run, ADDRESS)[0] == 0
    assert set(FILES) <= set(stored(hub))


def test_names_of_others_are_not_taken(hub, shell, moved_run):
    code, _, err = shell("push", moved_run, "hf://bob/people")
    assert code == 2
    assert err.splitlines()[-1].endswith("(You don't have the rights to create a model under bob)")


def test_an_upload_that_breaks_off_is_sent_again(hub, shell, moved_run):
    hub.failures |= {"store": [503, "cut"], "preupload": [429]}
    code, _, err = shell("push", moved_run, ADDRESS)
    assert code == 0, err
    assert set(FILES) <= set(stored(hub))


# -------------------------------------------------------------------------------------------------------------- pull


def pull_error(shell, address=ADDRESS):
    code, out, err = shell("pull", address)
    assert out == ""
    assert not any(path.is_file() for path in (shell.folder / "outputs").rglob("*"))
    return code, err.removeprefix("mmrun: ").removesuffix("\n")


def test_what_is_not_there_is_named(pushed, shell):
    assert pull_error(shell, "hf://ada/other") == (
        2, "hf://ada/other: there is no such repository, or your token may not read it (Repository not found)"
    )  # fmt: skip
    assert pull_error(shell, f"{ADDRESS}@v2") == (2, f"{ADDRESS}@v2: has no branch, tag or commit 'v2'")


def test_a_repository_without_a_run(hub, shell):
    hub.repositories["ada/people"] = Repository()
    assert pull_error(shell) == (
        2, f"{ADDRESS}: holds no run that mmrun push sent (a file that it needs, such as pack.json, is missing)"
    )  # fmt: skip


def test_a_pulled_run_is_in_the_cache_when_the_hub_is_gone(pushed, shell, monkeypatch):
    assert shell("pull", ADDRESS, "-o", "first")[0] == 0
    assert shell("pull", ADDRESS, "-o", "first") == (
        2, "", "mmrun: first/moved: exists; remove it, or pull elsewhere with -o FOLDER\n"
    )  # fmt: skip
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert shell("pull", ADDRESS, "-o", "second")[0] == 0
    assert pull_error(shell, "hf://ada/other") == (
        2, "hf://ada/other: is not in the cache, and HF_HUB_OFFLINE=1 forbids to ask the hub; unset it"
    )  # fmt: skip


def test_a_hub_that_is_not_there(shell, moved_run, hub, monkeypatch):
    hub.close()
    code, message = pull_error(shell)
    assert code == 2
    assert message.startswith(f"{ADDRESS}: is not in the cache, and the hub cannot be reached at http://127.0.0.1:")
    code, _, err = shell("push", moved_run, ADDRESS)
    assert code == 2
    assert err.startswith(f"mmrun: {ADDRESS}: the hub cannot be reached at http://127.0.0.1:")


def test_a_download_that_breaks_off_continues(pushed, shell):
    pushed.failures["file"] = [None, "cut", None, "cut"]
    assert shell("pull", ADDRESS)[0] == 0


@pytest.mark.parametrize("status", [500, 429])
def test_a_hub_that_is_out_of_order(pushed, shell, status):
    pushed.failures["file"] = [status] * 100
    code, message = pull_error(shell)
    assert code == 2
    assert message.startswith(f"{ADDRESS}: the hub ")


def test_pickles_beside_a_run_are_not_downloaded(pushed, shell):
    bomb = pickle.dumps(print)
    pushed.repositories["ada/people"].change({"pytorch_model.bin": bomb, "evil.py": b"raise SystemExit"})
    assert shell("pull", ADDRESS)[0] == 0
    names = {path.name for path in Path("outputs/pulled/moved").rglob("*") if path.is_file()}
    assert names == {Path(name).name for name in FILES} - {"README.md", "pack.json"}


@pytest.mark.parametrize(
    "name",
    ["model.pt", "data.npz", "checkpoints/train/best/model.bin", "hub/x/code.py", "checkpoints/a/b/c/state.json"],
)
def test_a_file_that_no_run_shares_is_refused(pushed, shell, name):
    pushed.repositories["ada/people"].change({name: pickle.dumps(print)})
    edit_contents(pushed, lambda files: files.update({name: files["config.yaml"]}))
    assert pull_error(shell) == (
        1, f"{ADDRESS}: a file called {name!r} is refused: mmrun push sends no such file"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["../config.yaml", "/tmp/config.yaml", ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(pushed, shell, name):
    edit_contents(pushed, lambda files: files.update({name: files["config.yaml"]}))
    assert pull_error(shell) == (1, f"{ADDRESS}: a file called {name!r} is refused")


def test_a_changed_file_is_refused(pushed, shell):
    weights = "checkpoints/train/best/model.safetensors"
    pushed.repositories["ada/people"].change({weights: stored(pushed)[weights][:-1] + b"x"})
    assert pull_error(shell) == (1, f"{ADDRESS}: {weights} is not what was packed")


def test_a_list_that_is_no_list_is_refused(pushed, shell):
    pushed.repositories["ada/people"].change({"pack.json": b"{" * 100_000})
    assert pull_error(shell) == (1, f"{ADDRESS}: no archive of a run, it has no readable pack.json")


@pytest.mark.parametrize("name", ["pack.json", "config.yaml"])
def test_a_huge_answer_ends_the_download(pushed, shell, name):
    pushed.lengths[name] = 64 << 20
    assert pull_error(shell) == (1, f"{ADDRESS}: {name} is longer than its list says")
    assert not any(path.stat().st_size > 20 << 20 for path in Path("hub_cache").rglob("*") if path.is_file())


def test_more_than_the_disk_holds_is_refused_at_once(pushed, shell):
    edit_contents(pushed, lambda files: files["config.yaml"].update(size=1 << 60))
    code, message = pull_error(shell)
    assert (code, message.startswith("outputs/pulled: 1,152,921,504,")) == (1, True)
