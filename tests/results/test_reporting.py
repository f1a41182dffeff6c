"""What a report says and shows, of made-up runs. The page in a real browser is tested with mmrun.cli.report."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from mmrun.errors import ConfigError
from mmrun.results.compare import Question
from mmrun.results.report import content, contribution, findings, logs, page, plots, section, style, svg, text_formats
from tests.results.fabricate import detail, finished
from tests.results.test_comparison import rewrite

ANY = Question(metric="")  # all left to the report


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def runs(outputs, strategy, accuracies, **changes):
    return [finished(outputs, accuracy, strategy, seed, **changes) for seed, accuracy in enumerate(accuracies)]


def said(outputs, question=ANY, **asked):
    return [answer.text for answer in content.compose(findings.find([outputs], question, **asked)).answers]


def detailed(outputs):
    """Three seeds of two strategies, with all that a run folder holds."""
    for strategy, accuracies in (("holistic", [0.60, 0.70, 0.65]), ("component", [0.70, 0.81, 0.74])):
        for run in runs(outputs, strategy, accuracies):
            detail(run)


# ------------------------------------------------------------------------------------------------------------- answers


def test_the_first_line_answers_the_question(outputs):
    runs(outputs, "holistic", [0.50, 0.70, 0.60, 0.55, 0.65])
    for run in runs(outputs, "component", [0.52, 0.723, 0.621, 0.568, 0.673]):
        detail(run)
        rewrite(run, cost__peak_memory=716.8 * 1024**2, cost__seconds=8.0)
    assert said(outputs) == [
        "component beats holistic by 0.021 [0.018, 0.024] at equal budget (10 epochs), n = 5, p <0.001; "
        "it costs 0.8x the time and 1.4x the memory."
    ]


def test_shared_costs_are_said_to_be(outputs):
    runs(outputs, "scratch", [0.50, 0.70, 0.60])
    for run in runs(outputs, "component", [0.55, 0.751, 0.649]):
        half = {"epochs": 5.0, "seconds": 5.0, "flops": 7.5e11, "samples": 7_185}
        rewrite(run, cost__stages={"pretrain-image": half, "train": half})
    assert said(outputs, Question(metric="", amortise=5))[0].endswith(
        "p <0.001; shared by 5 fusions, it costs 0.6x the time and 0.6x the FLOPs."
    )


def test_what_chance_explains_is_not_told_apart(outputs):
    runs(outputs, "holistic", [0.50, 0.70, 0.60])
    runs(outputs, "component", [0.51, 0.72, 0.63])
    assert said(outputs) == [
        "component and holistic cannot be told apart: +0.020 [-0.005, 0.045] at equal budget (10 epochs), n = 3, "
        "p = 0.074 (so few runs would show a difference of 0.033); "
        "time, FLOPs and parameters that learn are within 10 %."
    ]


def test_p_says_how_it_was_corrected_where_there_are_several(outputs):
    runs(outputs, "scratch", [0.50, 0.70, 0.60])
    runs(outputs, "component", [0.45, 0.649, 0.551])
    runs(outputs, "frozen", [0.50, 0.71, 0.60])
    first, second = said(outputs)
    assert first.startswith(
        "component falls short of scratch by 0.050 [0.048, 0.052] at equal budget (10 epochs), n = 3, "
        "p <0.001 after Holm;"
    )
    assert "p = 0.423 after Holm" in second


def test_lower_is_better_turns_the_verdict(outputs):
    runs(outputs, "holistic", [0.50, 0.70, 0.60])
    runs(outputs, "component", [0.55, 0.751, 0.649])  # the loss is 1 - accuracy
    assert said(outputs, Question(metric="test/loss"))[0].startswith(
        "component beats holistic by 0.050 [0.048, 0.052] at"
    )


def test_no_verdict_where_terms_are_unequal(outputs):
    runs(outputs, "holistic", [0.50, 0.70, 0.60])
    runs(outputs, "component", [0.55, 0.751, 0.649], budget={"epochs": 20.0, "steps": None})
    report = content.compose(findings.find([outputs], ANY))
    assert [(answer.text, answer.verdict) for answer in report.answers] == [
        (
            "component is 0.050 [0.048, 0.052] above holistic, n = 3, p <0.001, but not on equal terms (budget): "
            "no verdict.",
            "unmatched",
        )
    ]
    assert report.caveats[0] == "budget differs between compared runs: epochs=10 (n=3), epochs=20 (n=3)"


def test_single_runs_are_not_tested(outputs):
    finished(outputs, 0.5, "holistic")
    finished(outputs, 0.6, "component")
    assert said(outputs)[0].startswith(
        "component is 0.100 above holistic at equal budget (10 epochs), n = 1, not tested: no verdict"
    )


def test_equal_figures_are_level(outputs):
    for strategy in ("holistic", "component"):
        runs(outputs, strategy, [0.5, 0.6, 0.7])
    assert said(outputs)[0].startswith(
        "component is level with holistic at equal budget (10 epochs), n = 3, not tested"
    )


def test_one_group_has_nothing_beside_it(outputs):
    runs(outputs, "scratch", [0.5, 0.6, 0.7])
    assert said(outputs) == ["scratch reaches 0.600 [0.352, 0.848], n = 3; nothing here to compare it with."]


# ----------------------------------------------------------------------------------------------- what is compared with


def test_a_key_that_tells_runs_apart_makes_settings_and_an_axis(outputs):
    for labelled, gain in ((0.01, 0.03), (1.0, -0.01)):
        runs(outputs, "scratch", [0.5, 0.6, 0.7], dataset__labelled=labelled)
        runs(outputs, "component", [0.5 + gain, 0.601 + gain, 0.7 + gain], dataset__labelled=labelled)
    found = findings.find([outputs], ANY)
    assert (found.apart, [setting.values for setting in found.settings]) == (("dataset.labelled",), [("0.01",), ("1",)])
    assert (found.question.against, found.question.paired, found.question.metric) == (
        "scratch",
        ("seed",),
        "test/accuracy",
    )
    answers = said(outputs)
    assert answers[0].startswith("dataset.labelled=0.01: component beats scratch by 0.030 [0.029, 0.032] at equal")
    assert answers[1].startswith("dataset.labelled=1: component falls short of scratch by 0.010 [0.008, 0.011] at")
    assert answers[2] == "component falls behind scratch at dataset.labelled = 0.329 [0.316, 0.355]."


def test_data_sets_are_settings_without_an_axis_and_are_ranked(outputs):
    for number in range(3):
        for strategy, accuracy in (("component", 0.8), ("holistic", 0.7), ("scratch", 0.6)):
            choices = {"dataset": f"set{number}", "strategy": strategy, "fusion": "concat", "encoder.image": "cnn"}
            finished(outputs, accuracy, strategy, choices=choices, dataset={"labelled": 1.0, "name": number})
    found = findings.find([outputs], ANY)
    assert (found.apart, found.curves, len(found.settings)) == (("dataset",), [], 3)
    assert found.ranking.groups == [("component",), ("holistic",), ("scratch",)]
    assert said(outputs)[0] == (
        "over 3 values of dataset, component before scratch (mean ranks: component 1.00, holistic 2.00, scratch 3.00; "
        "p = 0.050)."
    )


def test_groups_without_common_seeds_are_independent(outputs):
    for seed, accuracy in enumerate([0.5, 0.6, 0.7]):
        finished(outputs, accuracy, "holistic", seed)
        finished(outputs, accuracy, "component", seed + 3)
    assert findings.find([outputs], ANY).question.paired == ()


def test_settings_can_be_named(outputs):
    for dim in (64, 128):
        runs(outputs, "scratch", [0.5, 0.6], fusion__dim=dim)
        runs(outputs, "component", [0.5, 0.6], fusion__dim=dim)
    found = findings.find([outputs], ANY, apart=["fusion.dim"], where=["fusion.dim=64"])
    assert [found.where(setting) for setting in found.settings] == ["fusion.dim=64"]


def test_a_setting_without_the_baseline_is_shown_alone(outputs):
    for dim in (32, 64):
        runs(outputs, "scratch", [0.5, 0.6, 0.7], fusion__dim=dim)
    for dim in (32, 64, 128):
        runs(outputs, "component", [0.55, 0.651, 0.749], fusion__dim=dim)
    found = findings.find([outputs], ANY)
    assert found.question.paired == ("seed",)
    assert [curves.values for _, curves in found.curves] == [[32, 64]]
    assert said(outputs)[0].startswith("fusion.dim=32: component beats scratch by 0.050 ")
    assert "fusion.dim=128: component reaches 0.650 [0.403, 0.897], n = 3; nothing here to compare it with." in said(
        outputs
    )


def test_what_cannot_be_told_comes_last(outputs):
    for dim, gain in ((32, 0.0), (64, 0.05)):
        runs(outputs, "scratch", [0.5, 0.6, 0.7], fusion__dim=dim)
        runs(outputs, "component", [0.5 + gain, 0.601 + gain, 0.699 + gain], fusion__dim=dim)
    answers = said(outputs)
    assert answers[0].startswith("fusion.dim=64: component beats scratch by 0.050 ")
    assert answers[-1].startswith("fusion.dim=32: component and scratch cannot be told apart: ")


def test_a_baseline_that_is_not_there_is_named(outputs):
    runs(outputs, "scratch", [0.5, 0.6, 0.7])
    with pytest.raises(ConfigError, match=r"^--against: no group 'scrtch'"):
        findings.find([outputs], Question(metric="", against="scrtch"))


def test_runs_without_figures_are_an_error(outputs):
    rewrite(finished(outputs, 0.5), metrics={})
    with pytest.raises(ConfigError, match=r"^no run has a figure on the test rows; name one with --metric$"):
        findings.find([outputs], ANY)


# ------------------------------------------------------------------------------------------------------------- content


def test_sections_come_in_the_order_of_reading(outputs):
    detailed(outputs)
    report = content.compose(findings.find([outputs], ANY))
    assert [section.title for section in report.sections] == [
        *("Comparison", "Learning curves", "What each modality is worth", "When a modality goes bad", "By site"),
        *("Calibration and classes", "How the modalities share in learning", "Encoders before and after"),
        *("Configs that differ", "Environment", "Runs"),
    ]
    comparison, curves, *_, configs, environment, every = report.sections
    assert [plot.name for plot in comparison.plots] == ["quality-flops", "quality-seconds"]
    assert curves.plots[0].alt == (
        "Learning curves of val/accuracy over epochs (each modality counting its part). "
        "holistic from 0.3250 to 0.6500; component from 0.3750 to 0.7500."
    )
    assert configs.text == "The groups differ in nothing but what they are grouped by."
    assert environment.tables[0].rows == [["python", "3.11"], ["device", "cuda"], ["torch", "2.15.0"]]
    assert len(every.tables[0].rows) == 6


def test_settings_are_folded_where_there_are_several(outputs):
    for labelled in (0.1, 1.0):
        for strategy in ("scratch", "component"):
            for run in runs(outputs, strategy, [0.5, 0.6], dataset__labelled=labelled):
                detail(run)
    report = content.compose(findings.find([outputs], ANY))
    assert [section.title for section in report.sections if section.listed] == [
        *("Along dataset.labelled", "Comparison at dataset.labelled=0.1", "Comparison at dataset.labelled=1"),
        *("Configs that differ", "Environment", "Runs"),
    ]
    assert len({section.stem(part, plot) for part in report.sections for plot in part.plots}) == sum(
        len(section.plots) for section in report.sections
    )


def test_what_differs_is_shown_and_warned_of(outputs):
    runs(outputs, "holistic", [0.5, 0.6])
    for run in runs(outputs, "component", [0.5, 0.6], fusion__dim=64):
        detail(run, device="cpu")
    report = content.compose(findings.find([outputs], ANY))
    (configs,) = [section for section in report.sections if section.title == "Configs that differ"]
    assert configs.tables[0].rows == [["fusion.dim", "128", "64"]]
    assert report.caveats == [
        "fewer than 3 runs, so a very wide interval, or none at n=1: component (n=2), holistic (n=2)",
        "memory is that of the whole process where runs trained on a CPU: it is not compared",
    ]


def test_a_caveat_of_some_settings_names_them(outputs):
    for labelled, seeds in ((0.1, 2), (0.5, 3), (1.0, 3)):
        for strategy in ("scratch", "component"):
            runs(outputs, strategy, [0.5, 0.6, 0.7][:seeds], dataset__labelled=labelled)
    assert content.compose(findings.find([outputs], ANY)).caveats == [
        "at 1 setting (dataset.labelled=0.1): fewer than 3 runs, so a very wide interval, or none at n=1: "
        "component (n=2), scratch (n=2)",
        "memory is that of the whole process where runs trained on a CPU: it is not compared",
    ]


# ---------------------------------------------------------------------------------------------------- what runs hold


def test_a_learning_curve_begins_where_the_stages_before_it_ended(outputs):
    run = finished(outputs, 0.5)
    for stage, epochs, figures in (
        ("pretrain", 1.0, {"val/loss": 1.0}),
        ("train", 1.0, {"val/accuracy": 0.25}),
        ("train", 2.0, {"val/accuracy": 0.5}),
        ("train", 2.0, {"val/accuracy": 0.5}),  # the last evaluation may be logged twice
    ):
        run.log.append({"event": "evaluated", "stage": stage, "epochs": epochs, **figures})
    run.log.close()
    cost = run.read_metrics()["cost"] | {"stages": {"pretrain": {"epochs": 3.0}, "train": {"epochs": 2.0}}}
    events = logs.evaluated({**run.read_metrics(), "cost": cost, "folder": run.path}, "epochs")
    assert logs.curve(events, "val/accuracy").tolist() == [[4.0, 0.25], [5.0, 0.5]]
    assert logs.curve(events, "val/f1").shape == (0, 2)


def test_mean_curves_cover_what_all_cover():
    found = logs.mean_curve([np.array([[0.0, 0.0], [2.0, 2.0]]), np.array([[1.0, 3.0], [3.0, 3.0]])])
    assert found[0].tolist() == [1.0, 2.0]
    assert found[-1].tolist() == [2.0, 2.5]


def test_the_front_is_what_nothing_beats_in_both():
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.8), (3.0, 0.8), (4.0, 0.9)]
    assert plots.pareto(points, lower=False) == [(1.0, 0.5), (2.0, 0.8), (4.0, 0.9)]
    assert plots.pareto(points, lower=True) == [(1.0, 0.5), (2.0, 0.4)]


def test_groups_look_different_without_colour():
    found = style.looks([(str(number),) for number in range(20)])
    assert len({(look.marker, look.line) for look in found.values()}) == 20


def test_bars_join_ranks_within_the_critical_difference():
    assert plots.together([1.0, 1.5, 2.4, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert plots.together([1.0, 3.0], 1.0) == []
    assert plots.together([1.0, 3.0], None) == []


# --------------------------------------------------------------------------------------------------------- the page


class Page(HTMLParser):
    """Collects what a browser or a screen reader goes by."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.named = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.named += [attributes["aria-labelledby"]] if "aria-labelledby" in attributes else []


