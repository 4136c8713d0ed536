"""How far a policy is from the optimum of its own reward: Outcomes of policy and reference -> Audit."""

from tiltz.auditing.auditor import audit
from tiltz.auditing.checks import Check
from tiltz.auditing.result import Audit, OverallAudit, Quantities, Quantity

__all__ = ["Audit", "Check", "OverallAudit", "Quantities", "Quantity", "audit"]
