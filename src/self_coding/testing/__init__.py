"""Published fakes, for tests of what is built on this package.

`scripted` plays scripts over real repositories; `memory` has the services of a self-edit in memory,
with a process that can be made to die at any point.
"""

from __future__ import annotations

from self_coding.testing.memory import Crash, Disk, MemoryEditor, MemoryRules, memory_services
from self_coding.testing.scripted import (
    Reply,
    ScriptedEditor,
    ScriptedModel,
    git,
    sample_repo,
    write_files,
)

__all__ = [
    "Crash",
    "Disk",
    "MemoryEditor",
    "MemoryRules",
    "Reply",
    "ScriptedEditor",
    "ScriptedModel",
    "git",
    "memory_services",
    "sample_repo",
    "write_files",
]
