from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("5s", timedelta(seconds=5)),
        ("10m", timedelta(minutes=10)),
        ("72h", timedelta(hours=72)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1.5s", timedelta(seconds=1.5)),
        ("2d", timedelta(days=2)),
        (" 5s ", timedelta(seconds=5)),
        ("0", timedelta()),
    ],
)
def test_duration_is_read_when_written_with_units(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "5", "5 minutes", "-5s", "m", "5s5", "1e3s", "∞", None, 7, "9" * 30 + "d"]
)
def test_sentence_shows_how_it_is_written_when_it_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.timedeltas(timedelta(), timedelta(days=999)).map(lambda d: d - d % timedelta(milliseconds=1)))
def test_duration_comes_back_when_written_and_read(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration
