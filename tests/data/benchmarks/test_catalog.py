"""The contract of every benchmark: facts, a manifest that can be trained on, and one line for a wrong folder."""

import argparse
import shlex
from pathlib import Path

import pytest

import mmrun
from mmrun.cli import data_check
from mmrun.cli.data_prepare import list_overrides
from mmrun.data.benchmarks.catalog import BENCHMARKS, find_benchmark
from mmrun.data.benchmarks.prepare import write_manifest
from mmrun.data.benchmarks.source import Source
from mmrun.errors import ConfigError, DataError
from mmrun.types import KINDS
from tests.data.benchmarks.layouts import LAYOUTS


def test_the_table_of_the_docs_says_what_the_catalog_says():
    page = (Path(mmrun.__file__).parents[1] / "docs" / "data.md").read_text()
    for name, facts in BENCHMARKS.items():
        target = f"`{facts.target}` ({facts.task})"
        cells = [f"`{name}`", f"{facts.title} ({facts.paper})", ", ".join(facts.modalities), target, facts.group or "-"]
        cells += [facts.split, facts.metric, facts.license]
        assert f"| {' | '.join(cells)} |" in page


def test_every_benchmark_has_a_layout():
    assert list(LAYOUTS) == list(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_facts(name):
    benchmark = BENCHMARKS[name]
    facts = (benchmark.title, benchmark.url, benchmark.size, benchmark.license, benchmark.split, benchmark.metric)
    assert all(facts)
    assert benchmark.paper[-6:-4] == ", "
    assert 2010 < int(benchmark.paper[-4:]) < 2027
    assert {modality.kind for modality in benchmark.modalities.values()} <= set(KINDS)
    assert benchmark.task in ("classification", "multilabel", "regression")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_manifest_passes_data_check_with_the_command_that_is_shown(name, tmp_path, capsys):
    folder, benchmark = tmp_path / "source", BENCHMARKS[name]
    output = tmp_path / f"{name}{benchmark.suffix}"
    LAYOUTS[name](folder)
    source = Source(folder, benchmark.title)
    prepared = write_manifest(benchmark, source, output, benchmark.suffix)
    overrides = list_overrides(benchmark, prepared, folder, output)
    args = argparse.Namespace(file=str(output), overrides=overrides, all=False, no_labels=False, format="table")
    assert data_check.run(args) == 0
    assert f"to train: mmrun train {shlex.quote(f'dataset={output}')}" in capsys.readouterr().out


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_wrong_folder_is_one_line_that_says_what_it_lacks_and_holds(name, tmp_path):
    (tmp_path / "holiday.jpg").write_text("")
    source = Source(tmp_path, BENCHMARKS[name].title)
    with pytest.raises(DataError) as caught:
        list(BENCHMARKS[name].read_rows(source))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: is not a folder of {BENCHMARKS[name].title}: it lacks ")
    assert message.endswith("; it holds holiday.jpg")


@pytest.mark.parametrize("typed", ["CREMA-D", "crema_d", "cremad", "Crema D"])
def test_names_are_recognised_as_people_write_them(typed):
    assert find_benchmark(typed)[0] == "crema_d"


def test_a_misspelt_name_is_corrected():
    with pytest.raises(ConfigError, match=r"no benchmark 'cremma'; did you mean 'crema_d'\? \(there are av_mnist, "):
        find_benchmark("cremma")
