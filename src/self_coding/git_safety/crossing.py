"""A person's `git switch` that crossed a move of main: the checkout is put right behind both.

The switch has read main before the move and written HEAD after it, or the landing has swapped
files into a checkout that was leaving. Either way index and files are those of one end of the
move and HEAD is at the other; the next commit would carry a landing along, or take it back. Only
checkouts whose HEAD was renamed during the operation are looked at, and only paths that are
exactly as the other end has them are touched.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from self_coding.errors import SelfCodingError
from self_coding.git_safety.change import Plan, carry_out, digest, head_name, insist, tidy
from self_coding.git_safety.follow import follow
from self_coding.git_safety.movers import wait_for_switches
from self_coding.git_safety.ours import persons
from self_coding.git_safety.repository import Repository

_logger = logging.getLogger(__name__)
_WAIT_SECONDS = 10.0  # a checkout of many files takes seconds


@dataclass(frozen=True)
class Standing:
    """Where main is, and what HEAD names in each person's checkout, by its git directory."""

    main: str
    heads: Mapping[Path, str]


def standing(repo: Repository) -> Standing:
    """How things stand before an operation."""
    [main] = repo.tips([repo.main_ref])
    return Standing(main, {here.directory: head_name(here) for here in persons(repo)})


def settle(repo: Repository, before: Standing) -> None:
    """Behind an operation, its lock still held: where main has moved, put right who crossed it.

    What cannot be put right is left and logged: the operation itself has been done.
    """
    [main] = repo.tips([repo.main_ref])
    if not main or not before.main or main == before.main:
        return
    checkouts = [here for here in persons(repo) if here.directory in before.heads]
    wait_for_switches({here.top for here in checkouts}, _WAIT_SECONDS)
    for here in checkouts:
        if head_name(here) != before.heads[here.directory]:
            try:
                insist(lambda here=here: _put_right(here, before.main, main))  # type: ignore[misc]
            except (SelfCodingError, OSError) as error:
                _logger.warning("%s may hold files of two commits: %s", here.top, error)


def _put_right(here: Repository, old: str, new: str) -> None:
    """Take what is still at the other end of main's move to the commit that HEAD is at."""
    head = here.head()
    if head.commit not in (old, new) or here.state():
        return
    other = old if head.commit == new else new
    name = head.ref if head.branch else head.commit
    part = follow(here, other, head.commit, head_from=name).part
    plan = Plan(kind="follow", parts=(part,), reason=f"{head.branch or name} was switched to")
    if part.steps or (part.index and digest(Path(part.index)) != part.index_before):
        carry_out(here, plan)
    else:
        tidy(plan)
