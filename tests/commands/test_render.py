import itertools
import json
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from toolbox.commands.render import render, save, terminal
from toolbox.commands.render.guides import slope_line
from toolbox.commands.render.panels import arrange
from toolbox.commands.render.style import DASHES, MARKERS, assign_slots, key_of, slot
from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.figure import FigureSpec


def curves(seeds=5, steps=20, hues=("adam", "sgd"), **more):
    rng = np.random.default_rng(0)
    rows = [
        {"optimizer": hue, "seed": seed, "step": step, "loss": 1 / (1 + step) + 0.1 * rng.random()}
        for hue, seed, step in itertools.product(hues, range(seeds), range(steps))
    ]
    return pd.DataFrame(rows).assign(**more)


LINE = {"x": "step", "y": "loss", "hue": "optimizer"}


def plot(frame, columns=None, **spec):
    return arrange(frame, FigureSpec(**spec), columns or {})


def has(notes, *words):
    return any(all(word in note for word in words) for note in notes)


# -- what a log axis cannot show -----------------------------------------------------------------


def test_non_positive_values_are_masked_and_counted():
    frame = curves(seeds=1)
    frame.loc[[3, 5, 30], "loss"] = [0.0, -1.0, 0.0]
    result = plot(frame, **LINE, logy=True)
    assert "masked 3 non-positive values of 'loss' on the log axis" in result.notes
    assert sum(np.isnan(c.line[1]).sum() for c in result.panels[0].curves) == 3
    assert has(plot(frame, **LINE, logx=True).notes, "masked 2 non-positive values of 'step'")
    assert plot(frame, **LINE).notes == []


def test_a_zero_counts_in_the_mean_of_replicates():
    frame = curves(seeds=3, hues=("adam",))
    frame.loc[(frame.seed == 0) & (frame.step == 4), "loss"] = 0.0
    frame.loc[frame.step == 6, "loss"] = 0.0
    result = plot(frame, **LINE, logy=True)
    assert has(result.notes, "4 non-positive values", "kept in the mean", "masked 1 non-positive")
    y = result.panels[0].curves[0].line[1]
    assert y[4] == pytest.approx(frame[frame.step == 4].loss.mean())
    assert np.isnan(y[6])


def test_missing_and_infinite_values_are_counted():
    frame = curves(seeds=1)
    frame.loc[[2, 3], "loss"] = np.nan
    frame.loc[7, "loss"] = np.inf
    frame.loc[9, "optimizer"] = None
    notes = plot(frame, **LINE).notes
    assert has(notes, "2 missing values of 'loss'")
    assert has(notes, "1 infinite value of 'loss'")
    assert has(notes, "1 row without")


# -- looks ---------------------------------------------------------------------------------------


def colours(figure):
    legend = figure.legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    return dict(zip(names, [h.get_color() for h in legend.legend_handles], strict=True))


def test_an_ordered_label_keeps_its_colour_when_others_are_absent():
    order = ["lion", "sgd", "adam"]
    everything, _ = render(curves(hues=("adam", "lion", "sgd")), FigureSpec(**LINE, order=order))
    fewer, _ = render(curves(hues=("sgd", "adam")), FigureSpec(**LINE, order=order))
    assert list(colours(everything)) == order
    assert colours(fewer).items() <= colours(everything).items()


def test_a_filter_never_repaints():
    frame = curves(hues=("a", "b", "c", "d", "e", "f"), seeds=1)
    everything = plot(frame, **LINE).hues
    assert plot(frame, **LINE, where="optimizer in ['b', 'e']").hues.items() <= everything.items()


@given(st.sets(st.text(min_size=1, max_size=6), max_size=20))
def test_slots_differ_and_prefer_the_eight_colours(labels):
    slots = assign_slots(labels, [])
    assert len(set(slots.values())) == len(labels)
    if len(labels) <= 8:
        assert max(slots.values(), default=0) < 8


def test_looks_differ_without_colour():
    looks = [slot(index) for index in range(8)]
    assert len({look.colour for look in looks}) == 8
    assert len({look.marker for look in looks}) == len(MARKERS)
    for a, b in itertools.pairwise(looks):
        assert a.dash != b.dash
    assert len({(look.dash, look.marker) for look in map(slot, range(16))}) == 16
    assert len(DASHES) == 4


def test_numeric_labels_sort_by_value_and_meet_the_order_of_a_yaml_file():
    frame = curves(hues=(100.0, 9.0, 0.1), seeds=1)
    assert list(plot(frame, **LINE).hues) == ["0.1", "9", "100"]
    assert list(plot(frame, **LINE, order=[100, 9]).hues) == ["100", "9", "0.1"]
    assert key_of(10) == key_of(10.0) == key_of(np.float32(10)) == key_of("10")
    assert key_of(True) == key_of(np.bool_(True)) == "True"


def test_many_numeric_labels_take_a_colour_scale():
    result = plot(curves(hues=tuple(range(15)), seeds=1, steps=3), **LINE)
    assert result.continuous
    assert has(result.notes, "15 labels", "continuous")
    figure, _ = render(curves(hues=tuple(range(15)), seeds=1, steps=3), FigureSpec(**LINE))
    assert len(figure.axes) == 2
    names = tuple("abcdefghijklm")
    assert has(plot(curves(hues=names, seeds=1, steps=3), **LINE).notes, "13 labels", "repeat")


def test_axes_carry_meaning_and_unit():
    columns = {
        "step": {"meaning": "stopping time T", "unit": "steps"},
        "loss": {"meaning": "gap", "unit": "1"},
    }
    axes = render(curves(), FigureSpec(**LINE), columns)[0].axes[0]
    assert axes.get_xlabel() == "stopping time T [steps]"
    assert axes.get_ylabel() == "gap"
    axes = render(curves(), FigureSpec(**LINE, ylabel="loss L"), columns)[0].axes[0]
    assert axes.get_ylabel() == "loss L"


def test_rendering_leaves_the_users_style_alone():
    before = dict(matplotlib.rcParams)
    render(curves(), FigureSpec(**LINE))
    assert dict(matplotlib.rcParams) == before


# -- guides, facets, heat maps, bars -------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.floats(-3, 3), st.booleans(), st.booleans())
def test_a_slope_guide_has_its_slope_on_the_axes_as_drawn(slope, logx, logy):
    x = np.array([1.0, 7.0, 50.0])
    y = slope_line(slope, (7.0, 3.0), x, logx, logy)
    u, v = (np.log10(x) if logx else x), (np.log10(y) if logy else y)
    if np.isfinite(v).all():
        assert np.diff(v) / np.diff(u) == pytest.approx(slope, abs=1e-6)
    assert y[1] == pytest.approx(3.0)


def test_the_drawn_guide_passes_the_end_of_the_lowest_curve():
    frame = pd.DataFrame({"T": [1, 10, 100, 1, 10, 100], "m": list("aaabbb")})
    frame["gap"] = [1, 0.1, 0.01, 3, 2, 1]
    spec = {"x": "T", "y": "gap", "hue": "m", "logx": True, "logy": True}
    plain = render(frame, FigureSpec(**spec))[0].axes[0]
    axes = render(frame, FigureSpec(**spec, references=[{"slope": -2, "label": "p"}]))[0].axes[0]
    (guide,) = [line for line in axes.lines if line.get_gid() == "slope guide"]
    u, v = np.log10(guide.get_xdata()), np.log10(guide.get_ydata())
    assert (v[1] - v[0]) / (u[1] - u[0]) == pytest.approx(-2)
    assert v[0] - 2 * (2 - u[0]) == pytest.approx(-2)  # (T, gap) = (100, 0.01)
    assert axes.get_ylim() == plain.get_ylim()  # a guide must not squeeze the data
    assert "p" in [text.get_text() for text in axes.texts]


