"""A flash sale: everybody comes within seconds, opens products and comes back.

locust -f loadtests/flash_sale.py --headless --host http://127.0.0.1:8000
"""

import slo
from scenarios import HomepageVisitor, Returner
from shapes import Stages

__all__ = ["FlashSale", "HomepageVisitor", "Returner", "slo"]


class FlashSale(Stages):
    """From 100 shoppers to 1,500 in ten seconds, for three minutes."""

    stages = ((30, 100, 50), (10, 1500, 150), (180, 1500, 150), (30, 100, 50))
