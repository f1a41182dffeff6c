import pytest

from mmrun.compose import expand_sweep
from mmrun.errors import ConfigError
from mmrun.hydra_internals import split_sweep
from mmrun.quoting import decode_keys, decode_names, quote_values, suggest_quotes

WORDS = [
    "~/x=1.csv",
    "a b/größe (1).csv",
    "写真",
    "2024_01",
    "1.10",
    "true",
    "a,b.csv",
    "C:\\data\\my.csv",
    "x's.csv",
    "a[1].csv",
    "[x].csv",
    "a#b&c@d",
    "back\\",
]


@pytest.mark.parametrize("key", ["dataset.path", "dataset.target", "dataset.columns.image", "outputs", "+cache"])
@pytest.mark.parametrize("word", WORDS)
def test_names_and_paths_mean_what_was_typed(key, word):
    assert parse(quote_values([f"{key}={word}"])[0]) == word


def parse(override):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    value = OverridesParser.create().parse_override(override).value()
    return value if isinstance(value, list) else getattr(value, "text", value)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("dataset.target=[2024_01, größe,'a,b']", ["2024_01", "größe", "a,b"]),
        ("dataset.order=[low,1.0]", ["low", "1.0"]),
        ("dataset.group=null", None),
        ("dataset.target='label'", "label"),
        ("seed=3", 3),
        ("dataset.split_seed=2024_01", 202401),
    ],
)
def test_lists_null_and_other_keys(override, value):
    assert parse(quote_values([override])[0]) == value


def test_commas_separate_the_values_of_a_sweep():
    runs = split_sweep(quote_values(["dataset.path=~/a.csv,~/b=1.csv", "seed=0,1"], is_sweep=True))
    assert [list(map(parse, run)) for run in runs] == [
        ["~/a.csv", 0],
        ["~/a.csv", 1],
        ["~/b=1.csv", 0],
        ["~/b=1.csv", 1],
    ]


def test_a_modality_needs_a_plain_name():
    with pytest.raises(ConfigError) as error:
        quote_values(["dataset.columns.größe=Foto groß"])
    assert str(error.value) == (
        "dataset.columns.größe: a modality is named with a-z, 0-9 and _, whatever its column is called; "
        "type 'dataset.columns.NAME=Foto groß'"
    )


def test_the_mend_is_the_word_to_type():
    assert suggest_quotes("experiment=a(b") == "'experiment=\"a(b\"'"
    assert parse(suggest_quotes("experiment=a(b").strip("'")) == "a(b"


@pytest.mark.parametrize(
    "name", ["größe", "возраст", "年龄", "my col", "a=b", "p.q", "2024", "a:b", "x[1]", "100%", "'q'"]
)
@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("dataset.task", "ordinal", "ordinal"),
        ("+dataset.order", "[low,1.0]", ["low", "1.0"]),
        ("dataset.order", "[a=b,c]", ["a=b", "c"]),
        ("strategy.stages.train.objective.weights", "0.5", 0.5),
    ],
)
def test_targets_of_any_name_have_keys_of_their_own(name, key, value, expected):
    [override] = quote_values([f"{key}.{name}={value}"])
    assert decode_names(override.partition("=")[0]) == f"{key}.{name}"
    assert parse(override) == expected


def test_keys_are_decoded_wherever_they_stand():
    [override] = quote_values(["dataset.task.my col=ordinal"])
    key = override.partition("=")[0].rpartition(".")[2]
    assert decode_keys({"dataset": {"task": {key: "ordinal"}, "other": [{key: 1}]}}) == {
        "dataset": {"task": {"my col": "ordinal"}, "other": [{"my col": 1}]}
    }


def test_a_sweep_keeps_the_names_as_they_were_typed():
    assert expand_sweep(["dataset.task.my col=ordinal,regression", "seed=0"]) == [
        ["dataset.task.my col=ordinal", "seed=0"],
        ["dataset.task.my col=regression", "seed=0"],
    ]
