import csv
import json


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_a_run_is_evaluated_in_words_and_in_json(shell):
    folder = shell.train("strategy=component")
    code, out, err = shell("eval", folder)
    assert (code, out.splitlines()[0]) == (0, f"{folder.name}: accuracy on 180 test rows")
    assert "note: every training row had every modality" in err
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("none", "image", "text"))] == [
        "none", "image", "text", "image", "image", "text"
    ]  # fmt: skip
    assert "synergy gap" in out
    assert "robustness" not in evaluation(folder)

    code, out, _ = shell("eval", folder.name, "--all", "--format", "json")
    assert code == 0
    assert json.loads(out) == evaluation(folder)
    assert set(evaluation(folder)["drift"]) == {"image", "text"}

    code, out, _ = shell("eval", folder, "--all", "--split", "val")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines() if "gaussian" in line] == [["image", "gaussian"]]
    assert "pretrain-text" in out
    assert evaluation(folder)["split"] == "val"


def test_what_if_is_printed_and_not_kept(shell):
    folder = shell.train()
    code, out, _ = shell("eval", folder, "--missing", "text", "--noise", "image=0.3")
    assert code == 0
    header = " ".join(out.splitlines()[0].split())
    assert header == "metric unchanged no text, image gaussian 0.3 no text, image occlusion 0.3"
    code, out, _ = shell("eval", folder, "--missing", "text", "--fill", "shuffled", "--format", "json")
    assert [answer["given"]["text"] for answer in json.loads(out)] == [["clean", 0.0], ["shuffled", 0.0]]
    assert not (folder / "evaluation.json").exists()


def test_a_fusion_that_adds_nothing_is_said(shell):
    folder = shell.train("strategy=modality_dropout", "strategy.stages.train.lr=1e-30")
    ceilings = shell.train("strategy=unimodal", "budget.epochs=1")
    code, out, err = shell("eval", folder, "--unimodal-runs", ceilings)
    assert code == 0
    said = evaluation(folder)["synergy"]["accuracy"]
    assert said["flagged"]
    assert f"synergy gap {said['gap']:+.4f} (alone: {ceilings.name})" in out
    assert err == (
        f"note: accuracy: the fusion is no better than {said['best']} alone (synergy gap {said['gap']:+.4f})\n"
    )


def test_groups_by_a_column_of_the_users_own_file(shell, tmp_path):
    with open(tmp_path / "rows.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["height", "note", "site", "split", "label"])
        for row in range(240):
            split = ("train", "train", "val", "test")[row % 4]
            label = row // 4 % 2
            word = ("short", "tall")[label]
            writer.writerow([150 + 40 * label + row % 7, f"a {word} one", "north" if row % 3 else "", split, label])
    words = ["dataset=manifest", "dataset.path=rows.csv", "dataset.columns={body:[height],note:note}"]
    code, out, err = shell("train", *words, "dataset.kinds={body:tabular,note:text}", "budget.epochs=1")
    assert code == 0, err
    run = out.split()[-1]
    code, out, err = shell("eval", run, "--group", "site")
    assert code == 0, err
    header, _, north, empty = (line.split() for line in out.splitlines()[-4:])
    assert header == ["site", "(label)", "rows", "accuracy"]
    assert (north[:2], empty[:2]) == (["north", "40"], ["(empty)", "20"])
    told = json.loads(shell("eval", run, "--format", "json")[1])["groups"]["label"]
    assert (told["column"], told["groups"][""]["rows"]) == ("site", 20)
    assert shell("eval", run, "--group", "cite") == (
        2, "", "mmrun: --group cite: rows.csv has no such column; did you mean 'site'? "
        "(it has height, note, site, split, label)\n",
    )  # fmt: skip


def test_what_cannot_be_asked(shell):
    folder = shell.train("budget.epochs=0.05")
    for words, said in [
        (["--missing", "txt"], "--missing: the run has no modality 'txt'; did you mean 'text'? (it has image, text)"),
        (
            ["--missing", "image,text"],
            "--missing image,text: leaves no modality to predict from; name fewer than all of image, text",
        ),
        (["--noise", "sound=0.1"], "--noise: the run has no modality 'sound' (it has image, text)"),
        (["--noise", "image"], "--noise image: not of the form MODALITY=SEVERITY, as in image=0.3"),
        (["--noise", "image=2"], "--noise image=2: the severity must be between 0 and 1"),
        (
            ["--noise", "text=0.1", "--missing", "text"],
            "--noise text=0.1: text is already --missing; name it only once",
        ),
        (["--group", "site"], "--group site: this data set has no columns to group by; only dataset=manifest has"),
    ]:
        assert shell("eval", folder, *words) == (2, "", f"mmrun: {said}\n")


def test_an_unfinished_run_is_refused(shell):
    folder = shell.train("budget.epochs=0.05")
    (folder / "metrics.json").unlink()
    code, out, err = shell("eval", folder.name)
    assert (code, out) == (2, "")
    where = f"outputs/default/{folder.name}"
    assert err == f"mmrun: {where}: this run is not finished; mmrun resume {where}\n"


def test_a_report_can_evaluate_first(shell):
    kept, changed, left = (shell.train(f"seed={seed}") for seed in range(3))
    shell.train("strategy=unimodal")
    shell("eval", kept, "--all")
    before = (kept / "evaluation.json").read_bytes()
    metrics = json.loads((changed / "metrics.json").read_text())
    metrics["dataset"]["fingerprint"] = "other"
    (changed / "metrics.json").write_text(json.dumps(metrics))
    code, _, err = shell("report", "--eval")
    assert code == 0
    lines = err.splitlines()
    assert (
        f"note: not evaluated: {changed}: the data set has changed since the run was trained; "
        "restore the data it was trained on, or repeat the run with --rerun" in lines
    )
    assert [line.split(" (")[0] for line in lines if line.startswith("evaluated")] == [f"evaluated 2 of 2: {left.name}"]
    assert lines[-2].startswith("hint: 1 of 3 runs were not evaluated")
    assert (kept / "evaluation.json").read_bytes() == before
    assert {"shapley", "robustness", "drift"} <= evaluation(left).keys()
    page = (shell.folder / "report.html").read_text()
    assert all(f'<h2 id="{name}-title">' in page for name in ("contribution-of-each-modality", "robustness-to-noise"))
