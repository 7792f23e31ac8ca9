import pytest

from toolbox.core.times import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172_800),
     ("1:30:00", 5400), ("1-00:00:01", 86_401), (" 5s ", 5)],
)  # fmt: skip
def test_times_as_people_write_them(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "0s", "-5m", "1e3s", "m", "5 m", "1:30", "nan", "inf", "5m!", "1h-3m"]
)
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="expected a time above 0"):
        seconds_of(text)
