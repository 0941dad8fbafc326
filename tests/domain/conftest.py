"""How the property tests of the domain search.

The same examples every time, so that a red run means a changed line. ``--hypothesis-profile=search`` looks further.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no finding: neither a slow example nor slow generation fails a test.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("sluice", _PATIENT, max_examples=60, derandomize=True)
settings.register_profile("search", _PATIENT, max_examples=1000)
settings.load_profile("sluice")
