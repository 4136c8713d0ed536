"""Two coordinates and more: whether Z is finite, cubature to four dimensions, weighted draws beyond."""

from tiltz.known.integrals.volume.cube import cube_nodes
from tiltz.known.integrals.volume.directions import directional_tails, mean_is_infinite
from tiltz.known.integrals.volume.quasi import quasi_nodes

__all__ = ["cube_nodes", "directional_tails", "mean_is_infinite", "quasi_nodes"]
