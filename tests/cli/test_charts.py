from __future__ import annotations

import pytest

from hatchway.cli.charts import bar, chart, format_ms, format_rate, mean, round_up, sparkline, squeeze


def test_a_line_reaches_its_top_at_the_highest_value() -> None:
    assert sparkline([0, 1, 2, 4, 8], 5) == "▁▁▂▄█"


def test_a_line_keeps_to_the_right_and_leaves_out_what_is_not_known() -> None:
    assert sparkline([None, 1, None, 1], 6) == "   █ █"
    assert sparkline([], 3) == "   "
    assert sparkline([0, 0], 2) == "▁▁"


def test_many_values_share_a_column() -> None:
    assert squeeze([1, 3, 5, 7], 2, mean) == [2, 6]
    assert squeeze([1, None, None, None, 2, 4], 3, max) == [1, None, 4]
    assert len(squeeze([1.0] * 450, 62, mean)) == 62
    assert squeeze([1, 2], 5, mean) == [1, 2]


def test_a_chart_has_a_scale_that_is_easy_to_read() -> None:
    assert chart([0, 5, 10], 6, 2, mean, lambda value: f"{value:g}") == [
        "10│  █",
        " 0│ ██",
    ]


def test_bars_are_drawn_to_an_eighth_of_a_character() -> None:
    top, bottom = chart([1, 9, 16], 6, 2, mean, lambda value: f"{value:g}")
    assert round_up(16) == 20
    assert top == "20│  ▅"
    assert bottom == " 0│▁██"


def test_nothing_known_is_an_empty_chart() -> None:
    assert chart([], 10, 2, mean, format_rate) == ["1│        ", "0│        "]
    assert chart([None, None], 10, 2, mean, format_rate) == ["1│        ", "0│        "]


@pytest.mark.parametrize(
    ("value", "scale"),
    [(0, 1), (0.3, 0.3), (1, 1), (1.1, 2), (2, 2), (7, 8), (9, 10), (49.5, 60), (100, 100), (101, 200)],
)
def test_scales_are_round(value: float, scale: float) -> None:
    assert round_up(value) == pytest.approx(scale)


def test_how_far_something_is() -> None:
    assert [bar(share, 4) for share in (0, 0.5, 1, 7, -1)] == ["░░░░", "██░░", "████", "████", "░░░░"]


def test_figures_have_three_digits_at_most() -> None:
    assert [format_rate(rate) for rate in (0, 0.051, 3.14159, 120.4, 4200)] == ["0", "0.051", "3.1", "120", "4.2k"]
    assert [format_ms(ms) for ms in (0.44, 12.3, 3200)] == ["0.44 ms", "12 ms", "3.2 s"]
