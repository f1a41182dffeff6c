import pytest
import torch

from mmrun import compose
from mmrun.config import result_config
from mmrun.data.fitted import digest_state
from mmrun.errors import ConfigError, DataError
from mmrun.evaluation.soup import predict_soup
from mmrun.results.data_records import read_data_record, write_data_record
from mmrun.run import init_from
from mmrun.run.build import build_model, resolve_stages
from mmrun.run.checks import dry_run_stages
from mmrun.run.data import open_data
from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback


@pytest.fixture
def finished(load):
    return run(load(), NullCallback())


def test_an_encoder_starts_from_another_run(load, finished):
    config = load(f"encoder.a.init={finished.path}:encoder.a", "seed=1")
    encoder = build_model(config, open_data(config)).encoder["a"]
    weights = init_from.final_weights(*init_from.open_config(str(finished.path), "encoder.a.init"))
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, weights[f"encoder.a.{name}"])


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("nosuch", "encoder.a.init: 'nosuch' names no part of a run; write RUN:encoder.image"),
        ("{run}:encoder.z", r"encoder.a.init: .* has no part 'encoder.z' \(it has encoder.a, encoder.b, "),
        ("{run}:fusion", "encoder.a.init: the weights of fusion do not fit this encoder: "),
    ],
)
def test_a_part_that_does_not_exist_or_fit_is_rejected(load, finished, init, message):
    config = load(f"encoder.a.init={init.format(run=finished.path)}")
    with pytest.raises(ConfigError, match=f"^{message}"):
        build_model(config, open_data(config))


def test_all_parts_start_from_another_run(load, finished):
    config = load(f"init={finished.path}", "seed=1")
    data = open_data(config)
    model = build_model(config, data)
    weights = init_from.final_weights(*init_from.open_config(str(finished.path), "init"))
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert data.warnings == []


def test_parts_that_do_not_match_are_listed_and_keep_their_own_weights(load, finished):
    config = load("fusion.dim=5", "encoder.b.dims=[8,8]", f"init={finished.path}")
    data = open_data(config)
    model = build_model(config, data)
    weights = init_from.final_weights(*init_from.open_config(str(finished.path), "init"))
    assert torch.equal(model.probe["a"].label.weight, weights["probe.a.label.weight"])
    assert data.warnings == [
        f"init: encoder.a, probe.a, probe.b start from {finished.name}, but not encoder.b (other parameters), "
        "fusion (other shapes), head.label (other shapes)"
    ]


def test_fusion_and_head_start_from_another_run(load, finished):
    parts = f"fusion.init={finished.path}:fusion", f"head.init={finished.path}:head"
    config = load(*parts, "seed=1")
    model = build_model(config, open_data(config))
    weights = init_from.final_weights(*init_from.open_config(str(finished.path), "init"))
    for name, tensor in model.state_dict().items():
        if name.startswith(("fusion.", "head.")):
            assert torch.equal(tensor, weights[name])
    assert not torch.equal(model.probe["a"].label.weight, weights["probe.a.label.weight"])


def test_a_single_part_counts_more_than_all_parts(load, finished):
    config = load("seed=1")
    other = run(config, NullCallback())
    config = load("seed=2", f"init={finished.path}", f"encoder.a.init={other.path}:encoder.a")
    model = build_model(config, open_data(config))
    weights = init_from.final_weights(*init_from.open_config(str(other.path), "init"))
    assert all(
        torch.equal(tensor, weights[f"encoder.a.{name}"]) for name, tensor in model.encoder["a"].state_dict().items()
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("init=nosuch", "init: "),
        ("fusion.init=nosuch", "fusion.init: 'nosuch' names no part of a run; write RUN:fusion"),
        ("head.init={run}", "head.init: .* names no part of a run; write RUN:head"),
        ("head.init={run}:fusion", "head.init: the weights of fusion do not fit this head: "),
    ],
)
def test_other_parts_that_do_not_exist_or_fit_are_rejected(load, finished, override, message):
    config = load(override.format(run=finished.path))
    with pytest.raises(ConfigError, match=f"^{message}"):
        build_model(config, open_data(config))


def test_a_run_without_any_matching_part_is_rejected(load, finished):
    config = load("fusion.dim=5", "encoder.a.dims=[9]", "encoder.b.dims=[9]", f"init={finished.path}")
    with pytest.raises(ConfigError, match=r"^init: no part of .* matches one of this model \(it has encoder.a, "):
        build_model(config, open_data(config))


def test_a_run_without_init_is_the_run_that_it_was_before_the_keys_came(load):
    values = compose.as_dict(load())
    earlier = {key: value for key, value in values.items() if key not in ("init", "head", "model")}
    assert result_config(values) == result_config(earlier)


def test_a_run_that_is_not_finished_is_rejected(open_run):
    folder = open_run().folder
    with pytest.raises(ConfigError, match=f"^encoder.a.init: {folder.path} is not finished; mmrun resume"):
        init_from.open_config(str(folder.path), "encoder.a.init")


