"""Two hours of steady traffic: does memory grow, does latency creep?

locust -f loadtests/soak.py --headless --host http://127.0.0.1:8000 --csv var/soak
"""

import slo
from scenarios import AnonymousVisitor, HomepageVisitor, Returner
from shapes import Stages

__all__ = ["AnonymousVisitor", "HomepageVisitor", "Returner", "Soak", "slo"]


class Soak(Stages):
    """200 shoppers."""

    stages = ((7200, 200, 10),)
