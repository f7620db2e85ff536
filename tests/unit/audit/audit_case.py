"""What the audit's unit tests share: an expression, and the rules that a change breaks."""

import ast

from self_coding.audit import audit


def expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def rules(before: dict[str, str], after: dict[str, str], *, strict: bool = False) -> list[str]:
    paths = sorted({*before, *after})
    sides = [{p: s[p].encode() if p in s else None for p in paths} for s in (before, after)]
    return [f.rule for f in audit(paths, before=sides[0], after=sides[1], strict=strict)]
