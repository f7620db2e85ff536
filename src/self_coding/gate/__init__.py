"""Run the tests of exactly one tree, contained, and say what they prove."""

from self_coding.gate.gate_run import Checkout, Gate

__all__ = ["Checkout", "Gate"]
