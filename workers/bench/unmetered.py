"""The service with metrics that count nothing: what metrics cost is measured against it."""

from prometheus_client import Counter, Gauge, Histogram


def _nothing(*_: object) -> None:
    return


if __name__ == "__main__":
    Counter.inc = _nothing  # type: ignore[assignment, method-assign]
    Gauge.set = _nothing  # type: ignore[assignment, method-assign]
    Histogram.observe = _nothing  # type: ignore[assignment, method-assign]
    from workers.serve import serve  # after the change: some bind the methods when they are imported

    serve()