def test_levels_are_inside_the_view():
    spec = FigureSpec(**LINE, references=[{"y": 5, "label": "chance"}, {"x": 40}])
    axes = render(curves(), spec)[0].axes[0]
    assert axes.get_ylim()[1] > 5
    assert axes.get_xlim()[1] > 40


def test_facets_share_axes_and_hold_their_rows():
    frame = pd.concat([curves(seeds=1, task=t, loss=float(t)) for t in (10, 2, 1)])
    figure, _ = render(frame, FigureSpec(**LINE, col="task", title="All"))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["task = 1", "task = 2", "task = 10"]
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert [set(ax.lines[0].get_ydata()) for ax in figure.axes] == [{1.0}, {2.0}, {10.0}]
    wrapped = plot(pd.concat([curves(steps=2, task=t) for t in range(6)]), **LINE, col="task")
    assert wrapped.shape == (2, 3)
    one_row = plot(
        pd.concat([curves(2, task=t, lr=1) for t in range(6)]), **LINE, row="lr", col="task"
    )
    assert one_row.shape == (2, 3)


def test_highlighted_rows_get_a_marker():
    spec = FigureSpec(**LINE, highlight={"where": "step == 7", "label": "escape"})
    frame = curves(seeds=5)
    result = arrange(frame, spec, {})
    marked = np.concatenate([np.stack([x, y], 1) for _, x, y in result.panels[0].marks])
    wanted = frame[frame.step == 7][["step", "loss"]].to_numpy()
    np.testing.assert_array_equal(np.sort(marked, axis=0), np.sort(wanted, axis=0))
    figure, _ = render(frame, spec)
    assert "escape" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("step", [7, 1000])
def test_a_caveat_is_in_the_title_where_a_drawn_row_calls_for_it(step):
    caveat = {"where": f"step == {step}", "label": "a stand-in"}
    figure, _ = render(curves(seeds=2), FigureSpec(**LINE, title="All", caveat=caveat))
    assert (step == 7) == ("All (a stand-in)" in figure.axes[0].get_title(loc="left"))


@pytest.mark.parametrize("kind", ["mean", "median"])
def test_heat_map_cells_are_statistics_over_replicates(kind):
    rng = np.random.default_rng(1)
    rows = itertools.product((2, 16, 4), ("b", "a"), range(4))
    frame = pd.DataFrame(rows, columns=["width", "arch", "seed"]).assign(acc=rng.random(24))
    frame = frame[~((frame.width == 4) & (frame.arch == "b"))]
    spec = FigureSpec(kind="heatmap", x="width", y="arch", value="acc", estimate=kind)
    result = arrange(frame, spec, {})
    cells = result.panels[0].cells
    assert (cells.xs, cells.ys) == (["2", "4", "16"], ["a", "b"])
    for (i, arch), (j, width) in itertools.product(enumerate("ab"), enumerate((2, 4, 16))):
        part = frame[(frame.arch == arch) & (frame.width == width)].acc
        np.testing.assert_allclose(cells.values[i, j], getattr(part, kind)())
    assert has(result.notes, "1 empty cell")
    axes = render(frame, spec)[0].axes[0]
    mesh = axes.collections[0].get_array()
    np.testing.assert_allclose(np.ma.filled(mesh, np.nan).ravel(), cells.values.ravel())
    assert len(axes.texts) == 5


