"""Pictures of a curve: what the specification holds, what is drawn where a limit is infinite, how files appear."""

import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import tiltz
from tiltz.charts import save_chart, sweep_chart
from tiltz.errors import FileError, MissingExtraError

COLUMNS = ("beta", "soft_value", "lo", "hi", "mean_reward", "kl")
BETAS = np.geomspace(0.1, 10, 5)


@pytest.fixture(scope="module")
def curve():
    pytest.importorskip("altair")
    rewards = np.random.default_rng(0).normal(size=(5, 16))
    return tiltz.sweep(tiltz.Outcomes.sampled(rewards), BETAS, interval="delta")


def spec_of(chart):
    return json.loads(json.dumps(chart.to_dict(), allow_nan=False))


def nodes(value):
    """Every dictionary inside a specification."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


# The specification


def test_the_specification_holds_the_mean_curve_and_points_nowhere(curve):
    spec = spec_of(curve.plot())
    columns = curve.mean_curve()
    assert spec["data"]["values"] == [
        dict(zip(COLUMNS, row, strict=True)) for row in zip(*(columns[name] for name in COLUMNS), strict=True)
    ]
    assert not any("url" in node or "href" in node for node in nodes(spec))


def test_axes_say_what_they_are_and_in_which_unit(curve):
    titles = {node["title"] for node in nodes(spec_of(curve.plot())) if isinstance(node.get("title"), str)}
    assert {"beta (reward per nat)", "reward", "KL(tilted || reference), nats"} <= titles


def test_best_of_n_stands_beside_the_curve_of_reward_against_kl(curve, tmp_path):
    best = {"n": [1, 4], "kl": [0.0, 0.6], "reward": [0.1, 1.0], "lo": [0.0, math.nan], "hi": [0.2, math.nan]}
    chart = sweep_chart(curve.mean_curve(), best)
    drawn = [node["values"] for node in nodes(spec_of(chart)) if isinstance(node.get("values"), list)]
    assert [
        {"n": 1, "kl": 0.0, "reward": 0.1, "lo": 0.0, "hi": 0.2, "name": "best of 1"},
        {"n": 4, "kl": 0.6, "reward": 1.0, "lo": None, "hi": None, "name": "best of 4"},
    ] in drawn
    save_chart(chart, tmp_path / "curve.svg")
    svg = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    assert all(f">best of {n}<" in svg for n in (1, 4))
    assert svg.count('aria-roledescription="rule mark"') == 1


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_null_in_the_specification(curve, bad):
    columns = curve.mean_curve() | {"hi": [bad, *curve.mean_curve()["hi"][1:]]}
    values = spec_of(sweep_chart(columns))["data"]["values"]
    assert values[0]["hi"] is None
    assert [row["hi"] for row in values[1:]] == columns["hi"][1:]


@pytest.mark.parametrize(
    "outcomes",
    [
        tiltz.Outcomes.sampled([[-np.inf] * 3, [0, 1, 1]]),
        tiltz.Outcomes.sampled([0.0]),
        tiltz.Outcomes.partial(np.log([0.25, 0.25]), [0.2, 0.6], reward_range=(0, 1)),
        tiltz.Outcomes.complete(np.log([0.5, 0.5]), [1e5, 1e5 + 1]),
    ],
    ids=["impossible", "one draw", "partial", "offset"],
)
@pytest.mark.parametrize(("betas", "interval"), [([0.5], "auto"), ([1e-300, 1.0, 1e300], None)])
def test_every_sweep_can_be_drawn(outcomes, betas, interval, tmp_path):
    pytest.importorskip("altair")
    chart = tiltz.sweep(outcomes, betas, interval=interval).plot()
    assert len(spec_of(chart)["data"]["values"]) == len(betas)
    save_chart(chart, tmp_path / "curve.svg")


# The picture


def vertex(pair: str) -> tuple[float, float]:
    x, y = pair.split(",")
    return float(x), float(y)


def drawn(columns, path) -> tuple[dict[float, list[float]], dict[float, float]]:
    """Vertices of the band and of the soft value in a picture, as {x: [y, ...]}, y downwards."""
    save_chart(sweep_chart(columns), path)
    svg = path.read_text(encoding="utf-8")
    paths = re.findall(r'aria-roledescription="(area|line) mark" d="([^"]*)"', svg)
    vertices = [(kind, [vertex(pair) for pair in re.findall(r"-?[\d.]+,-?[\d.]+", d)]) for kind, d in paths]
    band: dict[float, list[float]] = {}
    for x, y in [point for kind, points in vertices if kind == "area" for point in points]:
        band.setdefault(x, []).append(y)
    line = dict(next(points for kind, points in vertices if kind == "line"))
    return band, line


def test_the_band_encloses_the_curve(curve, tmp_path):
    band, line = drawn(curve.mean_curve(), tmp_path / "curve.svg")
    assert len(line) == len(BETAS)
    assert set(band) == set(line)
    assert all(min(band[x]) < y < max(band[x]) for x, y in line.items())


@pytest.mark.parametrize("name", ["lo", "hi"])
@pytest.mark.parametrize("which", [[0], [2], [0, 1], [0, 1, 2, 3, 4]])
def test_an_infinite_limit_is_never_drawn_as_none(curve, tmp_path, name, which):
    columns = curve.mean_curve()
    unbounded = math.inf if name == "hi" else -math.inf
    columns[name] = [unbounded if i in which else x for i, x in enumerate(columns[name])]
    band, line = drawn(columns, tmp_path / "curve.svg")
    for x, y in line.items():
        assert x not in band or min(band[x]) < y < max(band[x]), f"the band is closed at x = {x}"


# Files


class Loads(HTMLParser):
    """Addresses that a page fetches when it is opened."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name == "src" or (tag == "link" and name == "href")]


