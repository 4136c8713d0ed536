"""Somebody else's log Z or soft value, checked against the table."""

from tiltz.claims.check import ZCheck, check_z

__all__ = ["ZCheck", "check_z"]
