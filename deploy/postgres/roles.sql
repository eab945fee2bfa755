-- A service's database and its two roles; run it again after a change of a password. roles.sh calls it for each service.
-- <service>_owner owns the tables: it applies the migrations, and makes and drops the months.
-- <service> reads and writes rows, and can change no table.
\set ON_ERROR_STOP on
\set owner :service _owner

SELECT format('CREATE ROLE %I LOGIN', role) FROM unnest(ARRAY[:'owner', :'service']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE :"owner" PASSWORD :'owner_password';
ALTER ROLE :"service" PASSWORD :'password';

SELECT format('CREATE DATABASE %I', :'database')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
ALTER DATABASE :"database" OWNER TO :"owner";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"service";

\connect :"database"
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
GRANT USAGE ON SCHEMA public TO :"service";
-- What the owner will make, and what is there already.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"service";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"service";
-- Which migrations were applied is the owner's word alone; the table is there from the first of them on.
SELECT format('REVOKE INSERT, UPDATE, DELETE ON migrations FROM %I', :'service')
WHERE to_regclass('public.migrations') IS NOT NULL \gexec
