import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.search.space import build_arms


def search(name="random", *overrides):
    return instantiate(compose.load_option("sweep", name, overrides), "sweep")


def test_words_with_a_range_are_searched():
    overrides = [
        *("seed=3", "fusion=concat,gated", "strategy.stages.train.lr=tag(log,interval(1e-4,1e-2))"),
        *("fusion.dim=int(interval(8,64))", "optimizer.weight_decay=interval(0,0.1)"),
        "trainer.batch_size=range(16,64,16)",
    ]
    (arm,) = build_arms(overrides, search())
    assert (arm.name, arm.fixed) == ("", ["seed=3"])
    assert arm.space == {
        "fusion": CategoricalDistribution(["concat", "gated"]),
        "strategy.stages.train.lr": FloatDistribution(1e-4, 1e-2, log=True),
        "fusion.dim": IntDistribution(8, 64),
        "optimizer.weight_decay": FloatDistribution(0.0, 0.1),
        "trainer.batch_size": CategoricalDistribution(["16", "32", "48"]),
    }


def test_each_strategy_is_an_arm_of_its_own():
    found = build_arms(["optimizer.lr=1e-3,1e-2", "strategy=scratch,frozen"], search())
    assert [(arm.name, arm.fixed) for arm in found] == [
        ("strategy=scratch", ["strategy=scratch"]),
        ("strategy=frozen", ["strategy=frozen"]),
    ]
    assert all(list(arm.space) == ["optimizer.lr"] for arm in found)


def test_corners_show_every_choice_and_every_end():
    (arm,) = build_arms(["+optimizer.eps=interval(0.25,0.75)", "fusion=sum,mean,max"], search())
    assert arm.corners() == [
        ["+optimizer.eps=0.25", "fusion=sum"],
        ["+optimizer.eps=0.75", "fusion=sum"],
        ["+optimizer.eps=0.25", "fusion=mean"],
        ["+optimizer.eps=0.25", "fusion=max"],
    ]


def test_numbers_are_typed_as_one_reads_them():
    (arm,) = build_arms(["optimizer.lr=interval(0,1)", "fusion.dim=int(interval(1,9))"], search())
    assert arm.overrides({"optimizer.lr": 0.00012345678, "fusion.dim": 7}) == ["optimizer.lr=0.0001235", "fusion.dim=7"]


def test_there_are_no_more_trials_than_combinations():
    (arm,) = build_arms(["fusion=sum,mean,max", "fusion.dim=8,16"], search())
    assert [arm.trials(search("random", f"sweep.trials={n}")) for n in (4, 100)] == [4, 6]
    assert arm.trials(search("grid")) == 6


@pytest.mark.parametrize(
    ("name", "override", "answer"),
    [
        (
            "random",
            "seed=0,1",
            "a search would choose the luckiest seed; search with one seed, and repeat the best run with others",
        ),
        ("grid", "fusion.dim=interval(1,2)", "a grid needs choices; add sweep=random or sweep=tpe"),
        ("random", "optimizer.lr=tag(log,interval(0,1))", ""),  # in Optuna's words
        ("random", "optimizer.lr=interval(1,0)", ""),
    ],
)
def test_what_cannot_be_searched_is_said(name, override, answer):
    with pytest.raises(ConfigError) as raised:
        build_arms([override], search(name))
    assert str(raised.value).startswith(f"{override}: {answer}")


def test_words_that_cannot_be_searched_are_said():
    with pytest.raises(ConfigError, match=r"^'optimizer.lr=interval\(0,' cannot be read; write key=value, key=a,b or"):
        build_arms(["optimizer.lr=interval(0,"], search())
    with pytest.raises(ConfigError, match=r"^nothing to search; give an override a range: optimizer\.lr=tag"):
        build_arms(["fusion=sum"], search())


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("sweep.trials=many", "sweep.trials: 'many' is not a whole number above 0"),
        ("sweep.reduction_factor=1", "sweep.reduction_factor: 1 is not a whole number of at least 2"),
        ("sweep.trials=null", "sweep.trials: null means all combinations, which is for sweep=grid; give a number"),
        (
            "sweep.trails=3",
            "no key 'sweep.trails'; did you mean 'trials'? (sweep has _target_, sampler, trials, group_by, ",
        ),
    ],
)
def test_settings_that_do_not_fit_are_said(override, answer):
    with pytest.raises(ConfigError) as raised:
        search("random", override)
    assert str(raised.value).startswith(answer)


@pytest.mark.parametrize("name", compose.list_options("sweep"))
def test_every_search_can_be_made(name):
    assert compose.list_options("sweep") == ["grid", "random", "tpe"]
    made = search(name)
    assert made.independent == (name != "tpe")
    assert (made.trials, made.group_by, made.metric, made.seed) == (None if name == "grid" else 20, "strategy", None, 0)