def test_a_page_stands_alone_and_can_be_read_by_all(outputs):
    detailed(outputs)
    text = page.html(content.compose(findings.find([outputs], ANY)))
    read = Page(text)
    assert {"header", "nav", "main", "footer", "caption", "figcaption"} <= set(read.tags)
    assert read.tags.count("h1") == 1
    assert all(link.startswith("#") for link in read.links)
    assert "url(http" not in text
    assert len(read.ids) == len(set(read.ids))
    assert {link[1:] for link in read.links} <= set(read.ids)
    assert {name for names in read.named for name in names.split()} <= set(read.ids)
    assert text.count('role="img"') == read.tags.count("figure") == read.tags.count("figcaption")
    assert read.tags.count("script") == 1
    assert "component\u00a0" not in text
    assert "n\u00a0=\u00a03" in text


def test_what_a_run_is_called_cannot_write_html(outputs):
    runs(outputs, "<script>alert(1)</script>", [0.5, 0.6])
    runs(outputs, "holistic", [0.5, 0.6])
    text = page.html(content.compose(findings.find([outputs], ANY)))
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in text


def test_the_same_runs_make_the_same_page(outputs):
    detailed(outputs)
    one, other = (page.html(content.compose(findings.find([outputs], ANY))) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("14.4k", "14400"),
        ("3 min 20 s", "200"),
        ("2 h 5 min", "7500"),
        ("512 MiB", "536870912"),
        ("<0.001", "0.001"),
        ("+0.0500 *", "0.05"),
        ("-0.0500", "-0.05"),
        ("0.35 .. 0.84", "0.35"),
        ("1e-05", "1e-05"),
        ("76%", "76"),
        ("-", ""),
        ("never", ""),
    ],
)
def test_cells_are_sorted_by_their_number(cell, number):
    assert page.order(cell) == number


