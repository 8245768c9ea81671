-- name: stages
SELECT id, state, version, attempts, closed_at FROM {table} WHERE id = ANY(%(ids)s)

-- name: begin
INSERT INTO {table} AS known (
       id, instance_id, message_type, channel, user_id, organisation_id, source, event_id, event_type,
       requested_at, position, state, version, attempts, reason, closed_at)
SELECT *
  FROM unnest(
       %(id)s::uuid[], %(instance_id)s::text[], %(message_type)s::text[], %(channel)s::text[],
       %(user_id)s::text[], %(organisation_id)s::text[], %(source)s::text[], %(event_id)s::text[],
       %(event_type)s::text[], %(requested_at)s::timestamptz[], %(position)s::bigint[], %(state)s::text[],
       %(version)s::bigint[], %(attempts)s::integer[], %(reason)s::text[], %(closed_at)s::timestamptz[])
    ON CONFLICT (id) DO UPDATE
   SET state = excluded.state, version = excluded.version, attempts = excluded.attempts,
       reason = excluded.reason, closed_at = excluded.closed_at
 WHERE known.version < excluded.version

-- name: move
UPDATE {table} AS known
   SET state = told.state, version = told.version, attempts = told.attempts, reason = told.reason,
       closed_at = told.closed_at
  FROM unnest(
       %(id)s::uuid[], %(state)s::text[], %(version)s::bigint[], %(attempts)s::integer[], %(reason)s::text[],
       %(closed_at)s::timestamptz[]) AS told (id, state, version, attempts, reason, closed_at)
 WHERE known.id = told.id
   AND known.version < told.version

-- name: progress
SELECT coalesce(reached.position, 0),
       -- The database's clock on purpose: it gave the events their times.
       coalesce(extract(epoch FROM clock_timestamp() - (
           SELECT recorded_at
             FROM events
            WHERE notification_id > coalesce(reached.position, 0)
            ORDER BY notification_id
            LIMIT 1)) * 1000, 0)::bigint
  FROM (SELECT max(position) AS position FROM tracking WHERE projection = %(projection)s) AS reached

-- name: list_notifications
SELECT id, instance_id, state, reason, message_type, channel, user_id, organisation_id,
       source, event_id, event_type, attempts, requested_at, closed_at, position, version
  FROM notifications
 WHERE instance_id = %(instance)s
   AND (%(before)s::bigint IS NULL OR position < %(before)s)
   AND (%(user_id)s::text[] IS NULL OR user_id = ANY(%(user_id)s))
   AND (%(state)s::text[] IS NULL OR state = ANY(%(state)s))
   AND (%(reason)s::text[] IS NULL OR reason = ANY(%(reason)s))
   AND (%(message_type)s::text[] IS NULL OR message_type = ANY(%(message_type)s))
   AND (%(channel)s::text[] IS NULL OR channel = ANY(%(channel)s))
   AND (%(organisation_id)s::text[] IS NULL
        OR organisation_id = ANY(%(organisation_id)s) AND organisation_id <> '')
   AND (%(event_id)s::text[] IS NULL OR event_id = ANY(%(event_id)s))
   AND (%(since)s::timestamptz IS NULL OR requested_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR requested_at < %(until)s)
 ORDER BY position DESC
 LIMIT %(limit)s

-- name: content_hash
SELECT encode(sha256(coalesce(string_agg(row_hash, ''::bytea ORDER BY id), ''::bytea)), 'hex')
  FROM (SELECT id, sha256(convert_to(
            jsonb_build_array(id, instance_id, state, reason, message_type, channel, user_id, organisation_id,
                source, event_id, event_type, attempts, extract(epoch FROM requested_at),
                extract(epoch FROM closed_at), position, version)::text, 'UTF8')) AS row_hash
          FROM {table}) AS rows
