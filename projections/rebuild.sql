-- name: only_one
SELECT pg_advisory_lock(hashtextextended('tidings rebuild ' || %(name)s, 0))

-- name: let_others
SELECT pg_advisory_unlock(hashtextextended('tidings rebuild ' || %(name)s, 0))

-- name: wait_at_most
SELECT set_config('lock_timeout', %(milliseconds)s::text, true)

-- name: drop
DROP TABLE IF EXISTS {table}

-- name: create_like
CREATE TABLE {new} (LIKE {table} INCLUDING ALL EXCLUDING INDEXES)

-- name: likeness
-- What LIKE leaves out, as statements: the keys, the owner, storage options and grants.
WITH live AS (
    SELECT relowner, reloptions, relacl FROM pg_class WHERE oid = %(table)s::regclass
)
SELECT format('ALTER TABLE %%I SET (%%s)', %(new)s::text, string_agg(format('%%I = %%L', option_name, option_value), ', '))
  FROM live, pg_options_to_table(live.reloptions)
HAVING count(*) > 0
UNION ALL
SELECT format('ALTER TABLE %%I ADD %%s', %(new)s::text, pg_get_constraintdef(oid))
  FROM pg_constraint
 WHERE conrelid = %(table)s::regclass AND contype IN ('p', 'u')
UNION ALL
SELECT format('ALTER TABLE %%I OWNER TO %%I', %(new)s::text, pg_get_userbyid(relowner)) FROM live
UNION ALL
SELECT format('GRANT %%s ON %%I TO %%s%%s', privilege_type, %(new)s::text,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM live, aclexplode(live.relacl)

-- name: other_indexes
SELECT format('CREATE %%s ON %%I USING %%s', CASE WHEN indisunique THEN 'UNIQUE INDEX' ELSE 'INDEX' END,
              %(new)s::text, regexp_replace(pg_get_indexdef(indexrelid), '^.*? USING ', ''))
  FROM pg_index
 WHERE indrelid = %(table)s::regclass
   AND indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE conrelid = %(table)s::regclass)

-- name: analyze
ANALYZE {new}

-- name: count
SELECT count(*) FROM {table}

-- name: calm
LOCK TABLE {table}, {new} IN SHARE UPDATE EXCLUSIVE MODE

-- name: close
LOCK TABLE {table}, {new} IN ACCESS EXCLUSIVE MODE

-- name: index_names
WITH named AS (
    SELECT i.indrelid, c.relname, d.definition,
           row_number() OVER (PARTITION BY i.indrelid, i.indisunique, d.definition ORDER BY i.indexrelid) AS nth,
           i.indisunique
      FROM pg_index i
      JOIN pg_class c ON c.oid = i.indexrelid
     CROSS JOIN LATERAL regexp_replace(pg_get_indexdef(i.indexrelid), '^.*? USING ', '') AS d (definition)
     WHERE i.indrelid IN (%(table)s::regclass, %(new)s::regclass)
)
SELECT filled.relname, live.relname
  FROM named live
  JOIN named filled USING (definition, indisunique, nth)
 WHERE live.indrelid = %(table)s::regclass AND filled.indrelid = %(new)s::regclass

-- name: rename
ALTER TABLE {new} RENAME TO {table}

-- name: rename_index
ALTER INDEX {new} RENAME TO {name}

-- name: begin_tracking
INSERT INTO tracking (projection, position) VALUES (%(projection)s, 0) ON CONFLICT DO NOTHING

-- name: hold_tracking
SELECT position FROM tracking WHERE projection = %(projection)s FOR UPDATE

-- name: stand_still
-- The onlooker stands idle while the new version catches up; nobody waits for what it holds.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL idle_in_transaction_session_timeout = '10min'

-- name: look
SELECT 1

-- name: create_unread
CREATE TEMP TABLE IF NOT EXISTS unread_streams (stream_id uuid PRIMARY KEY)

-- name: empty_unread
TRUNCATE pg_temp.unread_streams

-- name: note_unread
INSERT INTO pg_temp.unread_streams SELECT unnest(%(streams)s::uuid[]) ON CONFLICT DO NOTHING

-- name: leave_out_unread
DELETE FROM {new} n USING pg_temp.unread_streams u WHERE n.{key} = u.stream_id

-- name: keep_unread
INSERT INTO {new} SELECT live.* FROM {table} live JOIN pg_temp.unread_streams u ON u.stream_id = live.{key}

-- name: carry_leases
-- What was pulled forward stays so; nothing is due later than the log says, and what is parked never.
WITH kept AS (
    SELECT filled.notification_id, live.claims, live.lease_token, live.lease_until,
           CASE WHEN filled.not_before < '9999-01-01' THEN least(live.due_at, filled.not_before)
                ELSE filled.not_before END AS due_at,
           (filled.claims, filled.lease_token, filled.lease_until, filled.due_at) AS before
      FROM {new} filled
      JOIN {table} live USING (notification_id)
)
UPDATE {new} n
   SET claims = kept.claims,
       lease_token = kept.lease_token,
       lease_until = kept.lease_until,
       due_at = kept.due_at
  FROM kept
 WHERE n.notification_id = kept.notification_id
   AND kept.before IS DISTINCT FROM (kept.claims, kept.lease_token, kept.lease_until, kept.due_at)

-- name: due_hash
SELECT encode(sha256(coalesce(string_agg(row_hash, ''::bytea ORDER BY notification_id), ''::bytea)), 'hex')
  FROM (SELECT notification_id, sha256(convert_to(
            jsonb_build_array(notification_id, instance_id, channel, priority, extract(epoch FROM not_before),
                extract(epoch FROM expires_at), cause_stream, cause_version, supersede_key, retry)::text,
            'UTF8')) AS row_hash
          FROM {table}) AS rows

-- name: page_of_recipients
SELECT instance_id, subject, version, sealed
  FROM {table}
 WHERE (instance_id, subject) > (%(instance)s, %(subject)s)
 ORDER BY instance_id, subject
 LIMIT %(limit)s

-- name: page
SELECT notification_id, instance_id, originator_id, originator_version, topic, recorded_at, state
  FROM events
 WHERE notification_id > %(since)s AND notification_id <= %(to)s
   AND (starts_with(topic, %(prefix)s) OR topic = ANY(%(names)s))
 ORDER BY notification_id

-- name: quarantined
SELECT position
  FROM quarantined_events
 WHERE projection = %(projection)s AND position BETWEEN %(first)s AND %(last)s

-- name: pauses_hash
SELECT encode(sha256(convert_to(coalesce(string_agg(
           jsonb_build_array(instance_id, channel, position)::text, ',' ORDER BY instance_id, channel), ''),
           'UTF8')), 'hex')
  FROM {table}
