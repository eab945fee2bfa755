#!/bin/sh
# Makes the databases and roles of all services, by the superuser whom psql's variables (PGHOST, PGUSER …) name.
#   deploy/postgres/roles.sh PASSWORDS     the folder with the files postgres-password-<role>
# What is there is kept, and gets these passwords and rights.
set -eu
passwords=$1
here=$(dirname "$0")
for service in sender:sender bounce_ingest:bounces status_store:status; do
    name=${service%:*}
    # By standard input: what is on a command line, everybody on the machine can read.
    psql --quiet --no-psqlrc --dbname=postgres <<SQL
\\set service $name
\\set database ${service#*:}
\\set password $(cat "$passwords/postgres-password-$name")
\\set owner_password $(cat "$passwords/postgres-password-${name}_owner")
\\i $here/roles.sql
SQL
done
