"""The plots of a run's report, SVG and PNG: throughput against offered load, latency, the run over time."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_SIZE: Final = (7.2, 3.6)
_BLUE, _ORANGE, _GREY, _RED, _GREEN = "#1f6fb2", "#d9730d", "#8a8f98", "#c4314b", "#2e8b57"

Draw = Callable[[Axes, Mapping[str, Any]], None]

# Keep text as text, and make the same file from the same figures.
mpl.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "pfxlab", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
)


def _throughput(axes: Axes, result: Mapping[str, Any]) -> None:
    points, found = result["points"], result["saturation"]
    offered = [point["offered"] for point in points]
    top = max([*offered, *(point["achieved"] for point in points), 1])
    axes.plot([0, top], [0, top], color=_GREY, linestyle=":", label="offered")
    axes.plot(offered, [point["achieved"] for point in points], "o-", color=_BLUE, label="achieved")
    if found is not None:
        name = "saturation" if found["reached"] else "highest seen, not saturated"
        axes.axhline(
            found["per_second"], color=_ORANGE, linestyle="--", label=f"{name}: {found['per_second']:,.0f} per second"
        )
    if result.get("openssl") and result["unit"] == "deliveries":
        rate = result["openssl"]["private_operations_per_second"]
        axes.axhline(rate, color=_GREEN, linestyle="-.", label=f"OpenSSL alone, all cores: {rate:,.0f} per second")
    axes.set_xlabel(f"offered: {result['unit']} per second")
    axes.set_ylabel(f"{result['unit']} per second")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")


def _latency(axes: Axes, result: Mapping[str, Any]) -> None:
    points = [point for point in result["points"] if point["count"]]
    offered = [point["offered"] for point in points]
    for name, colour in (("p50_ms", _BLUE), ("p95_ms", _ORANGE), ("p99_ms", _RED)):
        axes.plot(offered, [point[name] for point in points], "o-", color=colour, label=name.removesuffix("_ms"))
    axes.set_xlabel(f"offered: {result['unit']} per second")
    axes.set_ylabel("milliseconds, from when it was due")
    if points and max(point["p99_ms"] for point in points) > 20 * max(1, min(point["p50_ms"] for point in points)):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(loc="upper left")


def _over_time(axes: Axes, result: Mapping[str, Any]) -> None:
    series = result["series"]
    seconds = [one["t"] for one in series]
    axes.step(seconds, [one["offered"] for one in series], where="mid", color=_GREY, label="offered")
    axes.plot(seconds, [one["achieved"] for one in series], color=_BLUE, label="achieved")
    if any(one["failures"] for one in series):
        axes.plot(seconds, [one["failures"] for one in series], color=_RED, label="failed requests")
    axes.set_xlabel("seconds since the begin")
    axes.set_ylabel(f"{result['unit']} per second")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")


def _stages(axes: Axes, result: Mapping[str, Any]) -> None:
    stages = result["stages"] or result["requests"]
    names = [name for name in stages if stages[name]["count"]]
    axes.barh(names, [stages[name]["mean_ms"] for name in names], color=_BLUE, label="mean")
    axes.plot([stages[name]["p95_ms"] for name in names], names, "|", color=_RED, markersize=14, label="p95")
    axes.set_xlabel("milliseconds")
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    if names:
        axes.legend(loc="lower right")


PLOTS: Final[dict[str, Draw]] = {
    "throughput": _throughput,
    "latency": _latency,
    "over-time": _over_time,
    "stages": _stages,
}


def figure(draw: Callable[[Axes], None], size: tuple[float, float] = _SIZE) -> Figure:
    """Return a figure with one plot."""
    drawn = Figure(figsize=size, layout="constrained")
    draw(drawn.add_subplot())
    return drawn


def svg(drawn: Figure) -> str:
    """Return a figure as the text of an SVG element."""
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def save(drawn: Figure, folder: Path, name: str) -> None:
    """Write a figure as NAME.svg and NAME.png."""
    drawn.savefig(folder / f"{name}.svg", format="svg", metadata={"Date": None, "Creator": None})
    drawn.savefig(folder / f"{name}.png", format="png", dpi=150)


def draw_all(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Return every plot of a run by name."""
    return {name: figure(lambda axes, one=one: one(axes, result)) for name, one in PLOTS.items()}  # type: ignore[misc]


def draw_soak(axes: Axes, report: Mapping[str, Any]) -> None:
    """Plot memory and database size of a soak over the lab's time."""
    minutes = [one["minute"] for one in report["readings"]]
    axes.plot(minutes, [one["memory_mb"] for one in report["readings"]], color=_BLUE, label="memory of the whole lab")
    axes.plot(minutes, [one["database_mb"] for one in report["readings"]], color=_ORANGE, label="database on the disk")
    axes.set_xlabel("minutes of the lab's time")
    axes.set_ylabel("MiB")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(loc="center right")
