"""From columns to pictures: Altair charts, loaded on first use."""

from __future__ import annotations

import importlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltz.errors import FileError, MissingExtraError

if TYPE_CHECKING:
    import altair

FORMATS = (".html", ".svg", ".png", ".json")


def sweep_chart(
    curve: dict[str, list[float]], best_of: dict[str, list[Any]] | None = None
) -> altair.VConcatChart:
    """Return the soft value over beta with its interval, above mean reward against KL.

    Parameters
    ----------
    curve : dict of str to list of float
        Columns ``beta, soft_value, lo, hi, mean_reward, kl``. Where a limit is infinite the band is interrupted.
    best_of : dict of str to list, optional
        Columns ``n, kl, reward, lo, hi`` of best-of-n, drawn as points beside the curve of reward against KL.

    Raises
    ------
    MissingExtraError
        If Altair is not installed.
    """
    alt = _loaded("altair", "altair")
    finite = {name: [x if _finite(x) else None for x in column] for name, column in curve.items()}
    names = ("beta", "soft_value", "lo", "hi", "mean_reward", "kl")
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(finite[name] for name in names), strict=True)]
    base = alt.Chart(alt.Data(values=rows))
    beta = alt.X("beta:Q", scale=alt.Scale(type="log"), title="beta (reward per nat)")
    # Without an upper end Vega would draw the band down to 0.
    bounded = base.transform_calculate(lower="isValid(datum.hi) ? datum.lo : null")
    band = bounded.mark_area(opacity=0.25).encode(
        x=beta, y=alt.Y("lower:Q", title="reward", scale=alt.Scale(zero=False)), y2="hi:Q"
    )
    tooltip = [alt.Tooltip(f"{name}:Q", format=".4g") for name in names]
    value = base.mark_line(point=True).encode(x=beta, y=alt.Y("soft_value:Q"), tooltip=tooltip)
    reward = base.mark_line(strokeDash=[4, 3], color="#888").encode(x=beta, y=alt.Y("mean_reward:Q"))
    upper = (band + value + reward).properties(
        width=480, height=240, title="Mean soft value with its interval; dashed: tilted mean reward"
    )
    lower = (
        base.mark_line(point=True)
        .encode(
            x=alt.X("kl:Q", title="KL(tilted || reference), nats"),
            y=alt.Y("mean_reward:Q", title="tilted mean reward", scale=alt.Scale(zero=False)),
            order=alt.Order("beta:Q"),
            tooltip=tooltip,
        )
        .properties(width=480, height=240, title="Reward against KL")
    )
    if best_of is not None:
        title = "Reward against KL; points: best-of-n with its interval"
        lower = (lower + _best_of_points(alt, best_of)).properties(width=480, height=240, title=title)
    return alt.vconcat(upper, lower)


def _best_of_points(alt: Any, best_of: dict[str, list[Any]]) -> Any:
    """Return a labelled point for each n, with its interval where there is one."""
    names = ("n", "kl", "reward", "lo", "hi")
    values = zip(*(best_of[name] for name in names), strict=True)
    rows = [{name: x if _finite(x) else None for name, x in zip(names, row, strict=True)} for row in values]
    for row in rows:
        row["name"] = f"best of {row['n']}"
    base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("kl:Q"))
    color, tooltip = alt.value("#d62728"), [alt.Tooltip("name:N"), *(f"{name}:Q" for name in names[1:])]
    limits = base.mark_rule().transform_filter("isValid(datum.lo) && isValid(datum.hi)")
    points = base.mark_point(filled=True, size=60).encode(y=alt.Y("reward:Q"), color=color, tooltip=tooltip)
    labels = base.mark_text(align="left", dx=7, dy=8).encode(y=alt.Y("reward:Q"), text="name:N", color=color)
    return limits.encode(y=alt.Y("lo:Q"), y2="hi:Q", color=color) + points + labels


def save_chart(chart: Any, path: str | Path) -> None:
    """Write a chart to a file; the name appears when the file is complete.

    Parameters
    ----------
    chart : altair chart
        The picture.
    path : str or path
        ``.html`` (one file that needs no network), ``.svg``, ``.png`` or ``.json``.

    Raises
    ------
    FileError
        If the suffix is another, or the file cannot be written.
    MissingExtraError
        If what draws the picture is not installed.
    """
    check_picture(path)
    target = Path(path)
    partial = target.with_name(f".{target.stem}.partial{target.suffix}")
    try:
        chart.save(str(partial), **({"inline": True} if target.suffix == ".html" else {}))
        partial.replace(target)
    except OSError as reason:
        raise FileError(f"{str(path)!r} cannot be written: {reason.strerror or reason}.") from reason
    finally:
        with suppress(OSError):
            partial.unlink()


def check_picture(path: str | Path) -> None:
    """Refuse a file that no picture can be written to, before there is one.

    Parameters
    ----------
    path : str or path
        As in :func:`save_chart`.

    Raises
    ------
    FileError
        If the suffix is not one of a picture.
    MissingExtraError
        If what draws the picture is not installed.
    """
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise FileError(f"a picture must end in {', '.join(FORMATS)}; found {str(path)!r}.")
    _loaded("altair", "altair")
    if suffix != ".json":
        _loaded("vl_convert", "vl-convert-python")


def _loaded(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as reason:
        raise MissingExtraError(package, "report", "A chart") from reason


def _finite(x: float) -> bool:
    return x - x == 0
