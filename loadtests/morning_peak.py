"""A homepage's morning: load rises for minutes, stays, and falls.

locust -f loadtests/morning_peak.py --headless --host http://127.0.0.1:8000 --csv var/morning --html var/morning.html
"""

import slo
from scenarios import AnonymousVisitor, HomepageVisitor
from shapes import Stages

__all__ = ["AnonymousVisitor", "HomepageVisitor", "MorningPeak", "slo"]


class MorningPeak(Stages):
    """To 1,000 shoppers within five minutes, ten minutes of peak, five to fall."""

    stages = ((60, 200, 10), (240, 1000, 10), (600, 1000, 10), (300, 100, 10))
