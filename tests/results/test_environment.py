"""The recorded machine and code."""

import json
import os
import subprocess
from pathlib import Path

from mmrun.code_version import LIBRARIES
from mmrun.results.environment import compare_starts, describe_environment


def test_the_environment_names_versions_and_commit_but_no_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = describe_environment("cpu", threads=1)
    assert environment["versions"].keys() == {"mmrun", *LIBRARIES}
    assert environment["versions"]["torch"].startswith("2.")
    assert (environment["device"], environment["threads"], environment["git"]) == ("cpu", 1, None)
    assert os.uname().nodename not in json.dumps(environment)


def test_the_environment_records_whether_the_code_differs_from_its_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    state = describe_environment("cpu", threads=1)["git"]
    assert (len(state["commit"]), state["changed"]) == (40, False)
    Path("train.py").touch()
    assert describe_environment("cpu", threads=1)["git"] == {"commit": state["commit"], "changed": True}


def test_starts_are_compared_by_what_can_change_a_result():
    first = {"device": "cpu", "time": 1.0, "batch_size": 8, "versions": {"torch": "2.8"}, "git": {"commit": "a"}}
    second = {"device": "A100", "time": 2.0, "versions": {"torch": "2.8"}, "git": {"commit": "b"}}
    assert compare_starts([first, second]) == {"device": ["cpu", "A100"], "git.commit": ["a", "b"]}
    assert compare_starts([first]) == compare_starts([]) == {}
