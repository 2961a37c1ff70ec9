"""A fleet of routers before it exists: the real router on virtual time, over providers that are only assumed.

Knows its parts: what is assumed of the providers (`assumptions`), what they do with a call (`course`, `world`), how a
router sends into that world (`fleet`), what is counted (`series`), and what is made of it (`facts`, `report`). What a
routes file decides is not assumed: planner, policy, health, attempts and streams are the router's own code.

Refuses sockets, bytes and the wall's clock. What happens between a socket and the router is the drill's business.
"""

from router.lab.simulation.assumptions import Assumptions, Conduct, Traffic, load_assumptions
from router.lab.simulation.facts import Simulated, differences
from router.lab.simulation.fleet import Scene, simulate

__all__ = [
    "Assumptions",
    "Conduct",
    "Scene",
    "Simulated",
    "Traffic",
    "differences",
    "load_assumptions",
    "simulate",
]
