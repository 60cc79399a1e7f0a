"""After an expiry or a restart: no pause between requests, all for the same few shoppers, whose lists are gone.

Empty the caches first (a fresh Redis, or a new x2q version). locust -f loadtests/stampede.py --headless --host ...
"""

import slo
from scenarios import Impatient
from shapes import Stages

__all__ = ["Impatient", "Stampede", "slo"]


class Stampede(Stages):
    """64 at once, for a minute."""

    stages = ((60, 64, 64),)