def test_thousands_in_a_heat_map_are_written_out():
    frame = pd.DataFrame({"step": [1, 2], "optimizer": "a", "loss": [1447.6, 61.04], "seed": 0})
    axes = render(frame, FigureSpec(**HEAT))[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["1448", "61"]
    shown = terminal(frame, FigureSpec(**HEAT))
    assert "1448" in str(shown)
    assert "61" in str(shown)


def test_bars_carry_confidence_intervals():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(itertools.product("ab", range(4)), columns=["task", "seed"])
    frame["acc"] = 2 + rng.random(8)
    axes = render(frame, FigureSpec(kind="bar", x="task", y="acc"))[0].axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(
        frame.groupby("task").acc.mean().tolist()
    )
    (bars,) = axes.collections
    for (_, part), segment in zip(frame.groupby("task"), bars.get_segments(), strict=True):
        wanted = stats.t.interval(0.95, 3, part.acc.mean(), stats.sem(part.acc))
        assert segment[:, 1] == pytest.approx(wanted)
    assert axes.get_ylim()[0] == 0


def test_without_a_hue_the_order_is_that_of_the_bars():
    frame = pd.DataFrame({"model": ["a", "b", "c", "d"], "loss": [1.0, 2.0, 3.0, 4.0]})
    spec = FigureSpec(kind="bar", x="model", y="loss", order=("c", "a"))
    axes = render(frame, spec)[0].axes[0]
    assert [bar.get_height() for bar in axes.patches] == [3, 1, 2, 4]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["c", "a", "b", "d"]


@pytest.mark.parametrize("kind", ["line", "scatter", "step", "bar"])
@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_every_kind_draws(kind, seeds, tmp_path):
    frame = curves(seeds=seeds, steps=4, hues=("a", "b"), half="left")
    frame.loc[frame.step > 1, "half"] = "right"
    spec = FigureSpec(**LINE, kind=kind, style="half", row="half", logy=True, title="All")
    figure, _ = render(frame, spec)
    assert len(save(figure, tmp_path / "new" / "f", ["svg"])) == 1
    assert "All" in terminal(frame, spec)[0]


# -- size ------------------------------------------------------------------------------------------


def test_a_large_table_makes_a_small_picture(tmp_path):
    step = np.arange(50_000)
    frame = pd.concat(
        pd.DataFrame({"step": step, "optimizer": name, "loss": 1 / (1 + step)}) for name in "abcde"
    )
    figure, _ = render(frame, FigureSpec(**LINE, logy=True))
    (svg,) = save(figure, tmp_path / "big", ["svg"])
    assert svg.stat().st_size < 2_000_000


# -- files ---------------------------------------------------------------------------------------


def test_files_are_deterministic_and_know_their_runs(tmp_path):
    facts = {"title": "Loss", "runs": ["0123456789ab", "ba9876543210"], "caption": "µ ≤ 1"}
    for name in ("one", "two"):
        figure, _ = render(curves(), FigureSpec(**LINE, logy=True, title="Loss"))
        paths = save(figure, tmp_path / f"T=0.5-{name}", ["png", "svg", "pdf"], facts)
        assert [path.name for path in paths] == [f"T=0.5-{name}.{e}" for e in ("png", "svg", "pdf")]
    for suffix in ("png", "svg", "pdf"):
        first = (tmp_path / f"T=0.5-one.{suffix}").read_bytes()
        assert first == (tmp_path / f"T=0.5-two.{suffix}").read_bytes()
        assert b"0123456789ab" in first
    svg = (tmp_path / "T=0.5-one.svg").read_text()
    assert not re.search(r"<dc:date>|20\d\d-\d\d-\d\d", svg)
    facts_back = re.search(r"<dc:description>(.*?)</dc:description>", svg, re.S)[1]
    assert json.loads(facts_back.replace("&quot;", '"'))["runs"] == facts["runs"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_failed_save_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    figure, _ = render(curves(seeds=1), FigureSpec(**LINE))
    (path,) = save(figure, tmp_path / "f", ["png"])
    old = path.read_bytes()

    def full(handle, **_):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(ToolboxError, match="No space left"):
        save(figure, tmp_path / "f", ["png"])
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="gif"):
        save(figure, tmp_path / "f", ["gif"])


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y": "los"}, "did you mean 'loss'"),
        ({"y": "optimizer"}, "must hold numbers"),
        ({"where": "step > 99"}, "No row is left"),
        ({"where": "stepp > 99"}, "did you mean 'step'"),
        ({"x": "optimizer", "hue": None, "logx": True}, "holds text, which a log axis"),
        ({"col": "step", "hue": None}, "50 panels"),
    ],
)
def test_refusals_say_what_is_wrong(change, said):
    with pytest.raises(UsageError, match=said):
        render(curves(seeds=1, steps=50), FigureSpec(**(LINE | change)))


