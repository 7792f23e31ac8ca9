import pytest
from pydantic import ValidationError

from toolbox.core.figure import FigureSpec, Reference


def test_a_spec_as_yaml_would_give_it():
    spec = FigureSpec.model_validate(
        {
            "title": "Worst case against T",
            "table": "gap",
            "x": "T",
            "y": "worst",
            "hue": "schedule",
            "logx": True,
            "logy": True,
            "order": ["constant", "silver"],
            "references": [{"slope": -1.27, "label": "paper"}, {"y": 0.5}],
            "ylim": [None, 1],
            "highlight": {"where": "T == 7", "label": "end"},
            "claim": "rate",
        }
    )
    assert spec.kind == "line"
    assert spec.measured == "worst"
    assert spec.columns == ("T", "worst", "schedule")
    assert FigureSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert hash(spec.references) == hash(spec.references)


def test_heatmap_measures_its_value():
    spec = FigureSpec(kind="heatmap", x="width", y="depth", value="accuracy", contours=(0.5,))
    assert spec.measured == "accuracy"
    assert spec.columns == ("width", "depth", "accuracy")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"huge": "a"}, "huge"),
        ({"kind": "pie"}, "heatmap"),
        ({"value": "z"}, "belongs to kind heatmap"),
        ({"vlim": (0, 1)}, "vlim belongs to kind heatmap"),
        ({"kind": "heatmap"}, "needs value"),
        ({"kind": "heatmap", "value": "z", "hue": "h"}, "takes no hue"),
        ({"kind": "heatmap", "value": "z", "logx": True}, "evenly"),
        ({"kind": "heatmap", "value": "z", "xlim": (0, 1)}, "choose them by where"),
        ({"where": "f(x) > 1"}, "may not hold"),
        ({"highlight": {"where": "x =", "label": "a"}}, "no expression"),
        ({"references": [{"label": "nothing"}]}, "exactly one"),
        ({"references": [{"slope": 1, "y": 2}]}, "exactly one"),
        ({"references": [{"y": 2, "through": (1, 1)}]}, "belongs to a slope"),
        ({"references": [{"slope": float("nan")}]}, "finite"),
        ({"references": [{"slope": 1, "through": (0, 1)}], "logx": True}, "non-positive"),
        ({"kind": "bar", "references": [{"slope": 1}]}, "with y only"),
        ({"kind": "bar", "logx": True}, "drop logx"),
        ({"ylim": (2, 1)}, "must rise"),
        ({"ylim": (0, 1), "logy": True}, "log axis"),
        ({"order": ["a", "b", "a"]}, "twice"),
        ({"x": ""}, "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    with pytest.raises(ValidationError, match=said):
        FigureSpec.model_validate({"x": "step", "y": "loss"} | change)


def test_specs_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Reference(y=1).y = 2
