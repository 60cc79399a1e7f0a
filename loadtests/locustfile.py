"""Run with `locust -f loadtests/locustfile.py --host http://127.0.0.1:8000`; scenarios.py says what users do."""

from scenarios import AnonymousVisitor, HomepageVisitor

__all__ = ["AnonymousVisitor", "HomepageVisitor"]
