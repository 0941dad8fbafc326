"""``python -m standalone``: the embedded stack in one terminal. ``--help`` tells the rest."""

from __future__ import annotations

import os
import sys

from standalone.commands import app

if __name__ == "__main__":
    code = app(standalone_mode=False)
    sys.stdout.flush()
    sys.stderr.flush()
    # A process that used Temporal can abort while the interpreter is torn down; everything is closed by now.
    os._exit(code if isinstance(code, int) else 0)
