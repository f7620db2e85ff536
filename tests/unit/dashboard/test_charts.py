"""Success over time: few bins, each where its numbers say."""

from __future__ import annotations

from self_coding.dashboard.charts import BINS, BOTTOM, TOP, height, over_time


def test_days_become_few_bins() -> None:
    """Years of days are drawn as quarters, three days as days; empty bins are left out."""
    daily = [(20_000 + day, how, 2) for day in range(900) for how in ("failure", "success")]
    long = over_time(daily)
    assert len(long.bins) <= BINS
    assert long.step == "30 days"
    assert {one.rate.rate for one in long.bins} == {0.5}
    short = over_time([(20_000, "success", 3), (20_002, "rollback", 1)])
    assert short.step == "day"
    assert [(one.rate.successes, one.rate.total) for one in short.bins] == [(3, 3), (0, 1)]
    assert short.bins[0].label == "04 Oct 2024"


def test_marks_are_inside_of_the_drawing() -> None:
    """All is drawn above nothing, and more is higher."""
    (one,) = over_time([(20_000, "success", 1)]).bins
    assert TOP <= one.high <= one.y <= one.low <= BOTTOM
    assert height(1.0) < height(0.5) < height(0.0)
    assert over_time([]).bins == ()
