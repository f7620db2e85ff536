"""Finds keys, tokens and passwords in text, and takes them out; pure and linear in the text.

Whatever leaves the user's machine or enters a record (the journal, a prompt, a log, a landing)
passes here first. It refuses to guess: a random-looking string without a known shape or a
telling name is left alone, and so is a documented example or a placeholder.
"""

from self_coding.redaction.detect import Secret, find_secrets, is_secret_path, redact

__all__ = ["Secret", "find_secrets", "is_secret_path", "redact"]
