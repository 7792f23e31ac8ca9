import pytest

from toolbox.core.suggest import did_you_mean


@pytest.mark.parametrize(
    ("name", "said"),
    [("axis", "; did you mean 'axes'?"), ("AXES", "; did you mean 'axes'?"), ("zzz", "")],
)
def test_the_nearest_name_is_offered_whatever_its_capitals(name, said):
    assert did_you_mean(name, ["axes", "fixed", "seed"]) == said


def test_nothing_is_offered_of_nothing():
    assert did_you_mean("axes", []) == ""
