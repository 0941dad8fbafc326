#!/bin/sh
# Brings Temporal's two databases to the schema of this version of its server. Runs before every start and changes
# nothing when there is nothing to change. Where the databases are and the password come from the SQL_ variables.
set -eu

schema=/etc/temporal/schema/postgresql/v12

for database in temporal temporal_visibility; do
    export SQL_DATABASE="$database"
    temporal-sql-tool setup-schema -v 0.0
    temporal-sql-tool update-schema -d "$schema/${database#temporal_}/versioned"
done
