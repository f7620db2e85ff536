"""Nothing that a user can name is without a word in the documentation, and no page is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from self_coding.cli import COMMANDS
from self_coding.operations import OPERATIONS
from self_coding.settings import Settings, named
from self_coding.values.explanations import EXPLANATIONS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
REFERENCE = {page.name: page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md")}
#: What people read, beside the generated reference.
PROSE = "\n".join(
    page.read_text("utf-8")
    for page in (ROOT / "README.md", *PAGES)
    if page.parent.name != "reference"
)


@pytest.mark.parametrize("name", [name for name, section in COMMANDS.items() if section])
def test_every_command_is_documented(name: str) -> None:
    """In the reference with its help, and in the manual."""
    assert f"## {name}\n" in REFERENCE["cli.md"]
    manual = (DOCS / "reference" / "self-coding.1").read_text("utf-8")
    assert ".SS " + name.replace("-", "\\-") + "\n" in manual


@pytest.mark.parametrize("name", [name for name, row in OPERATIONS.items() if row.tool])
def test_every_tool_is_documented(name: str) -> None:
    """In the reference with its arguments."""
    assert f"## {name}\n" in REFERENCE["mcp.md"]


def test_every_setting_is_documented() -> None:
    """In the reference, with what it means and an example; and no setting that is gone."""
    names = {name for name, _ in named(Settings())}
    told = set(re.findall(r"^\| `([\w.]+)` \|", REFERENCE["configuration.md"], re.MULTILINE))
    assert told == names == {*EXPLANATIONS}


def test_every_page_of_the_dashboard_is_documented() -> None:
    """Each entry of its menu has its row in the how-to."""
    menu = (ROOT / "src/self_coding/dashboard/templates/base.html").read_text("utf-8")
    (entries,) = re.findall(r"<nav[^>]*>(.*?)</nav>", menu, re.DOTALL)
    links = set(re.findall(r"'(/\w*)'|href=\"(/\w*)\"", entries))
    page = (DOCS / "how-to" / "dashboard.md").read_text("utf-8").lower()
    named_there = {(one or other).strip("/") or "needs you" for one, other in links}
    assert named_there
    assert [name for name in sorted(named_there) if name not in page] == []


@pytest.mark.parametrize("name", ["watch", "report-error", "drop-error", "digest", "inbox"])
def test_what_people_do_daily_is_explained(name: str) -> None:
    """Not in the reference alone: some page says when to use it."""
    assert f"self-coding {name}" in PROSE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_no_page_is_lost(page: Path) -> None:
    """Some other page, the README or AGENTS.md leads to it."""
    others = [ROOT / "README.md", ROOT / "AGENTS.md", ROOT / "CONTRIBUTING.md", *PAGES]
    text = "\n".join(one.read_text("utf-8") for one in others if one != page)
    assert f"{page.parent.name}/{page.name})" in text or f"({page.name}" in text


def test_links_lead_somewhere() -> None:
    """A relative link names a file that is there."""
    lost = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in (ROOT / "README.md", *PAGES)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert lost == []
