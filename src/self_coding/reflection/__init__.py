"""Reads the evidence of an attempt and says what it teaches; with a language model or without.

The public names of the room: `ReflectionService`, and `read_failure` for output alone.
"""

from self_coding.reflection.evidence import read_failure
from self_coding.reflection.service import ReflectionService

__all__ = ["ReflectionService", "read_failure"]
