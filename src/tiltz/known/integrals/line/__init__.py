"""One coordinate, real or integer: whether Z is finite, and nodes for every integral."""

from tiltz.known.integrals.line.lattice import lattice_nodes
from tiltz.known.integrals.line.real import line_nodes
from tiltz.known.integrals.line.tails import mean_is_infinite, tails_of

__all__ = ["lattice_nodes", "line_nodes", "mean_is_infinite", "tails_of"]
