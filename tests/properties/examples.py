"""How many examples property tests try: ``EXAMPLES=1000 pytest tests/properties``."""

import os

from hypothesis import HealthCheck, settings

_COUNT = os.environ.get('EXAMPLES')

# Without a number the same few examples each time, so that the suite is quick.
many = settings(
    max_examples=int(_COUNT or 25),
    derandomize=_COUNT is None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