def test_an_empty_or_all_missing_table_is_refused():
    with pytest.raises(UsageError, match="no rows"):
        render(curves().head(0), FigureSpec(**LINE))
    with pytest.raises(UsageError, match="no finite value"):
        render(curves(loss=np.nan), FigureSpec(**LINE))


# -- terminal ------------------------------------------------------------------------------------

HEAT = {"kind": "heatmap", "x": "step", "y": "optimizer", "value": "loss"}


@pytest.mark.parametrize(
    "spec",
    [
        LINE | {"logx": True, "logy": True, "references": [{"y": 0.1, "label": "l"}]},
        LINE | {"kind": "scatter"},
        LINE | {"kind": "step", "highlight": {"where": "step == 3", "label": "escape"}},
        LINE | {"kind": "bar"},
        HEAT,
    ],
    ids=["line", "scatter", "step", "bar", "heatmap"],
)
def test_terminal_has_escapes_only_when_colour_is_asked_for(spec):
    frame = curves(seeds=3, steps=8)
    plain, notes = terminal(frame, FigureSpec(**spec), width=70, height=18)
    assert "\x1b" not in plain
    assert "sgd" in plain
    assert max(map(len, plain.splitlines())) <= 70
    assert notes == render(frame, FigureSpec(**spec))[1]
    coloured, _ = terminal(frame, FigureSpec(**spec), width=70, height=18, colour=True)
    assert "\x1b[" in coloured


def test_terminal_is_the_same_twice_and_shows_heat_map_values():
    frame = curves(seeds=1, steps=3, hues=("adam",))
    assert terminal(frame, FigureSpec(**LINE)) == terminal(frame, FigureSpec(**LINE))
    text, _ = terminal(frame, FigureSpec(**HEAT))
    for value in frame.loss:
        assert f"{value:.3g}" in text


def test_terminal_leaves_a_gap_where_a_value_is_masked():
    frame = curves(seeds=1, steps=11, hues=("adam",), loss=1.0)
    frame.loc[frame.step == 5, "loss"] = 0.0
    text, _ = terminal(frame, FigureSpec(x="step", y="loss", logy=True), width=70)
    rows = [re.split("[│┤]", row)[1] for row in text.splitlines() if row.endswith("│")]
    (line,) = [row.strip() for row in rows if row.strip()]
    assert line.count(" ") == pytest.approx(2 * len(line) / 10, abs=4)  # steps 4 to 6 of 0 to 10


def test_formulas_are_plain_characters_in_the_terminal():
    from toolbox.commands.render.words import plain

    assert plain(r"about $\kappa^{0.89}$ steps") == "about κ^0.89 steps"
    assert (
        plain(r"$|x - x^*|^2 \leq \epsilon\, |x_0|^2$, $T^{-1}$") == "|x - x^*|^2 ≤ ε |x_0|^2, T^-1"
    )
    assert plain("costs 3$ a day") == "costs 3$ a day"


# -- legends, ticks and colours -------------------------------------------------------------------


def drawn_figure(frame, columns=None, **spec):
    return render(frame, FigureSpec(**spec), columns or {})[0]


def handles(figure):
    """Text -> the handles beside it, of the legend."""
    (legend,) = figure.legends
    return dict(zip((t.get_text() for t in legend.get_texts()), legend.legend_handles, strict=True))


def test_a_legend_shows_no_look_that_stands_in_no_panel():
    frame = pd.concat([curves(seeds=1, rule=rule) for rule in ("theory", "measured")])
    frame = frame[(frame.optimizer == "adam") | (frame.rule == "measured")]
    figure = drawn_figure(frame, **LINE, style="rule")
    lines = {(line.get_color(), line.get_linestyle(), line.get_marker())
             for line in figure.axes[0].lines}  # fmt: skip
    (legend,) = figure.legends
    shown = [h for h in legend.findobj(matplotlib.lines.Line2D) if h.get_linestyle() != "None"]
    coloured = {(h.get_color(), h.get_linestyle(), h.get_marker()) for h in shown}
    grey = {look for look in coloured if look[0] == "#666666"}
    assert coloured - grey == lines  # a hue shows each of its styles, and only those
    assert {look[1:] for look in grey} == {look[1:] for look in lines}


