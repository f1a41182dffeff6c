"""The section on noise, from `mmrun eval --all`: how a figure falls while one modality is spoiled more and more."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mmrun.results.formatting import format_number, format_signed
from mmrun.results.report.contribution import Kept
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Look, key
from mmrun.results.selection import Group
from mmrun.results.tables import Table

Curves = dict[Group, np.ndarray]  # [severities], means over corruptions and runs


def section(kept: Kept, name: str, look: Mapping[Group, Look]) -> Section | None:
    """Show a curve a modality, and one number for each."""
    found = {group: [one["robustness"] for one in read if "robustness" in one] for group, read in kept.items()}
    found = {group: read for group, read in found.items() if read}
    if not found:
        return None
    first = next(iter(found.values()))[0]
    severities = first["severities"]
    modalities = list(dict.fromkeys(m for read in found.values() for one in read for m in one["metrics"][name]))
    drawn = []
    for modality in modalities:
        having = {group: _of(read, name, modality) for group, read in found.items()}
        having = {group: said for group, said in having.items() if said}
        curves = {group: np.mean([_curve(one) for one in said], axis=0) for group, said in having.items()}
        corruptions = list(next(iter(having.values()))[0]["curves"])
        drawn.append(picture(modality, corruptions, severities, curves, name, look))
    text = (
        "One modality is spoiled at a time. Relative robustness is the mean figure while the noise grows; effective "
        "robustness is what is kept beyond what the spoiled modality alone keeps: above 0 the others hold the model up."
    )
    return Section("When a modality goes bad", text, [_table(found, modalities, severities, name)], drawn)


def _of(found: Sequence[Mapping[str, Any]], name: str, modality: str) -> list[Any]:
    return [one["metrics"][name][modality] for one in found if modality in one["metrics"][name]]


def _curve(said: Mapping[str, Any]) -> np.ndarray:
    return np.mean([curve["fused"] for curve in said["curves"].values()], axis=0)


def _table(
    found: Mapping[Group, Sequence[Mapping[str, Any]]],
    modalities: Sequence[str],
    severities: Sequence[float],
    name: str,
) -> Table:
    rows = []
    for group, read in found.items():
        for modality in modalities:
            said = _of(read, name, modality)
            if said:
                curve = np.mean([_curve(one) for one in said], axis=0)
                relative, effective = (
                    float(np.mean([one[kind] for one in said])) for kind in ("relative", "effective")
                )
                cells = [
                    str(len(said)),
                    *map(format_number, curve.tolist()),
                    format_number(relative),
                    format_signed(effective),
                ]
                rows.append([",".join(group), modality, *cells])
    header = ["group", "noise in", "runs", *(f"at {severity:g}" for severity in severities), "relative", "effective"]
    return Table(f"{name} by severity of the noise, means over the kinds of noise and the runs", header, rows, 2)


def picture(
    modality: str,
    corruptions: Sequence[str],
    severities: Sequence[float],
    curves: Curves,
    name: str,
    look: Mapping[Group, Look],
) -> Plot:
    """Show the figure over the severity of one modality's noise."""

    def draw(axes: Axes) -> None:
        for group, curve in curves.items():
            axes.plot(severities, curve, label=",".join(group), **look[group].style(0))
        axes.set_xlabel(f"noise in {modality} (severity)")
        axes.set_ylabel(name)
        key(axes)

    said = "; ".join(
        f"{','.join(group)} from {format_number(c[0])} to {format_number(c[-1])}" for group, c in curves.items()
    )
    caption = f"{name} while {modality} is spoiled ({', '.join(corruptions)}), mean over the seeds"
    alt = f"Line plot of {name} while noise in {modality} grows from {severities[0]:g} to {severities[-1]:g}. {said}."
    return Plot(f"noise-{modality}", caption, alt, draw, width=4.0, height=3.0)
