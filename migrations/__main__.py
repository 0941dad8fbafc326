"""``python -m migrations`` brings the database at DATABASE_URL (or in DATABASE_URL_FILE) to the newest schema.

``python -m migrations revision "<what changes>"`` writes a new step from what ``adapters/tables.py`` says and the
database lacks; triggers and data are added to it by hand.
"""

from __future__ import annotations

import argparse
import sys
from typing import cast

from alembic import command
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from adapters.database import alembic_config, migrate, run_migrations
from adapters.settings import Settings
from domain.errors import SluiceError


def main() -> int:
    """Run what the command line asks for; exit code 1 with a reason when the database cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m migrations", description="Changes the database schema.")
    parser.set_defaults(message=None)
    revision = parser.add_subparsers().add_parser("revision", help="write a new step; for developers")
    revision.add_argument("message", help="what the step changes, in a few words")
    message = cast("str | None", parser.parse_args().message)
    try:
        _run(Settings.load().database_url, message)
    except SluiceError as error:
        print(f"migrations: {error}", file=sys.stderr)
        return 1
    except (DBAPIError, OSError) as error:
        # The driver's own words may hold the address with its password.
        reason = f"the database cannot be used ({type(error).__name__}); check DATABASE_URL and the server"
        print(f"migrations: {reason}", file=sys.stderr)
        return 1
    return 0


def _run(url: str, message: str | None) -> None:
    migrate(url)
    if message is None:
        return

    def write_revision(connection: Connection) -> None:
        command.revision(alembic_config(connection), message=message, autogenerate=True)

    run_migrations(url, write_revision)


if __name__ == "__main__":
    sys.exit(main())
