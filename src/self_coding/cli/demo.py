"""The story that `self-coding demo` plays on a small repository that it makes.

A change that breaks a distant module is refused and explained, the same change with the test that
saw it weakened is refused as well, a good one lands, and a second try at the first mistake is
warned of. It needs nothing but Python and git, and touches nothing outside its temporary folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters import git
from self_coding.app import App, open_app
from self_coding.self_edit.editors import CallableEditor
from self_coding.testing import sample_repo, write_files
from self_coding.values.edits import Progress, SelfEditResult

Say = Callable[[str], None]

_TESTS = "python -m unittest discover -s tests -t ."
_FILE, _FAR_TEST = "shop/money.py", "tests/test_invoice.py"
_SHOP: Mapping[str, str] = {
    "shop/__init__.py": "",
    _FILE: '"""Prices."""\n\n\ndef cents(text):\n    """The cents of a price: "2.50" is 250."""\n'
    "    return round(float(text) * 100)\n",
    "shop/cart.py": '"""Carts."""\n\nfrom shop.money import cents\n\n\ndef total(prices):\n'
    "    return sum(cents(one) for one in prices)\n",
    "shop/invoice.py": '"""Invoices."""\n\nfrom shop.cart import total\n\n\ndef line(prices):\n'
    '    amount = total(prices)\n    return f"to pay: {amount // 100}.{amount % 100:02}"\n',
    "tests/__init__.py": "",
    "tests/test_money.py": "import unittest\n\nfrom shop.money import cents\n\n\n"
    "class Money(unittest.TestCase):\n    def test_cents(self):\n"
    '        self.assertEqual(cents("2.50"), 250)\n',
    _FAR_TEST: "import unittest\n\nfrom shop.invoice import line\n\n\n"
    "class Invoice(unittest.TestCase):\n    def test_line(self):\n"
    '        self.assertEqual(line(["19.99", "0.01"]), "to pay: 20.00")\n',
}
_BREAKING_TASK = "Make cents() faster: drop the rounding"
_BROKEN = {_FILE: _SHOP[_FILE].replace("round(float(text) * 100)", "int(float(text) * 100)")}
_WEAK = _SHOP[_FAR_TEST].replace("assertEqual(", "assertTrue(").replace(', "to pay: 20.00"', "")
_BENT = {**_BROKEN, _FAR_TEST: _WEAK}
_GOOD_TASK = "Add sell(), which takes cents off a stock of prices"
_GOOD = {
    "shop/sale.py": '"""Sales."""\n\nfrom shop.money import cents\n\n\ndef sell(price, off):\n'
    "    return cents(price) - cents(off)\n",
    "tests/test_sale.py": "import unittest\n\nfrom shop.sale import sell\n\n\n"
    "class Sale(unittest.TestCase):\n    def test_sell(self):\n"
    '        self.assertEqual(sell("2.50", "0.49"), 201)\n',
}


@dataclass(frozen=True)
class Story:
    """What the demo saw: the four attempts, and where they can be looked at."""

    repository: str
    refused: SelfEditResult
    bent: SelfEditResult
    landed: SelfEditResult
    warning: str
    checkout_untouched: bool

    @property
    def went_well(self) -> bool:
        """Whether each part of the promise was kept."""
        refused = not self.refused.success and bool(self.refused.failing_tests)
        bent = not self.bent.success and bool(self.bent.findings)
        kept = refused and bent and self.landed.success and bool(self.warning)
        return kept and self.checkout_untouched


async def play(say: Say) -> Story:
    """Play the story in a new repository; `say` takes one line at a time."""
    root = sample_repo(Path(tempfile.mkdtemp(prefix="self-coding-demo-")) / "shop", _SHOP)
    say(f"A small shop with {len(_SHOP)} files: {root}\n")
    app = open_app(root, test_command=_TESTS)
    say("1. What the index knows")
    impact = await app.indexer.impact(paths=[_FILE])
    near = ", ".join(f"{one.path} ({one.distance} away)" for one in impact.dependents)
    say(f"   {_FILE}: {near} depend on it")
    before = _state(root)
    say(f"\n2. An agent tries: {_BREAKING_TASK!r}. The test of {_FILE} itself stays green")
    refused = await _attempt(app, _BREAKING_TASK, _BROKEN, say)
    say(f"\n3. Another agent makes the same change, and {_FAR_TEST} looks away")
    bent = await _attempt(app, f"{_BREAKING_TASK}, and update the tests", _BENT, say)
    untouched = _state(root) == before
    say(f"\n4. A good change: {_GOOD_TASK!r}")
    landed = await _attempt(app, _GOOD_TASK, _GOOD, say)
    say("\n5. A third agent is about to make the first mistake again")
    warning = await app.journal.dead_end(_BREAKING_TASK)
    say(f"   warning: {warning}" if warning else "   no warning")
    say(f"\nThe shop is kept: look around with  self-coding --repo {root} attempts")
    return Story(str(root), refused, bent, landed, str(warning or ""), untouched)


async def _attempt(app: App, task: str, files: Mapping[str, str], say: Say) -> SelfEditResult:
    def write(worktree: Path) -> str:
        write_files(worktree, files)
        return f"wrote {', '.join(files)}"

    def progress(step: Progress) -> None:
        say(f"   {step.step}: {step.message}" if step.message else f"   {step.step}")

    result = await app.edit.self_edit(task, editor=CallableEditor(write), on_progress=progress)
    say(f"   -> {'landed' if result.success else 'refused'}: {result.message}")
    for test in result.failing_tests[:3]:
        say(f"      failing: {test}")
    if result.lesson:
        say(f"      lesson: {result.lesson}")
    return result


def _state(root: Path) -> tuple[str, str]:
    def ask(*args: str) -> str:
        return git.decode(git.run(args, cwd=root, timeout=120).stdout)

    return ask("status", "--porcelain"), ask("rev-parse", "HEAD")
