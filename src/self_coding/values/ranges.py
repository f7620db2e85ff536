"""The least and the most of the numbers that bound the gate."""

from __future__ import annotations

from collections.abc import Mapping

from self_coding.errors import ConfigError
from self_coding.values.verdicts import GateSettings

_WEEK = 7 * 24 * 3600
_HUGE = 1 << 50  # more than any machine has, and a number that every limit of the kernel takes
#: The least and the most of each number of `gate`. The least is what Python and pytest need to
#: start: what is below it would refuse every change, or be rounded to no limit at all.
GATE_RANGES: Mapping[str, tuple[int, int]] = {
    "timeout": (1, _WEEK),
    "cpu_seconds": (1, _WEEK),
    "memory_bytes": (64 << 20, _HUGE),
    "processes": (1, 1 << 22),
    "file_bytes": (1 << 20, _HUGE),
    "output_bytes": (1 << 10, 1 << 30),
    "retries": (0, 100),
}
#: Those where 0 means: no limit.
MAY_BE_NONE = frozenset({"cpu_seconds", "memory_bytes", "processes", "file_bytes"})


def gate_range(name: str) -> str:
    """In words: which values a number of `gate` may have."""
    least, most = GATE_RANGES[name]
    return f"{'0 (no limit), or ' if name in MAY_BE_NONE else ''}{least} to {most}"


def check_gate(gate: GateSettings) -> None:
    """Refuse a number that no run could keep, or that would mean no limit; NaN is in no range.

    Raises:
        ConfigError: it names the setting and its range.
    """
    for name, (least, most) in GATE_RANGES.items():
        value = getattr(gate, name)
        if not (least <= value <= most or (value == 0 and name in MAY_BE_NONE)):
            raise ConfigError(
                f"self-coding setting gate.{name}: {value} is out of range",
                hint=f"it is {gate_range(name)}",
            )
