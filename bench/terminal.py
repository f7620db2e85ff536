#!/usr/bin/env python3
"""Record `self-coding demo` as a picture that plays: docs/demo.svg.

    python bench/terminal.py docs/demo.svg

A real run, line by line, each shown after as long as it really took, but no pause over `LONGEST`
seconds. Plain SVG text with one animation; nothing is fetched, no script.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from html import escape
from pathlib import Path

LONGEST, HIGH, WIDE, COLUMNS = 0.9, 17, 7.25, 108
SHOWN = re.compile(r"^(\d\.|\s+(->|tested|edited|failing|lesson|warning|shop/)|every|$)")
LOOKS = (("refused", "bad"), ("landed", "good"), ("every", "good"), ("warning", "wait"))


def record() -> list[tuple[float, str]]:
    """Return the lines of a real run, each with the seconds since the one before."""
    child = subprocess.Popen(
        [sys.executable, "-u", "-m", "self_coding", "demo"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert child.stdout
    lines, last = [], time.monotonic()
    for text in child.stdout:
        now = time.monotonic()
        if SHOWN.match(text.rstrip()):
            line = re.sub(r"/\S*self-coding-demo-\w+", "~", text.rstrip())
            lines.append((now - last, line[:COLUMNS] + "…" * (len(line) > COLUMNS)))
            last = now
    if child.wait():
        sys.exit("the demo went wrong")
    return lines


def draw(lines: list[tuple[float, str]]) -> str:
    """Return the picture."""
    at, rows = 0.6, []
    shown = [(0.0, "$ self-coding demo"), *lines]
    for number, (pause, text) in enumerate(shown):
        at += min(pause, LONGEST)
        word = text.strip().removeprefix("-> ")
        look = next((look for begin, look in LOOKS if word.startswith(begin)), "")
        look = look or ("head" if re.match(r"\d\.|\$", text) else "soft")
        y = 52 + number * HIGH
        rows.append(
            f'<text x="18" y="{y}" class="{look}" style="animation-delay:{at:.1f}s">'
            f"{escape(text)}</text>"
        )
    high, wide = 66 + len(shown) * HIGH, round(36 + COLUMNS * WIDE)
    style = (
        "text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre;"
        "opacity:0;animation:in .15s forwards}@keyframes in{to{opacity:1}}"
        "@media (prefers-reduced-motion:reduce){text{opacity:1;animation:none}}"
        ".head{fill:#e4e6e8;font-weight:600}.soft{fill:#a2a9b1}.good{fill:#6fcf8e}"
        ".bad{fill:#ff9388}.wait{fill:#e9b558}"
    )
    dots = "".join(f'<circle cx="{20 + n * 18}" cy="19" r="5" fill="#2d3137"/>' for n in range(3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" '
        f'aria-label="self-coding demo in a terminal"><style>{style}</style>'
        f'<rect width="{wide}" height="{high}" rx="9" fill="#15171a"/>{dots}\n'
        + "\n".join(rows)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Path(sys.argv[1]).write_text(draw(record()), encoding="utf-8")
