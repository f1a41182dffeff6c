"""The content of a report on synthetic runs. The page in a real browser is tested with mmrun.cli.report."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from mmrun.errors import ConfigError
from mmrun.results.compare import Question
from mmrun.results.report import content, contribution, findings, logs, page, plots, section, style, svg, text_formats
from tests.results.fabricate import detail, finished, rewrite, stage_cost

ANY = Question(metric="")  # leaves every choice to the report


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def write_runs(outputs, strategy, accuracies, **changes):
    return [finished(outputs, accuracy, strategy, seed, **changes) for seed, accuracy in enumerate(accuracies)]


def build_report(outputs, question=ANY):
    return content.build_report(findings.compute_findings([outputs], question))


def read_answers(outputs, question=ANY):
    return [answer.text for answer in build_report(outputs, question).answers]


@pytest.fixture(scope="module")
def detailed_outputs(tmp_path_factory):
    """Three seeds of two strategies, with everything that a run folder can hold."""
    outputs = tmp_path_factory.mktemp("detailed") / "outputs"
    for strategy, accuracies in (("holistic", [0.60, 0.70, 0.65]), ("component", [0.70, 0.81, 0.74])):
        for run in write_runs(outputs, strategy, accuracies):
            detail(run)
    return outputs


@pytest.fixture(scope="module")
def detailed_report(detailed_outputs):
    return build_report(detailed_outputs)


# ------------------------------------------------------------------------------------------------------------- answers


def test_the_first_line_answers_the_question(outputs):
    write_runs(outputs, "holistic", [0.50, 0.70, 0.60, 0.55, 0.65])
    for run in write_runs(outputs, "component", [0.52, 0.723, 0.621, 0.568, 0.673]):
        detail(run)
        rewrite(run, cost__peak_memory=716.8 * 1024**2, cost__seconds=8.0)
    assert read_answers(outputs) == [
        "component beats holistic by 0.021 [0.018, 0.024] at equal budget (10 epochs), n = 5, p <0.001; "
        "it costs 0.8x the time and 1.4x the memory."
    ]


def test_shared_costs_are_marked_as_shared(outputs):
    write_runs(outputs, "scratch", [0.50, 0.70, 0.60])
    for run in write_runs(outputs, "component", [0.55, 0.751, 0.649]):
        half = stage_cost(epochs=5.0, seconds=5.0, flops=7.5e11, samples=7_185)
        rewrite(run, cost__stages={"pretrain-image": half, "train": half})
    assert read_answers(outputs, Question(metric="", amortise=5))[0].endswith(
        "p <0.001; shared by 5 fusions, it costs 0.6x the time and 0.6x the FLOPs."
    )


def test_insignificant_differences_are_undecided(outputs):
    write_runs(outputs, "holistic", [0.50, 0.70, 0.60])
    write_runs(outputs, "component", [0.51, 0.72, 0.63])
    assert read_answers(outputs) == [
        "component and holistic do not differ significantly: +0.020 [-0.005, 0.045] at equal budget (10 epochs), "
        "n = 3, p = 0.074 (this many runs would detect a difference of 0.033); "
        "time, FLOPs and trainable parameters are within 10 %."
    ]


def test_the_correction_is_named_where_several_groups_are_tested(outputs):
    write_runs(outputs, "scratch", [0.50, 0.70, 0.60])
    write_runs(outputs, "component", [0.45, 0.649, 0.551])
    write_runs(outputs, "frozen", [0.50, 0.71, 0.60])
    first, second = read_answers(outputs)
    assert first.startswith(
        "component falls short of scratch by 0.050 [0.048, 0.052] at equal budget (10 epochs), n = 3, "
        "p <0.001 after Holm;"
    )
    assert "p = 0.423 after Holm" in second


def test_lower_is_better_reverses_the_verdict(outputs):
    write_runs(outputs, "holistic", [0.50, 0.70, 0.60])
    write_runs(outputs, "component", [0.55, 0.751, 0.649])  # the loss is 1 - accuracy
    assert read_answers(outputs, Question(metric="test/loss"))[0].startswith(
        "component beats holistic by 0.050 [0.048, 0.052] at"
    )


def test_no_verdict_where_terms_are_unequal(outputs):
    write_runs(outputs, "holistic", [0.50, 0.70, 0.60])
    write_runs(outputs, "component", [0.55, 0.751, 0.649], budget={"epochs": 20.0, "steps": None})
    report = build_report(outputs)
    assert [(answer.text, answer.verdict) for answer in report.answers] == [
        (
            "component is 0.050 [0.048, 0.052] above holistic, n = 3, p <0.001, but not on equal terms (budget): "
            "no verdict.",
            "unmatched",
        )
    ]
    assert report.caveats[0] == "budget differs between compared runs: epochs=10 (n=3), epochs=20 (n=3)"


def test_one_run_of_each_is_called_so_and_not_tested(outputs):
    finished(outputs, 0.5, "holistic")
    finished(outputs, 0.6, "component")
    report = build_report(outputs)
    assert report.answers[0].text.startswith(
        "component is 0.100 above holistic at equal budget (10 epochs), one run each, not tested: no verdict"
    )
    assert report.about.startswith(
        "test/accuracy, higher is better; difference to holistic; one run of each, so no interval and no test. "
    )
    means, *_ = report.sections[0].tables
    assert (means.header, means.rows) == (
        ["strategy", "one run", "difference"],
        [["holistic", "0.5000", "-"], ["component", "0.6000", "+0.1000"]],
    )
    assert "interval" not in report.sections[0].plots[0].caption


def test_equal_means_are_level(outputs):
    for strategy in ("holistic", "component"):
        write_runs(outputs, strategy, [0.5, 0.6, 0.7])
    assert read_answers(outputs)[0].startswith(
        "component is level with holistic at equal budget (10 epochs), n = 3, not tested"
    )


def test_a_single_group_has_no_baseline(outputs):
    write_runs(outputs, "scratch", [0.5, 0.6, 0.7])
    assert read_answers(outputs) == [
        "scratch reaches 0.600 [0.352, 0.848], n = 3; there is no baseline to compare it with."
    ]


# ----------------------------------------------------------------------------------------------- what is compared with


def test_a_key_in_which_runs_differ_makes_settings_and_an_axis(outputs):
    for labelled, gain in ((0.01, 0.03), (1.0, -0.01)):
        write_runs(outputs, "scratch", [0.5, 0.6, 0.7], dataset__labelled=labelled)
        write_runs(outputs, "component", [0.5 + gain, 0.601 + gain, 0.7 + gain], dataset__labelled=labelled)
    results = findings.compute_findings([outputs], ANY)
    assert (results.setting_keys, [setting.values for setting in results.settings]) == (
        ("dataset.labelled",),
        [("0.01",), ("1",)],
    )
    assert (results.question.against, results.question.paired, results.question.metric) == (
        "scratch",
        ("seed",),
        "test/accuracy",
    )
    answers = read_answers(outputs)
    assert answers[0].startswith("dataset.labelled=0.01: component beats scratch by 0.030 [0.029, 0.032] at equal")
    assert answers[1].startswith("dataset.labelled=1: component falls short of scratch by 0.010 [0.008, 0.011] at")
    assert (
        answers[2]
        == "component falls behind scratch at dataset.labelled = 0.329, significantly different at 0.01 and 1."
    )


def test_data_sets_are_settings_without_an_axis_and_are_ranked(outputs):
    for number in range(3):
        for strategy, accuracy in (("component", 0.8), ("holistic", 0.7), ("scratch", 0.6)):
            choices = {"dataset": f"set{number}", "strategy": strategy, "fusion": "concat", "encoder.image": "cnn"}
            finished(outputs, accuracy, strategy, choices=choices, dataset={"labelled": 1.0, "name": number})
    results = findings.compute_findings([outputs], ANY)
    assert (results.setting_keys, results.curves, len(results.settings)) == (("dataset",), [], 3)
    assert results.ranking.groups == [("component",), ("holistic",), ("scratch",)]
    assert read_answers(outputs)[0] == (
        "over 3 values of dataset, component ranks above scratch (mean ranks: component 1.00, holistic 2.00, "
        "scratch 3.00; p = 0.050)."
    )


def test_groups_without_common_seeds_are_independent(outputs):
    for seed, accuracy in enumerate([0.5, 0.6, 0.7]):
        finished(outputs, accuracy, "holistic", seed)
        finished(outputs, accuracy, "component", seed + 3)
    assert findings.compute_findings([outputs], ANY).question.paired == ()


def test_settings_can_be_named(outputs):
    for dim in (64, 128):
        write_runs(outputs, "scratch", [0.5, 0.6], fusion__dim=dim)
        write_runs(outputs, "component", [0.5, 0.6], fusion__dim=dim)
    results = findings.compute_findings([outputs], ANY, setting_keys=["fusion.dim"], conditions=["fusion.dim=64"])
    assert [results.describe_setting(setting) for setting in results.settings] == ["fusion.dim=64"]


def test_a_setting_without_the_baseline_is_shown_alone(outputs):
    for dim in (32, 64):
        write_runs(outputs, "scratch", [0.5, 0.6, 0.7], fusion__dim=dim)
    for dim in (32, 64, 128):
        write_runs(outputs, "component", [0.55, 0.651, 0.749], fusion__dim=dim)
    results = findings.compute_findings([outputs], ANY)
    assert results.question.paired == ("seed",)
    assert [curves.values for _, curves in results.curves] == [[32, 64]]
    assert read_answers(outputs)[0].startswith("fusion.dim=32: component beats scratch by 0.050 ")
    alone = "fusion.dim=128: component reaches 0.650 [0.403, 0.897], n = 3; there is no baseline to compare it with."
    assert alone in read_answers(outputs)


def test_undecided_answers_come_last(outputs):
    for dim, gain in ((32, 0.0), (64, 0.05)):
        write_runs(outputs, "scratch", [0.5, 0.6, 0.7], fusion__dim=dim)
        write_runs(outputs, "component", [0.5 + gain, 0.601 + gain, 0.699 + gain], fusion__dim=dim)
    answers = read_answers(outputs)
    assert answers[0].startswith("fusion.dim=64: component beats scratch by 0.050 ")
    assert answers[-1].startswith("fusion.dim=32: component and scratch do not differ significantly: ")


def test_an_unknown_baseline_is_an_error(outputs):
    write_runs(outputs, "scratch", [0.5, 0.6, 0.7])
    with pytest.raises(ConfigError, match=r"^--against: no group 'scrtch'"):
        findings.compute_findings([outputs], Question(metric="", against="scrtch"))


def test_runs_without_metrics_are_an_error(outputs):
    rewrite(finished(outputs, 0.5), metrics={})
    with pytest.raises(ConfigError, match=r"^no run has a metric on the test rows; name one with --metric$"):
        findings.compute_findings([outputs], ANY)


# ------------------------------------------------------------------------------------------------- what is asked


def test_the_title_names_the_data_and_the_question(outputs):
    write_runs(outputs, "holistic", [0.5, 0.6])
    assert build_report(outputs).title == "digits: test/accuracy by strategy"
    choices = {"dataset": "manifest", "strategy": "component", "fusion": "concat", "encoder.image": "cnn"}
    finished(outputs, 0.5, "component", choices=choices, dataset={"labelled": 1.0, "path": "shop/products.csv"})
    title = build_report(outputs, Question(metric="test/loss")).title
    assert title == "digits, products.csv: which strategy has the lowest test/loss?"


@pytest.mark.parametrize(
    ("strategies", "against", "reason"),
    [
        (
            ["component", "holistic"],
            None,
            "The baseline is holistic: it fine-tunes the model as a whole, which pre-training apart has to beat; "
            "--against names another.",
        ),
        (
            ["component", "scratch"],
            None,
            "The baseline is scratch: it trains without pre-training, and no run is holistic; --against names another.",
        ),
        (
            ["component", "frozen"],
            None,
            "The baseline is component: it comes first by name; --against names another.",
        ),
        (["component", "holistic"], "component", "The baseline is component, as --against says."),
    ],
)
def test_the_report_says_why_a_group_is_the_baseline(outputs, strategies, against, reason):
    for strategy in strategies:
        write_runs(outputs, strategy, [0.5, 0.6])
    assert build_report(outputs, Question(metric="", against=against)).about.endswith(f". {reason}")


# ------------------------------------------------------------------------------------------------------------- content


def test_sections_come_in_the_order_of_reading(detailed_report):
    assert [section.title for section in detailed_report.sections] == [
        *("Comparison", "Learning curves", "Contribution of each modality", "Robustness to noise", "By site"),
        *("Calibration and classes", "Gradients of the modalities", "Encoder drift"),
        *("Configs that differ", "Environment", "Runs"),
    ]
    comparison, curves, *_, configs, environment, every = detailed_report.sections
    assert [plot.name for plot in comparison.plots] == ["quality-flops", "quality-seconds"]
    assert curves.plots[0].alt == (
        "Learning curves of val/accuracy over epochs (each modality counts its share). "
        "holistic from 0.3250 to 0.6500; component from 0.3750 to 0.7500."
    )
    assert configs.text == "The groups differ only in the keys by which they are grouped."
    assert environment.tables[0].rows == [["python", "3.11"], ["device", "cuda"], ["torch", "2.15.0"]]
    assert len(every.tables[0].rows) == 6


def test_settings_are_folded_where_there_are_several(outputs):
    for labelled in (0.1, 1.0):
        for strategy in ("scratch", "component"):
            for run in write_runs(outputs, strategy, [0.5, 0.6], dataset__labelled=labelled):
                detail(run)
    report = build_report(outputs)
    assert [section.title for section in report.sections if section.listed] == [
        *("Along dataset.labelled", "Comparison at dataset.labelled=0.1", "Comparison at dataset.labelled=1"),
        *("Configs that differ", "Environment", "Runs"),
    ]
    assert len({section.make_file_stem(part, plot) for part in report.sections for plot in part.plots}) == sum(
        len(section.plots) for section in report.sections
    )


def test_differing_configs_are_listed_and_caveats_written(outputs):
    write_runs(outputs, "holistic", [0.5, 0.6])
    for run in write_runs(outputs, "component", [0.5, 0.6], fusion__dim=64):
        detail(run, device="cpu")
    report = build_report(outputs)
    (configs,) = [section for section in report.sections if section.title == "Configs that differ"]
    assert configs.tables[0].rows == [["fusion.dim", "128", "64"]]
    assert report.caveats == [
        "fusion.dim is neither group nor pairing and differs between compared runs: 128 (n=2), 64 (n=2); "
        "fix it with --where, or add it to --by",
        "fewer than 3 runs, so a very wide interval: component (n=2), holistic (n=2)",
        "memory is not compared: for runs trained on a CPU it is that of the whole process",
    ]


def test_a_caveat_of_some_settings_names_them(outputs):
    for labelled, seeds in ((0.1, 2), (0.5, 3), (1.0, 3)):
        for strategy in ("scratch", "component"):
            write_runs(outputs, strategy, [0.5, 0.6, 0.7][:seeds], dataset__labelled=labelled)
    assert build_report(outputs).caveats == [
        "at 1 setting (dataset.labelled=0.1): fewer than 3 runs, so a very wide interval: "
        "component (n=2), scratch (n=2)",
        "memory is not compared: for runs trained on a CPU it is that of the whole process",
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
    events = logs.read_logged_evaluations({**run.read_metrics(), "cost": cost, "folder": run.path}, "epochs")
    assert logs.extract_curve(events, "val/accuracy").tolist() == [[4.0, 0.25], [5.0, 0.5]]
    assert logs.extract_curve(events, "val/f1").shape == (0, 2)


def test_mean_curves_cover_the_common_range():
    mean = logs.average_curves([np.array([[0.0, 0.0], [2.0, 2.0]]), np.array([[1.0, 3.0], [3.0, 3.0]])])
    assert mean[0].tolist() == [1.0, 2.0]
    assert mean[-1].tolist() == [2.0, 2.5]


def test_nothing_beats_the_pareto_front_in_both_cost_and_metric():
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.8), (3.0, 0.8), (4.0, 0.9)]
    assert plots.find_pareto_front(points, lower_is_better=False) == [(1.0, 0.5), (2.0, 0.8), (4.0, 0.9)]
    assert plots.find_pareto_front(points, lower_is_better=True) == [(1.0, 0.5), (2.0, 0.4)]


def test_groups_can_be_distinguished_without_colour():
    styles = style.assign_styles([(str(number),) for number in range(20)])
    assert len({(of_group.marker, of_group.line_style) for of_group in styles.values()}) == 20


def test_bars_join_ranks_within_the_critical_difference():
    assert plots.find_cliques([1.0, 1.5, 2.4, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert plots.find_cliques([1.0, 3.0], 1.0) == []
    assert plots.find_cliques([1.0, 3.0], None) == []


# --------------------------------------------------------------------------------------------------------- the page


class Page(HTMLParser):
    """Collects what browsers and screen readers use."""

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


def test_a_page_is_self_contained_and_accessible(detailed_report):
    text = page.render_html(detailed_report)
    read = Page(text)
    assert {"header", "nav", "main", "footer", "caption", "figcaption"} <= set(read.tags)
    assert read.tags.count("h1") == 1
    outside = [link for link in read.links if not link.startswith("#")]
    assert len(outside) == 6
    assert all(link.endswith("/config.yaml") for link in outside)
    assert "url(http" not in text
    assert len(read.ids) == len(set(read.ids))
    assert {link[1:] for link in read.links if link not in outside} <= set(read.ids)
    assert {name for names in read.named for name in names.split()} <= set(read.ids)
    assert text.count('role="img"') == read.tags.count("figure") == read.tags.count("figcaption")
    assert read.tags.count("script") == 1
    assert "component\u00a0" not in text
    assert "n\u00a0=\u00a03" in text


def test_names_of_runs_are_escaped(outputs):
    write_runs(outputs, "<script>alert(1)</script>", [0.5, 0.6])
    write_runs(outputs, "holistic", [0.5, 0.6])
    text = page.render_html(build_report(outputs))
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in text


def test_names_break_at_underscores_and_stay_escaped():
    assert page.break_names("late_<b>_fusion") == "late_<wbr>&lt;b&gt;_<wbr>fusion"


def test_each_run_links_to_its_config_from_where_the_page_lies(outputs, tmp_path):
    run = finished(outputs, 0.5, '"><b>x</b> 100%')
    links = Page(page.render_html(build_report(outputs), tmp_path / "pages")).links
    (link,) = [link for link in links if link.endswith("config.yaml")]
    assert link.startswith("../outputs/default/digits-")
    assert (tmp_path / "pages" / unquote(link)).resolve() == run.config_file


def test_the_same_runs_make_the_same_page(detailed_outputs, detailed_report):
    assert page.render_html(build_report(detailed_outputs)) == page.render_html(detailed_report)


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
    assert page.sort_value(cell) == number


def test_a_plot_takes_its_colours_from_the_page():
    plot = contribution.plot_shapley_values({("a",): {"image": [0.5, 0.7]}}, "accuracy", style.assign_styles([("a",)]))
    picture = svg.render_inline(plot, "plot7")
    root = ElementTree.fromstring(picture)
    assert root.attrib["role"] == "img"
    assert root[0].text == plot.alt
    assert root.attrib["aria-labelledby"] == root[0].attrib["id"] == "plot7-alt"
    assert "currentColor" in picture
    assert "var(--grid)" in picture
    assert svg.TEXT_COLOR not in picture
    assert re.search(r">image</", picture)  # text stays text


# ------------------------------------------------------------------------------------------------------------ papers


def test_markdown_and_latex_have_the_same_content(detailed_report):
    report = detailed_report
    text = text_formats.render_markdown(report, None)
    assert text.startswith(
        "# digits: which strategy has the highest test/accuracy?\n\n- **component beats holistic by "
    )
    assert "![" not in text
    assert "![Bar chart of Shapley values. holistic:" in text_formats.render_markdown(report, "figures")
    assert "(figures/calibration-and-classes-confusion-holistic.svg)" in text_formats.render_markdown(report, "figures")
    text = text_formats.render_latex(report, "figures")
    assert "\\item component beats holistic by " in text
    assert "\\includegraphics[width=\\linewidth]{figures/contribution-of-each-modality-shapley.pdf}" in text
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 10