WORDS = ("red green blue", "blue red pink", "green pink red", "pink blue green")


@pytest.fixture
def load_texts(tmp_path):
    """Compose a tiny run on a file of texts and numbers."""

    def load_file(*overrides, words=WORDS, scale=1.0, labels=("no", "yes"), name="run"):
        rows = ["words,size,label"]
        for row in range(48):
            rows.append(f"{words[row % 4]} {words[row % 3]},{row * scale},{labels[row % 2]}")
        file = tmp_path / f"{name}.csv"
        file.write_text("\n".join(rows) + "\n")
        return compose.load(
            [
                *("dataset=manifest", f"dataset.path={file}", "dataset.target=label", "encoder.words=bow"),
                *("dataset.columns.words=words", "dataset.columns.cells=[size]", "dataset.kinds.words=text"),
                *("budget.steps=2", "trainer.batch_size=8", "trainer.progress=false", "fusion.dim=4"),
                *(f"outputs={tmp_path}/outputs", f"cache={tmp_path}/cache", *overrides),
            ]
        )

    return load_file


def distill(teacher):
    return "strategy=distill", f"strategy.stages.distill.objective.teacher={teacher.path}"


def test_an_encoder_of_a_run_with_another_vocabulary_is_refused(load_texts):
    first = run(load_texts(), NullCallback())
    words = [text.replace("red", "crimson") for text in WORDS]
    config = load_texts(f"encoder.words.init={first.path}:encoder.words", words=words, name="other")
    with pytest.raises(ConfigError) as caught:
        build_model(config, open_data(config))
    assert str(caught.value) == (
        f"encoder.words.init: encoder.words of {first.name} was fitted to other training rows (tokenizer differs), so "
        "its weights would be misread; train both runs on the same rows, or set one pretrained preprocess.tokenizer in "
        "both"
    )


def test_an_encoder_of_a_run_with_other_means_is_taken_with_a_warning(load_texts):
    first = run(load_texts(), NullCallback())
    config = load_texts(f"encoder.cells.init={first.path}:encoder.cells", scale=2.0, name="other")
    data = open_data(config)
    for _ in range(2):
        build_model(config, data)
    assert data.warnings == [
        f"encoder.cells.init: encoder.cells of {first.name} was fitted to other training rows (numeric differs), so "
        "its weights see inputs in another scale or size than they were trained on"
    ]


def test_a_head_of_a_run_with_other_classes_is_refused_alone_and_listed_with_all_parts(load_texts):
    first = run(load_texts(), NullCallback())
    config = load_texts(f"head.init={first.path}:head", labels=("a", "b"), name="other")
    with pytest.raises(ConfigError, match=r"^head\.init: task\.label of .* \(classes differs\)"):
        build_model(config, open_data(config))
    config = load_texts(f"init={first.path}", labels=("a", "b"), name="other")
    data = open_data(config)
    build_model(config, data)
    assert [line for line in data.warnings if line.startswith("init: ")] == [
        f"init: encoder.words, encoder.cells, fusion start from {first.name}, but not head.label (other classes), "
        "probe.words (other classes), probe.cells (other classes)"
    ]


def test_a_teacher_with_another_order_of_classes_is_refused(load_texts):
    teacher = run(load_texts(), NullCallback())
    config = load_texts(*distill(teacher), labels=("a", "b"), name="other")
    data = open_data(config)
    model = build_model(config, data)
    with pytest.raises(ConfigError, match=rf"teacher: task\.label of {teacher.name} .*\(classes differs\)"):
        dry_run_stages(config, data, model, resolve_stages(config, model))


def test_a_soup_of_runs_with_other_vocabularies_is_refused(load_texts):
    first = run(load_texts(), NullCallback())
    words = [text.replace("red", "crimson") for text in WORDS]
    second = run(load_texts(words=words, name="other"), NullCallback())
    with pytest.raises(ConfigError, match=rf"^--method soup: encoder\.words of {second.name} .*tokenizer differs"):
        predict_soup([first, second], ["test"], NullCallback())


def test_a_run_without_a_record_is_taken_with_a_warning(load, finished):
    finished.data_file.unlink()
    config = load(f"encoder.a.init={finished.path}:encoder.a", "seed=1")
    data = open_data(config)
    build_model(config, data)
    assert data.warnings == [
        f"encoder.a.init: {finished.name} has no record of its vocabulary and statistics, so they are not compared"
    ]


def test_a_vocabulary_that_another_library_version_would_change_is_noticed(load_texts):
    config = load_texts()
    folder = run(config, NullCallback())
    record = read_data_record(folder)
    earlier = {**record.fits["encoder.words"], **digest_state({"tokenizer": "of an earlier version"})}
    folder.metrics_file.unlink()
    write_data_record(folder, record._replace(fits={"encoder.words": earlier}))
    with pytest.raises(DataError, match=r"the same rows now give another tokenizer of encoder\.words than"):
        run(config, NullCallback())
