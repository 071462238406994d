-- name: roles  that this log-in can take; the one for all organisations comes first
SELECT rolname::text FROM pg_roles
WHERE rolname IN (
        (left(current_database(), 40) || '_all_organisations')::name,
        (left(current_database(), 40) || '_application')::name)
    AND pg_has_role(session_user, oid, CASE WHEN current_setting('server_version_num')::int >= 160000
        THEN 'SET' ELSE 'MEMBER' END)
ORDER BY rolname;

-- name: create_roles  the role for all organisations can use the temporary tables of the other role
DO $$
DECLARE
    application name := left(current_database(), 40) || '_application';
    all_organisations name := left(current_database(), 40) || '_all_organisations';
    new_role name;
BEGIN
    FOREACH new_role IN ARRAY ARRAY[application, all_organisations] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = new_role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', new_role);
        END IF;
        IF NOT pg_has_role(session_user, new_role, CASE WHEN current_setting('server_version_num')::int >= 160000
            THEN 'SET' ELSE 'MEMBER' END) THEN
            EXECUTE format('GRANT %I TO %I', new_role, session_user);
        END IF;
    END LOOP;
    IF NOT pg_has_role(all_organisations, application, 'USAGE') THEN
        EXECUTE format('GRANT %I TO %I', application, all_organisations);
    END IF;
END
$$;

-- name: superuser
SELECT rolsuper FROM pg_roles WHERE rolname = current_user;

-- name: leakproof  number of the index functions that are marked
SELECT count(*)::int FROM pg_proc WHERE oid = ANY(%(functions)s::regprocedure[]) AND proleakproof;

-- name: tables  of this schema
SELECT relname::text FROM pg_class
WHERE relkind IN ('r', 'p', 'v', 'm') AND relnamespace = current_schema()::regnamespace
    AND pg_has_role(session_user, relowner, 'USAGE')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
ORDER BY relname;

-- name: without_grants
SELECT relname::text FROM pg_class
WHERE relkind IN ('r', 'p', 'v', 'm') AND relnamespace = current_schema()::regnamespace
    AND pg_has_role(session_user, relowner, 'USAGE')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
    AND NOT EXISTS (
        SELECT FROM pg_roles
        WHERE rolname = (left(current_database(), 40) || '_all_organisations')::name
            AND has_table_privilege(pg_roles.oid, pg_class.oid, 'SELECT'));

-- name: unprotected  tables of this schema with rows of organisations
SELECT relation.relname::text
FROM pg_class AS relation
JOIN pg_attribute AS owner ON owner.attrelid = relation.oid AND owner.attname = 'organisation'
    AND owner.attnum > 0 AND NOT owner.attisdropped
WHERE relation.relkind IN ('r', 'p') AND relation.relnamespace = current_schema()::regnamespace
    AND relation.relname <> ALL(%(shared)s)
    AND NOT (relation.relrowsecurity AND EXISTS (
        SELECT FROM pg_policy JOIN pg_roles ON pg_roles.oid = ANY(polroles)
        WHERE polrelid = relation.oid AND rolname = (left(current_database(), 40) || '_all_organisations')::name))
    AND (relation.relname NOT LIKE %(chunk_tables)s OR %(count)s = (
        SELECT count(*) FROM pg_proc WHERE oid = ANY(%(functions)s::regprocedure[]) AND proleakproof))
ORDER BY 1;

-- name: kind  true if the organisation may be null; true if the table is a chunk table without row-level security
SELECT NOT attnotnull,
    %(table)s LIKE %(chunk_tables)s AND %(count)s <> (
        SELECT count(*) FROM pg_proc WHERE oid = ANY(%(functions)s::regprocedure[]) AND proleakproof)
FROM pg_attribute
WHERE attrelid = %(table)s::text::regclass AND attname = 'organisation';