def test_a_picture_takes_its_colours_from_the_page():
    plot = contribution.shapley({("a",): {"image": [0.5, 0.7]}}, "accuracy", style.looks([("a",)]))
    picture = svg.inline(plot, "plot7")
    root = ElementTree.fromstring(picture)
    assert root.attrib["role"] == "img"
    assert root[0].text == plot.alt
    assert root.attrib["aria-labelledby"] == root[0].attrib["id"] == "plot7-alt"
    assert "currentColor" in picture
    assert "var(--grid)" in picture
    assert svg.INK not in picture
    assert re.search(r">image</", picture)  # text stays text


# ------------------------------------------------------------------------------------------------------------ papers


def test_markdown_and_latex_say_the_same(outputs):
    detailed(outputs)
    report = content.compose(findings.find([outputs], ANY))
    text = text_formats.markdown(report, None)
    assert text.startswith("# test/accuracy by strategy\n\n- **component beats holistic by ")
    assert "![" not in text
    assert "![Bar chart of Shapley values. holistic:" in text_formats.markdown(report, "figures")
    assert "(figures/calibration-and-classes-confusion-holistic.svg)" in text_formats.markdown(report, "figures")
    text = text_formats.latex(report, "figures")
    assert "\\item component beats holistic by " in text
    assert "\\includegraphics[width=\\linewidth]{figures/what-each-modality-is-worth-shapley.pdf}" in text
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 10
