"""Nobody is known: new shoppers without history, and visitors without an account.

locust -f loadtests/cold_visitors.py --headless --host http://127.0.0.1:8000
"""

import slo
from scenarios import AnonymousVisitor, Newcomer
from shapes import Stages

__all__ = ["AnonymousVisitor", "ColdVisitors", "Newcomer", "slo"]


class ColdVisitors(Stages):
    """300 at a time."""

    stages = ((20, 300, 30), (280, 300, 30))
