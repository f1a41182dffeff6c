"""The section on encoders before and after the fusion, from `mmrun eval --all`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mmrun.results.formatting import format_number, format_signed
from mmrun.results.report.charts import bars
from mmrun.results.report.contribution import Kept
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Look
from mmrun.results.selection import Group
from mmrun.results.tables import Table

Drift = dict[str, list[dict[str, Any]]]  # by modality, what each run says


def section(kept: Kept, look: Mapping[Group, Look]) -> Section | None:
    """Show the groups of which some stage taught an encoder before the last one did."""
    every = {group: _gathered([one["drift"] for one in read if one.get("drift")]) for group, read in kept.items()}
    found = {group: drift for group, drift in every.items() if drift}
    if not found:
        return None
    tasks = list(
        dict.fromkeys(task for drift in found.values() for each in drift.values() for task in each[0]["probe"])
    )
    text = (
        "What the stages after the one that first taught an encoder did to it. CKA is 1 where the geometry of its "
        "features is unchanged; a linear probe tells how much of the target can be read from them, then and now."
    )
    drawn = [cka(found, look), *(probe(found, task, look) for task in tasks)]
    return Section("Encoders before and after", text, [_table(found, tasks)], drawn)


def _gathered(read: Sequence[Mapping[str, Any]]) -> Drift:
    gathered: Drift = {}
    for one in read:
        for modality, said in one.items():
            gathered.setdefault(modality, []).append(said)
    return gathered


def _table(found: Mapping[Group, Drift], tasks: Sequence[str]) -> Table:
    rows = []
    for group, drift in found.items():
        for modality, each in drift.items():
            stages = ", ".join(dict.fromkeys(said["after_stage"] for said in each))
            cells = [
                ",".join(group),
                modality,
                stages,
                str(len(each)),
                format_number(_mean([said["cka"] for said in each])),
            ]
            for task in tasks:
                before, after = (_mean([said["probe"][task][when] for said in each]) for when in ("before", "after"))
                cells += [format_number(before), format_number(after), format_signed(after - before)]
            rows.append(cells)
    of_task = [""] if len(tasks) == 1 else [f"{task}: " for task in tasks]
    probes = [f"{task}{what}" for task in of_task for what in ("probe then", "probe now", "change")]
    header = ["group", "encoder", "since the end of", "runs", "CKA", *(probes if tasks else ())]
    return Table(
        "encoders at the end of the stage that first taught them, and at the end; means of the runs", header, rows, 3
    )


def cka(found: Mapping[Group, Drift], look: Mapping[Group, Look]) -> Plot:
    """Show how alike the features are before and after (linear CKA: Kornblith et al., 2019)."""
    values = {g: {m: [said["cka"] for said in each] for m, each in drift.items()} for g, drift in found.items()}
    names = list(dict.fromkeys(modality for of_group in values.values() for modality in of_group))

    def draw(axes: Axes) -> None:
        bars(axes, values, names, look)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("CKA of an encoder's features")

    said = "; ".join(
        f"{','.join(group)}: " + ", ".join(f"{m} {format_number(_mean(each))}" for m, each in of_group.items())
        for group, of_group in values.items()
    )
    caption = "how alike an encoder's features are before and after: 1 is unchanged; bars are means, dots are runs"
    return Plot("cka", caption, f"Bar chart of linear CKA. {said}.", draw, width=4.4, height=3.0)


def probe(found: Mapping[Group, Drift], task: str, look: Mapping[Group, Look]) -> Plot:
    """Show what a linear probe reads from each encoder: an open mark before, a full one after."""
    lines = []
    for group, drift in found.items():
        for modality, each in drift.items():
            before, after = (_mean([said["probe"][task][when] for said in each]) for when in ("before", "after"))
            lines.append((group, modality, before, after))

    def draw(axes: Axes) -> None:
        for place, (group, _, before, after) in enumerate(lines):
            own = look[group]
            axes.plot([before, after], [place, place], color=own.colour, linewidth=1.5)
            axes.plot([before], [place], color=own.colour, marker=own.marker, markerfacecolor="none", markersize=7)
            axes.plot([after], [place], color=own.colour, marker=own.marker, markersize=7)
        several = len(found) > 1
        names = [f"{','.join(group)}: {modality}" if several else modality for group, modality, *_ in lines]
        axes.set_yticks(range(len(lines)), names)
        axes.invert_yaxis()
        axes.margins(y=0.5 / len(lines) + 0.05)
        axes.set_xlabel(f"accuracy of a linear probe ({task})")

    said = "; ".join(
        f"{','.join(g)} {m} from {format_number(before)} to {format_number(after)}" for g, m, before, after in lines
    )
    caption = "what a linear probe reads from each encoder: open marks before, full ones after; means of the runs"
    height = 1.2 + 0.3 * len(lines)
    return Plot(f"probe-{task}", caption, f"Accuracy of linear probes. {said}.", draw, height=max(2.2, height))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
