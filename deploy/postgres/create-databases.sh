#!/bin/sh
# Run by the PostgreSQL image once, on an empty data folder. Temporal and Sluice get a role each, so that neither can
# read or change the other's tables. Passwords are read by psql itself and never stand on a command line.
set -eu

psql --set ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv temporal_password TEMPORAL_DB_PASSWORD
\getenv sluice_password SLUICE_DB_PASSWORD
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE ROLE sluice LOGIN PASSWORD :'sluice_password';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
CREATE DATABASE sluice OWNER sluice;
REVOKE CONNECT, TEMPORARY ON DATABASE temporal, temporal_visibility, sluice FROM PUBLIC;
SQL
