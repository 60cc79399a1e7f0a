"""How long each stage of a job takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Put what the block takes on the wall clock into `seconds`, under the name of the stage."""
    began = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - began, 1)
