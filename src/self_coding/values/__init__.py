"""Values that travel between rooms: frozen, pure, without effects.

One module a subject: `repository` (what git holds), `verdicts` (what judges say), `code` (what
the index knows), `attempts` (what the journal remembers), `edits` (what a self-edit passes on).
Nothing here reads a clock, a file or a setting.
"""