def test_a_spiky_line_looks_in_the_legend_as_it_is_drawn():
    frame = curves(seeds=1, steps=500)
    figure = drawn_figure(frame, **LINE)
    assert {h.get_linestyle() for h in handles(figure).values()} == {"-"}
    assert {line.get_linestyle() for line in figure.axes[0].lines} == {"-"}


def test_numbers_as_labels_are_coloured_in_their_order():
    frame = pd.concat([curves(seeds=1, hues=("adam",), lr=lr) for lr in (1.0, 0.1, 0.001, 0.01)])
    figure = drawn_figure(frame, x="step", y="loss", hue="lr")
    found = handles(figure)
    assert list(found) == ["0.001", "0.01", "0.1", "1"]
    grey = [np.dot(matplotlib.colors.to_rgb(h.get_color()), (0.3, 0.59, 0.11))
            for h in found.values()]  # fmt: skip
    assert grey == sorted(grey)


def test_text_labels_count_as_people_count():
    frame = curves(seeds=1, hues=[f"run_{at}" for at in (10, 2, 1, 33)])
    assert list(plot(frame, **LINE).hues) == ["run_1", "run_2", "run_10", "run_33"]


@pytest.mark.parametrize(
    ("low", "high"), [(2e-3, 9e-3), (0.3, 0.95), (1.1, 1.9), (40, 4100), (1e-9, 2.0), (0.99, 1.01)]
)
def test_log_ticks_span_the_data(low, high):
    frame = pd.DataFrame({"x": np.linspace(1, 2, 50), "y": np.geomspace(low, high, 50)})
    axes = drawn_figure(frame, x="x", y="y", logy=True).axes[0]
    axes.figure.draw_without_rendering()
    bottom, top = axes.get_ylim()
    shown = [
        place
        for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        if bottom <= place <= top and label.get_text()
    ]
    assert len(shown) >= 3
    assert np.log(shown[-1] / shown[0]) >= 0.5 * np.log(top / bottom)


def test_a_signed_heat_map_is_white_at_zero():
    rows = [{"i": i, "j": j, "v": i - 2 * j} for i in range(3) for j in range(3)]
    figure = drawn_figure(pd.DataFrame(rows), kind="heatmap", x="i", y="j", value="v")
    mesh = figure.axes[0].collections[0]
    assert mesh.get_cmap().name == "RdBu_r"
    assert (mesh.norm.vmin, mesh.norm.vmax) == (-4, 4)
    figure = drawn_figure(
        pd.DataFrame(rows).assign(v=range(9)), kind="heatmap", x="i", y="j", value="v"
    )
    assert figure.axes[0].collections[0].get_cmap().name == "viridis"


def test_a_heading_says_what_tells_panels_apart():
    frame = pd.concat([curves(seeds=1, d=d, lr=0.1) for d in (4, 8)])
    columns = {"d": {"meaning": "dimension", "unit": ""}}
    figure = drawn_figure(frame, columns, **LINE, col="d", row="lr")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["dimension = 4", "dimension = 8"]


def test_a_label_of_a_guide_lies_on_no_curve():
    frame = curves(seeds=3)
    figure = drawn_figure(frame, **LINE, references=({"y": 0.5, "label": "a level of a half"},))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (label,) = [text for text in axes.texts if text.get_gid() == "guide label"]
    box = label.get_window_extent()
    for line in axes.lines:
        x, y = line.get_transform().transform(line.get_xydata()).T
        steps = np.linspace(0, len(x) - 1, 2000)
        at = np.stack([np.interp(steps, range(len(x)), axis) for axis in (x, y)], axis=-1)
        inside = (at > (box.x0 + 1, box.y0 + 3)) & (at < (box.x1 - 1, box.y1 - 3))
        assert not inside.all(axis=1).any()


