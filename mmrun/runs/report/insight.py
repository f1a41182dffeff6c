"""Pictures of what stored predictions and `mmrun eval` tell: calibration, confusion, what each modality is worth."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from mmrun.runs.report.logs import Classified
from mmrun.runs.report.plots import Look, Plot, Style
from mmrun.runs.selection import Group
from mmrun.runs.wording import number

HEAT = "cividis"  # the same to any colour vision, and in grey


def calibration(found: Mapping[Group, Classified], look: Mapping[Group, Look]) -> Plot:
    """Show accuracy over confidence (Guo et al., 2017); on the diagonal, probabilities mean what they say."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for group, said in found.items():
            own, used = look[group], said.count > 0
            confidence, right = said.confidence[used] / said.count[used], said.right[used] / said.count[used]
            style: Style = {"color": own.colour, "linestyle": own.line, "marker": own.marker, "markersize": 4}
            axes.plot(confidence, right, label=f"{','.join(group)} ({said.calibration_error:.3f})", **style)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        axes.legend(title="calibration error")

    said = "; ".join(f"{','.join(group)}: {one.calibration_error:.3f}" for group, one in found.items())
    caption = "calibration: on the dotted diagonal a model is right as often as it says; rows of all seeds together"
    return Plot("calibration", caption, f"Reliability diagram. Calibration error {said}.", draw)


def confusion(group: Group, found: Classified) -> Plot:
    """Show which classes are taken for which, as shares of the true class."""
    shares = found.confusion / np.maximum(found.confusion.sum(1, keepdims=True), 1)

    def draw(axes: Axes) -> None:
        heat(
            axes,
            shares,
            found.names,
            found.names,
            lambda value: f"{value * 100:.0f}" if value >= 0.005 else "",
            0,
            1,
        )
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")

    wrong = found.confusion - np.diag(found.confusion.diagonal())
    true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    most = f"most often {found.names[true]} is taken for {found.names[predicted]}: {shares[true, predicted]:.0%}"
    side = min(5.0, 1.6 + 0.2 * len(found.names))
    name = ",".join(group)
    caption = f"{name}: confusion, % of each true class, all seeds together"
    return Plot(f"confusion-{name}", caption, f"Confusion matrix of {name}; {most}.", draw, side, side)


def missing(group: Group, subsets: Sequence[str], fills: Sequence[str], values: np.ndarray, metric: str) -> Plot:
    """Show the figure of every subset of the modalities, under each way to fill what is missing."""

    def draw(axes: Axes) -> None:
        heat(axes, values, subsets, fills, lambda value: f"{value:.3f}", float(values.min()), float(values.max()))
        axes.set_xlabel("what is missing is")
        axes.set_ylabel("what is there")

    name = ",".join(group)
    said = "; ".join(f"{subset}: {number(float(row[0]))}" for subset, row in zip(subsets, values, strict=True))
    caption = f"{name}: {metric} with modalities missing, mean over the seeds"
    return Plot(
        f"missing-{name}",
        caption,
        f"Heat map of {metric} of {name} by what is there. {said}.",
        draw,
        height=1.2 + 0.32 * len(subsets),
    )


def shapley(found: Mapping[Group, Mapping[str, Sequence[float]]], metric: str, look: Mapping[Group, Look]) -> Plot:
    """Show what each modality adds on average over all orders in which modalities can be added."""
    modalities = list(dict.fromkeys(modality for worth in found.values() for modality in worth))

    def draw(axes: Axes) -> None:
        width = 0.8 / len(found)
        for place, (group, worth) in enumerate(found.items()):
            at = np.arange(len(modalities)) + (place - (len(found) - 1) / 2) * width
            values = [np.mean(worth[modality]) for modality in modalities]
            axes.bar(at, values, width * 0.92, color=look[group].colour, label=",".join(group))
            for x, modality in zip(at, modalities, strict=True):
                each = worth[modality]
                axes.scatter([x] * len(each), each, s=14, color="grey", linewidths=0, zorder=3)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set_xticks(range(len(modalities)), modalities)
        axes.set_ylabel(f"Shapley value of {metric}")
        axes.legend()

    said = "; ".join(
        f"{','.join(group)}: " + ", ".join(f"{m} {number(float(np.mean(worth[m])))}" for m in modalities)
        for group, worth in found.items()
    )
    caption = f"what each modality is worth: Shapley values of {metric}, bars are means, dots are runs"
    return Plot("shapley", caption, f"Bar chart of Shapley values. {said}.", draw)


def heat(
    axes: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    write: Callable[[float], str],
    low: float,
    high: float,
) -> None:
    """Draw a matrix, its first row above, with its figures in the cells."""
    mesh = axes.pcolormesh(values, cmap=HEAT, vmin=low, vmax=max(high, low + 1e-9), edgecolors="none")
    for (row, column), value in np.ndenumerate(values):
        dark = (value - low) / max(high - low, 1e-9) < 0.55
        axes.text(
            column + 0.5,
            row + 0.5,
            write(value),
            ha="center",
            va="center",
            fontsize=7,
            color="#ffffff" if dark else "#101010",
        )
    mesh.set_rasterized(False)
    axes.set_xticks(
        np.arange(len(columns)) + 0.5, columns, rotation=0 if max(map(len, columns)) * len(columns) < 50 else 90
    )
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.invert_yaxis()
