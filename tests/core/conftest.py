"""Hypothesis profiles: `fast` by default, `HYPOTHESIS_PROFILE=slow` searches much longer."""

import os

from hypothesis import settings

settings.register_profile("fast", max_examples=60, deadline=None)
settings.register_profile("slow", max_examples=3_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
