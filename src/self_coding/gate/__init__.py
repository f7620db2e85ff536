"""The gate: run the tests of exactly one commit, contained, and say what they prove."""

from self_coding.gate.trial import Checkout, Gate

__all__ = ["Checkout", "Gate"]
