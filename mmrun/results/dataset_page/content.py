"""What a data set's page shows: sections of tables and plots, and samples."""

from collections.abc import Mapping
from dataclasses import dataclass

from mmrun.data.checks.modality_statistics import ModalityStatistics
from mmrun.data.checks.samples import Sample
from mmrun.data.checks.statistics import Statistics, TargetStatistics
from mmrun.data.table import SPLITS
from mmrun.results.dataset_page.plots import plot_correlations, plot_distribution, plot_frequencies
from mmrun.results.dataset_page.tables import tabulate_classes, tabulate_rows
from mmrun.results.formatting import pluralize
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.table import Table

MAX_PLOTS = 60
MAX_UNREADABLE = 20  # rows that are listed


@dataclass(frozen=True)
class Page:
    """A page about a data set.

    Attributes:
        title: name of the file.
        about: number of rows.
        notes: what was sampled, inferred or left out, one line each.
        sections: of tables and plots.
        samples: rows by class.
    """

    title: str
    about: str
    notes: list[str]
    sections: list[Section]
    samples: Mapping[str, list[Sample]]


def build_page(title: str, statistics: Statistics, samples: Mapping[str, list[Sample]], notes: list[str]) -> Page:
    """Build the page of a data set.

    Args:
        title: name of the file.
        statistics: of the data set.
        samples: rows by class.
        notes: about the samples.
    """
    rows = Section("Rows by split", tables=[tabulate_rows(statistics)])
    sections = [rows]
    for name, target in statistics.targets.items():
        sections.append(_build_target(name, target, statistics.rows))
    for name, modality in statistics.modalities.items():
        sections.append(_build_modality(name, modality))
    if statistics.correlations is not None:
        sections.append(Section("Correlations", plots=[plot_correlations(statistics.correlations)]))
    all_notes = [*statistics.notes, *notes, *_limit_plots(sections)]
    counts = ", ".join(f"{count:,} {split}" for split, count in statistics.rows.items())
    return Page(title, f"{sum(statistics.rows.values()):,} rows: {counts}", all_notes, sections, samples)


def _limit_plots(sections: list[Section]) -> list[str]:
    """Drop the plots beyond MAX_PLOTS; return a line that says so."""
    num_plots = 0
    num_dropped = 0
    for section in sections:
        shown_plots = section.plots[: max(0, MAX_PLOTS - num_plots)]
        num_dropped += len(section.plots) - len(shown_plots)
        num_plots += len(shown_plots)
        section.plots = shown_plots
    return [f"{num_dropped} plots beyond the first {MAX_PLOTS} are left out"] if num_dropped else []


def _build_target(name: str, target: TargetStatistics, rows: Mapping[str, int]) -> Section:
    title = f"Target {name}"
    if target.frequencies is not None:
        totals = {split: rows[split] - target.hidden[split] for split in SPLITS}
        plot = plot_frequencies(name, target.frequencies, totals)
        return Section(title, tables=[tabulate_classes(name, target)], plots=[plot])
    plots = [] if target.distribution is None else [plot_distribution(name, target.distribution)]
    return Section(title, plots=plots)


def _build_modality(name: str, modality: ModalityStatistics) -> Section:
    plots: list[Plot] = []
    constants = {}
    for measure, distribution in modality.distributions.items():
        if distribution.least < distribution.most:
            plots.append(plot_distribution(measure, distribution))
        else:
            constants[measure] = f"{distribution.least:.5g}"
    for values, frequencies in modality.frequencies.items():
        totals = dict.fromkeys(SPLITS, 0)
        for counts in frequencies.counts.values():
            for split in SPLITS:
                totals[split] += counts[split]
        if frequencies.num_different > 1:
            plots.append(plot_frequencies(values, frequencies, totals))
        elif frequencies.counts:
            constants[values] = next(iter(frequencies.counts))
    tables = []
    if modality.unreadable:
        shown = list(map(list, modality.unreadable.items()))[:MAX_UNREADABLE]
        caption = f"{pluralize(len(modality.unreadable), 'row')} that cannot be read"
        caption += f", the first {MAX_UNREADABLE}" if len(modality.unreadable) > MAX_UNREADABLE else ""
        tables.append(Table(caption, ["row", "reason"], shown, 2))
    text = f"{modality.kind}, {modality.num_read:,} rows read."
    for measure, value in constants.items():
        text += f" {measure}: {value} in all rows."
    return Section(f"Modality {name}", text, tables, plots)
