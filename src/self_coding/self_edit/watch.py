"""Run the tests that a change of the working tree affects, and find out what broke them.

Contained, on a copy: whatever the tests do, the checkout stays as it is. Nothing lands and nothing
is edited.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from self_coding.self_edit.ports import Services
from self_coding.values.repository import Commit
from self_coding.values.results import Breakage, Watched
from self_coding.values.verdicts import Trial

_BACK = 33  # commits that are looked at: five trials find the first bad one of them


class Watch:
    """Looks at one working tree, time and again.

    Args:
        services: the services of the repository.
        since: what the first look compares with: a revision.
    """

    def __init__(self, services: Services, since: str = "HEAD") -> None:
        self._services = services
        self._seen = since
        self._is_first = True
        self._red: tuple[str, ...] = ()  # test files that failed last
        self._trials: dict[tuple[str, tuple[str, ...]], Trial] = {}

    async def look(self) -> Watched | None:
        """Run what is affected by what has changed since the last look; None where nothing has.

        Raises:
            GitOperationError: there is no such revision.
            GateError: the tests could not be run.
        """
        repository = self._services.repository
        now = await repository.trials.working_commit()
        if now == self._seen:
            return None
        change = await repository.change(self._seen, now, diff_limit=0)
        self._seen = now
        first, self._is_first = self._is_first, False
        if change.is_empty and not first:
            return None  # a commit of what was there
        impact = await self._services.index.impact(paths=list(change.paths))
        files = tuple(dict.fromkeys((*self._red, *impact.tests))) if change.paths else ()
        if not files:
            return Watched(changed=[*change.paths], files=[], broken=[])
        began = time.monotonic()
        trial = await self._try(now, files)
        failing = trial.failing
        self._red = tuple(dict.fromkeys(one.partition("::")[0] for one in failing))
        broken = await self._blamed(failing, [*change.paths]) if failing else []
        return Watched(
            changed=[*change.paths],
            files=[*files],
            ran=trial.ran,
            broken=broken,
            seconds=round(time.monotonic() - began, 1),
            reason=trial.reason,
        )

    async def _try(self, commit: str, tests: tuple[str, ...]) -> Trial:
        key = (commit, tests)
        if key not in self._trials:
            self._trials[key] = await self._services.repository.trials.try_tests(commit, tests)
            while len(self._trials) > 100:
                del self._trials[next(iter(self._trials))]
        return self._trials[key]

    async def _blamed(self, failing: tuple[str, ...], changed: Sequence[str]) -> list[Breakage]:
        """Return what broke each of the tests that fail now, by running them where they did not."""
        commits = await self._services.repository.trials.first_parents(_BACK)
        files = tuple(dict.fromkeys(one.partition("::")[0] for one in failing if "::" in one))

        async def fails(commit: Commit) -> set[str]:
            trial = await self._try(commit.id, files)
            return {*trial.failing} & {*failing}

        old = await fails(commits[0]) if commits else set()
        fresh = [one for one in failing if one not in old]
        broken = []
        if fresh:
            named = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
            broken.append(
                Breakage(tests=fresh, by="edit", what=f"your uncommitted change of {named}")
            )
        left = [one for one in failing if one in old]
        while left:
            # The first bad one between the oldest, where it passes, and the newest, where it fails.
            good, bad, test = len(commits) - 1, 0, left[0]
            if test in await fails(commits[good]):
                since = await fails(commits[good])
                tests = [one for one in left if one in since]
                what = f"what was there before {commits[good].id[:12]}, {len(commits)} commits ago"
                broken.append(Breakage(tests=tests, by="before", what=what))
            else:
                while good - bad > 1:
                    middle = (good + bad) // 2
                    if test in await fails(commits[middle]):
                        bad = middle
                    else:
                        good = middle
                since = await fails(commits[bad]) - await fails(commits[good])
                tests = [one for one in left if one in since]
                broken.append(await self._named(commits[bad], tests))
            left = [one for one in left if one not in tests]
        return broken

    async def _named(self, commit: Commit, tests: list[str]) -> Breakage:
        attempts = await self._services.journal.landed_as(commit.id)
        what = f"commit {commit.id[:12]} by {commit.author}: {commit.subject}"
        if not attempts:
            return Breakage(tests=tests, by="commit", what=what, commit=commit.id)
        number = attempts[-1]
        return Breakage(
            tests=tests,
            by="attempt",
            what=f"attempt {number}, {what}",
            commit=commit.id,
            attempt=number,
        )
