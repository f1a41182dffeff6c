import json

from tests.end_to_end.conftest import metrics


def test_runs_are_combined(shell):
    one, two = shell.train("strategy=bagging"), shell.train("strategy=bagging", "seed=1")
    code, out, _ = shell("ensemble", one.name, two.name, "--method", "average,vote,greedy,stack,boost,soup")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["accuracy", "val", "(fitted", "on)", "test"]
    names = [line.split()[0] for line in lines[2:]]
    assert names == [one.name, two.name, "average", "vote", "greedy", "stack", "boost", "soup"]
    assert float(lines[2].split()[-1]) == round(metrics(one)["metrics"]["test"]["accuracy"], 4)

    code, out, _ = shell("ensemble", one.name, two.name, "--format", "json", "--method", "average")
    found = json.loads(out)
    assert found["members"] == [one.name, two.name]
    told = found["tasks"]["label"][one.name]["test"]
    assert abs(told["nll"] - metrics(one)["metrics"]["test"]["nll"]) < 1e-5


def test_what_cannot_be_combined_is_said(shell):
    one, other = shell.train("strategy=scratch"), shell.train("strategy=scratch", "fusion=gated")
    text = shell.train("strategy=scratch", "dataset.data_seed=1")
    pair = [one.name, other.name]
    for words, told in (
        ([one.name, one.name], "an ensemble needs at least two different runs"),
        ([*pair, "--method", "bost"], "--method: no method 'bost'; did you mean 'boost'? (there are average, vote, "),
        ([*pair, "--metric", "acuracy"], "--metric: no metric 'acuracy'; did you mean 'accuracy'? (there are "),
        ([*pair, "--method", "soup"], f"the model of {other.name} has other parts than that of {one.name}; "),
        ([one.name, text.name], f"{text.name}: its val rows differ from those of {one.name}; the runs of an "),
    ):
        code, _, err = shell("ensemble", *words)
        assert (code, told in err) == (2, True), err
