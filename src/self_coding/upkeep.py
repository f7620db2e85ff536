"""Operations on self-coding's own records: list, explain, repair, tidy, verify.

Rows of the one table, as those of `operations`, which imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from self_coding.operation import GO_BACK, Limit, Revision, operation

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.values.repository import Operation as RepositoryOperation
    from self_coding.values.results import Explained
    from self_coding.values.verdicts import Finding


@operation(GO_BACK, "git.operations", tool=False)
async def operations(app: App, limit: Limit = 20) -> list[RepositoryOperation]:
    """List what self-coding did to this repository: who, when, why, refs before and after."""
    return await app.git.operations(limit)


@operation(GO_BACK, "git.explain", tool=False)
async def explain(app: App, revision: Revision) -> Explained:
    """Tell whether a commit or reflog entry is self-coding's doing."""
    from self_coding.values.results import Explained

    found = await app.git.explain(revision)
    return Explained(ours=found is not None, operation=found)


@operation(GO_BACK, "git.recover", effect="restores", tool=False)
async def recover(app: App) -> list[str]:
    """Repair what a crash left behind, and tell what can be resumed."""
    from self_coding.hooks.main_guard import note_bypass

    repaired = [*await app.git.recover(), *await app.edit.recover()]
    bypass = await note_bypass(app)
    return [*repaired, f"bypassed: {bypass}"] if bypass else repaired


@operation(GO_BACK, "git.gc", effect="restores", tool=False)
async def gc(app: App) -> list[str]:
    """Forget snapshots and attempts that are past their retention."""
    return await app.git.gc()


@operation(GO_BACK, "git.verify", tool=False)
async def verify(app: App) -> list[Finding]:
    """Check the receipts of all landings: the tested tree is the landed tree."""
    return await app.git.verify()
