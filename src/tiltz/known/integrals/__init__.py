"""Densities: log Z by integration over the entire domain, or the reason why it is infinite."""

from tiltz.known.integrals.integrate import KnownIntegral, integrate

__all__ = ["KnownIntegral", "integrate"]