def test_equal_bars_and_single_points_have_intervals():
    frame = pd.DataFrame({"x": ["a"] * 3, "seed": range(3), "y": [0.1 + 0.2, 0.3, 0.3]})
    assert drawn_figure(frame, kind="bar", x="x", y="y").axes[0].patches
    frame = pd.DataFrame({"x": [1] * 3, "seed": range(3), "y": [0.1, 0.2, 0.4]})
    axes = drawn_figure(frame, x="x", y="y").axes[0]
    assert axes.containers  # an error bar, as a band around one point has no width


def test_a_terminal_tells_curves_apart_in_ascii():
    text, _ = terminal(curves(seeds=1), FigureSpec(**LINE), braille=False)
    body = "\n".join(line for line in text.splitlines() if "│" in line or "|" in line)
    assert "o" in body
    assert "x" in body
    assert re.search("o adam +x sgd", text)


def test_a_whole_guide_spans_the_panel():
    frame = pd.DataFrame({"x": [1.0, 100.0], "y": [1.0, 100.0]})
    spec = FigureSpec(x="x", y="y", kind="scatter", logx=True, logy=True,
                      references=({"slope": 1, "through": [10, 10], "whole": True},))  # fmt: skip
    axes = render(frame, spec)[0].axes[0]
    (line,) = [line for line in axes.lines if line.get_gid() == "slope guide"]
    x, y = line.get_data()
    np.testing.assert_allclose(x, y)
    assert (x[0], x[-1]) == pytest.approx(axes.get_xlim(), rel=0.02)


def test_bars_of_a_category_stand_around_its_middle():
    frame = pd.DataFrame({"x": ["a", "a", "b", "c"], "h": ["p", "q", "p", "q"], "y": [1, 2, 3, 4]})
    axes = drawn_figure(frame, kind="bar", x="x", y="y", hue="h").axes[0]
    middles = {bar.get_height(): bar.get_x() + bar.get_width() / 2 for bar in axes.patches}
    assert middles[3] == pytest.approx(1)
    assert middles[4] == pytest.approx(2)
    assert middles[1] == pytest.approx(-middles[2])


def test_numbers_of_a_heat_map_in_the_terminal_never_touch():
    rows = [{"i": i, "j": j, "v": -1.03e-5 * (i + 1) * (j + 1)} for i in range(3) for j in range(3)]
    text, _ = terminal(pd.DataFrame(rows), FigureSpec(kind="heatmap", x="i", y="j", value="v"))
    grid = [line.partition("│")[2].split() for line in text.splitlines() if "│" in line]
    assert [len(row) for row in grid] == [3, 3, 3]


def test_a_guide_without_room_for_its_label_is_named_in_the_legend():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.random(40_000), "y": rng.random(40_000)})
    figure = drawn_figure(frame, kind="scatter", x="x", y="y",
                          references=({"y": 0.5, "label": "half"},))  # fmt: skip
    assert list(handles(figure)) == ["half"]
    assert not figure.axes[0].texts


def test_whole_numbers_on_x_have_whole_ticks():
    frame = pd.DataFrame({"x": [0, 1, 2], "y": [1.0, 2.0, 3.0]})
    ticks = drawn_figure(frame, x="x", y="y").axes[0].get_xticks()
    assert set(ticks) >= {0, 1, 2}
    assert all(tick == round(tick) for tick in ticks)
    ticks = drawn_figure(frame.assign(x=frame.x / 2), x="x", y="y").axes[0].get_xticks()
    assert any(tick != round(tick) for tick in ticks)


def test_cells_that_are_all_zero_show_a_zero():
    frame = pd.DataFrame({"k": [1, 2], "task": ["a", "a"], "share": [0.0, 0.0]})
    figure, _ = render(frame, FigureSpec(kind="heatmap", x="k", y="task", value="share"))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0", "0"]
