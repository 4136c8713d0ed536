"""Finite worlds whose log Z is known exactly, for tests and for users."""

from tiltz.testbeds.sums import DEMO_FILE, Sums, demo_rollouts, sums, write_demo

__all__ = ["DEMO_FILE", "Sums", "demo_rollouts", "sums", "write_demo"]