@pytest.mark.parametrize("suffix", ["svg", "png", "json"])
def test_pictures_are_written_and_nothing_else(curve, tmp_path, suffix):
    begins = {"svg": b"<svg", "png": b"\x89PNG", "json": b"{"}
    save_chart(curve.plot(), str(tmp_path / f"curve.{suffix}"))
    assert [path.name for path in tmp_path.iterdir()] == [f"curve.{suffix}"]
    assert (tmp_path / f"curve.{suffix}").read_bytes().lstrip().startswith(begins[suffix])


def test_a_page_fetches_nothing_and_holds_valid_json(curve, tmp_path):
    save_chart(curve.plot(), tmp_path / "curve.html")
    assert [path.name for path in tmp_path.iterdir()] == ["curve.html"]
    page = (tmp_path / "curve.html").read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!DOCTYPE html>")
    parser = Loads()
    parser.feed(page)
    assert parser.found == []
    assert "@import" not in page
    mark = "const spec = "
    spec, _ = json.JSONDecoder(parse_constant=pytest.fail).raw_decode(page, page.index(mark) + len(mark))
    assert spec["vconcat"]
    assert not any("url" in node for node in nodes(spec))


def test_a_specification_on_disk_is_json_without_infinities(curve, tmp_path):
    columns = curve.mean_curve() | {"hi": [math.inf] * len(BETAS)}
    save_chart(sweep_chart(columns), tmp_path / "curve.json")
    spec = json.loads((tmp_path / "curve.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [row["hi"] for row in spec["data"]["values"]] == [None] * len(BETAS)


@pytest.mark.parametrize("name", ["curve.pdf", "curve", "curve.html.gz", "curve.", ".svg", "svg"])
def test_another_suffix_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(
        FileError, match=r"must end in \.html, \.svg, \.png, \.json; found .*" + re.escape(name)
    ):
        save_chart(None, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


class Stops:
    """A chart whose writing breaks off halfway."""

    def __init__(self, target, reason):
        self.target, self.reason = target, reason
        self.before = target.read_bytes() if target.exists() else None

    def save(self, path, **options):
        Path(path).write_text("half", encoding="utf-8")
        assert (self.target.read_bytes() if self.target.exists() else None) == self.before
        if self.reason is not None:
            raise self.reason


@pytest.mark.parametrize("suffix", ["html", "svg", "png", "json"])
@pytest.mark.parametrize("earlier", [None, b"the earlier picture"])
def test_a_name_appears_only_when_the_file_is_complete(tmp_path, suffix, earlier):
    target = tmp_path / f"curve.{suffix}"
    if earlier is not None:
        target.write_bytes(earlier)
    with pytest.raises(FileError, match=r"curve.* cannot be written: No space left on device"):
        save_chart(Stops(target, OSError(28, "No space left on device")), target)
    with pytest.raises(KeyboardInterrupt):
        save_chart(Stops(target, KeyboardInterrupt()), target)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if earlier is None else [earlier])
    save_chart(Stops(target, None), target)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text(encoding="utf-8") == "half"


@pytest.mark.parametrize(
    "where", ["absent/curve.svg", "file.txt/curve.svg", "x" * 250 + ".svg", "folder.svg"]
)
def test_a_place_that_cannot_be_written_to_is_an_error_of_ours(curve, tmp_path, where):
    (tmp_path / "file.txt").write_text("", encoding="utf-8")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(FileError, match="cannot be written"):
        save_chart(curve.plot(), tmp_path / where)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "folder.svg"]


# Without the extra


def test_without_altair_the_error_names_what_to_install(curve, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingExtraError, match=r"'altair'.*pip install 'tiltz\[report\]'"):
        curve.plot()


@pytest.mark.parametrize("suffix", ["html", "svg", "png"])
def test_without_the_converter_the_error_names_what_to_install(curve, monkeypatch, tmp_path, suffix):
    chart = curve.plot()
    for name in [name for name in sys.modules if name.partition(".")[0] == "vl_convert"] or ["vl_convert"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"vl.convert.*pip install 'tiltz\[report\]'"):
        save_chart(chart, tmp_path / f"curve.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_specification_needs_no_converter(curve, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    save_chart(curve.plot(), tmp_path / "curve.json")
    assert [path.name for path in tmp_path.iterdir()] == ["curve.json"]
