"""Read the evidence of an attempt and say what it teaches, with a language model or without.

The public names: `ReflectionService`, and `read_failure` for output alone.
"""

from self_coding.reflection.failures import read_failure
from self_coding.reflection.service import ReflectionService

__all__ = ["ReflectionService", "read_failure"]
