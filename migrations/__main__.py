"""``python -m migrations`` brings the database at DATABASE_URL to the newest schema.

``python -m migrations revision "<what changes>"`` writes a new step from what ``adapters/tables.py`` says and the
database lacks; triggers and data are added to it by hand.
"""

from __future__ import annotations

import argparse
import os
from typing import cast

from alembic import command
from sqlalchemy import Connection

from adapters.database import DEFAULT_URL, alembic_config, migrate, run_migrations


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m migrations", description="Changes the database schema.")
    parser.set_defaults(message=None)
    revision = parser.add_subparsers().add_parser("revision", help="write a new step; for developers")
    revision.add_argument("message", help="what the step changes, in a few words")
    message = cast("str | None", parser.parse_args().message)
    url = os.environ.get("DATABASE_URL") or DEFAULT_URL
    migrate(url)
    if message is not None:

        def write_revision(connection: Connection) -> None:
            command.revision(alembic_config(connection), message=message, autogenerate=True)

        run_migrations(url, write_revision)


if __name__ == "__main__":
    main()
