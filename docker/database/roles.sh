#!/bin/sh
# Runs once, when the database's volume is created. Creates the roles that processes log in as, and
# a database that belongs to the owner of the tables, who is not a superuser. The migrations grant
# each role its rights.
set -eu
psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
    --set=owner_password="$OWNER_PASSWORD" \
    --set=web_password="$WEB_PASSWORD" \
    --set=worker_password="$WORKER_PASSWORD" <<'SQL'
CREATE ROLE rollcall_owner LOGIN CREATEROLE PASSWORD :'owner_password';
GRANT pg_monitor TO rollcall_owner;
CREATE ROLE rollcall_web LOGIN NOINHERIT PASSWORD :'web_password';
ALTER ROLE rollcall_web SET search_path = scoped, public;
CREATE ROLE rollcall_worker LOGIN NOINHERIT PASSWORD :'worker_password';
CREATE DATABASE rollcall OWNER rollcall_owner;
\connect rollcall
CREATE EXTENSION IF NOT EXISTS timescaledb;
SQL
