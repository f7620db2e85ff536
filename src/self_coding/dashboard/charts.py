"""Success over time as numbers that an SVG is drawn from: few bins, each with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from self_coding.modification_journal.attempts import wilson
from self_coding.values.attempts import Rate

BINS = 40  # at most, so that each can be told from its neighbours
_WIDTHS = ((1, "day"), (7, "week"), (30, "30 days"), (91, "quarter"), (365, "year"))
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 208  # of the drawing, in its own units
WIDE, HIGH = 900, 250
_COUNTS = 36  # the height of the columns below that count attempts


@dataclass(frozen=True)
class Bin:
    """One bin of the drawing: what it counts, and where its marks are."""

    start: date
    end: date
    rate: Rate
    x: float
    width: float
    y: float
    low: float
    high: float
    column: float

    @property
    def label(self) -> str:
        """The dates, for people."""
        last = self.end - timedelta(days=1)
        return f"{self.start:%d %b %Y}" + (f" to {last:%d %b}" if last > self.start else "")


@dataclass(frozen=True)
class Chart:
    """A drawing of success over time; `step` says how long a bin is."""

    bins: tuple[Bin, ...]
    step: str
    ticks: tuple[tuple[float, str], ...]


def over_time(daily: Iterable[tuple[int, str, int]]) -> Chart:
    """Return the chart of (day since 1970, outcome, attempts)."""
    counted = [(date(1970, 1, 1) + timedelta(days=day), how, n) for day, how, n in daily]
    if not counted:
        return Chart((), "", ())
    first, last = counted[0][0], counted[-1][0]
    days = (last - first).days + 1
    width, step = next((one for one in _WIDTHS if days / one[0] <= BINS), _WIDTHS[-1])
    count = -(-days // width)
    totals, good = Counter[int](), Counter[int]()
    for day, how, number in counted:
        at = (day - first).days // width
        totals[at] += number
        good[at] += number * (how == "success")
    room = (WIDE - LEFT - RIGHT) / max(count, 8)
    start_x = LEFT + (WIDE - LEFT - RIGHT - count * room) / 2  # few stand in the middle
    most = max(totals.values())
    bins = []
    for at in range(count):
        rate = wilson(good[at], totals[at])
        if not rate.total:
            continue
        start = first + timedelta(days=at * width)
        bins.append(
            Bin(
                start=start,
                end=start + timedelta(days=width),
                rate=rate,
                x=round(start_x + (at + 0.5) * room, 1),
                width=round(min(room * 0.6, 28), 1),
                y=height(rate.rate),
                low=height(rate.low),
                high=height(rate.high),
                column=round(_COUNTS * rate.total / most, 1),
            )
        )
    apart = max(1, len(bins) // 6)
    form = "%d %b" if width < 30 else "%b %Y"  # of longer times the day says nothing
    ticks = tuple((one.x, f"{one.start:{form}}") for one in bins[::apart])
    return Chart(tuple(bins), step, ticks)


def height(share: float) -> float:
    """Return where a share of one is drawn."""
    return round(BOTTOM - _COUNTS - (BOTTOM - _COUNTS - TOP) * share, 1)
