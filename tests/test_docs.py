"""What the README and docs name exists: verbs, flags, options, links. tests/end_to_end/test_docs.py runs commands."""

import re
from zipfile import ZipFile

import pytest

from mmrun import compose
from mmrun.cli import VERBS, split_verb
from tests.shown_commands import FENCE, NOT_RUN, PAGES, ROOT, list_commands

COMMANDS = [command for page in PAGES for command in list_commands(page)]


def test_the_commands_are_found():
    counts = {page.name: len(list_commands(page)) for page in PAGES}
    assert counts["README.md"] >= 20
    assert sum(counts.values()) >= 45
    for beginning in NOT_RUN:
        assert any(f"{command.text}\n".startswith(beginning) for command in COMMANDS), beginning


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.is_run and c.text.startswith("mmrun train")])
def test_a_command_that_is_not_run_is_composed(command, tmp_path, monkeypatch):
    (tmp_path / "manifest.csv").write_text("image,audio,text,label,split\nimages/0.png,audio/0.wav,zero,0,train\n")
    (tmp_path / "vqa.csv").write_text("image,question,answer,split,picture\nimages/0.png,is it red?,no,train,0\n")
    (tmp_path / "my.csv").write_text("age,town,label,split\n3,a,zero,train\n")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with ZipFile(tmp_path / "pets.zip", "w") as archive:
        archive.writestr("pets.csv", "text,label,split\nit barks,dog,train\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMRUN_AVDIGITS", str(tmp_path))
    monkeypatch.setenv("MMRUN_EASY_VQA", str(tmp_path / "vqa.csv"))
    overrides = [word for word in command.text.split() if "=" in word]
    for run in compose.expand_sweep(overrides):
        compose.load(run)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_verb_and_its_flags_in_a_sentence_exist(page):
    for command in re.findall(r"`mmrun ([a-z][^`]*)`", page.read_text()):
        verb, words = split_verb(command.split())
        assert verb in VERBS, command
        modules = (verb.replace(" ", "_"), "arguments", "quantization")
        help_text = "".join((ROOT / "mmrun" / "cli" / f"{module}.py").read_text() for module in modules)
        for flag in (word for word in words if word.startswith("--") and word not in ("--allow", "--help")):
            assert f'"{flag}"' in help_text or verb in ("train", "report"), command


def test_the_table_of_options_is_whole():
    table = (ROOT / "docs" / "options.md").read_text()
    for group in ("dataset", "fusion", "strategy"):
        for name in compose.list_options(group):
            assert f"`{name}`" in table, f"{group}={name}"
    for kind in compose.DEFAULT_ENCODER:
        for name in compose.list_options(f"encoder/{kind}"):
            assert f"`{name}`" in table, f"encoder/{kind}={name}"


def test_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", FENCE.sub("", page.read_text())):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"
