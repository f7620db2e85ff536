"""Hook mode: for agents that edit on their own and only pass by.

`events` answers a hook call (a warning before an edit, a snapshot after it, a guard before a
push); `install` enters the calls where an agent or git looks for them, and takes them out again;
`bypass` finds what moved main past the guard.
A hook of ours never stops an agent because of a fault of ours.
"""

from self_coding.hooks.bypass import Bypass, note_bypass
from self_coding.hooks.events import before_push, on_edit
from self_coding.hooks.install import install, remove

__all__ = ["Bypass", "before_push", "install", "note_bypass", "on_edit", "remove"]
