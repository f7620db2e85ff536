"""Hook mode: for agents that edit on their own and only pass by.

`events` answers an agent's hook call (a warning before an edit, a snapshot after it), `main_guard`
guards main before a push and finds what moved it past the guard, `install` enters the calls where
an agent or git looks for them, and takes them out again.
A hook of ours never stops an agent because of a fault of ours.
"""
