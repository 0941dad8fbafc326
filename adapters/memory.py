"""What a long-running process tells Python's garbage collector."""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 20_000


def spare_the_collector() -> None:
    """Take what was imported and built at the start out of every later search for garbage, and search less often.

    None of it ever becomes garbage, and it is most of the heap: searching it again and again is work for nothing, and
    pauses some request each time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
