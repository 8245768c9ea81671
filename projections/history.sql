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

-- name: position_at
-- Of the first decision at this moment or later. Times rise with positions, so halving finds it: before low
-- everything is earlier, from high on nothing is.
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, coalesce(max(position), 0) + 1 FROM notifications WHERE instance_id = %(instance)s
    UNION ALL
    SELECT CASE WHEN probe.requested_at < %(moment)s THEN probe.position + 1 ELSE low END,
           CASE WHEN probe.requested_at < %(moment)s THEN high ELSE (low + high) / 2 END
      FROM search
      LEFT JOIN LATERAL (
           SELECT n.position, n.requested_at
             FROM notifications n
            WHERE n.instance_id = %(instance)s AND n.position >= (low + high) / 2
            ORDER BY n.position
            LIMIT 1) AS probe ON true
     WHERE low < high
)
SELECT low FROM search WHERE low >= high

-- name: list_notifications
SELECT id, instance_id, state, reason, message_type, channel, user_id, organisation_id,
       source, event_id, event_type, attempts, requested_at, closed_at, position, version
  FROM notifications
 WHERE instance_id = %(instance)s
   AND (%(first)s::bigint IS NULL OR position >= %(first)s)
   AND (%(before)s::bigint IS NULL OR position < %(before)s)
   AND (%(user_id)s::text[] IS NULL OR user_id = ANY(%(user_id)s))
   AND (%(state)s::text[] IS NULL OR state = ANY(%(state)s))
   -- Says the same once more, by what the indexes know.
   AND (%(may_be_sent)s
        OR %(may_be_open)s AND closed_at IS NULL
        OR %(may_be_given_up)s AND reason IS NOT NULL)
   AND (%(reason)s::text[] IS NULL OR reason = ANY(%(reason)s))
   AND (%(message_type)s::text[] IS NULL OR message_type = ANY(%(message_type)s))
   AND (%(channel)s::text[] IS NULL OR channel = ANY(%(channel)s))
   AND (%(may_be_mail)s OR channel <> 'email')
   AND (%(organisation_id)s::text[] IS NULL
        OR organisation_id = ANY(%(organisation_id)s) AND organisation_id <> '')
   AND (%(event_id)s::text[] IS NULL OR event_id = ANY(%(event_id)s))
   -- And these once more where there is no alternative: only then an index on them goes by the position.
   AND (%(only_user_id)s::text IS NULL OR user_id = %(only_user_id)s)
   AND (%(only_reason)s::text IS NULL OR reason = %(only_reason)s)
   AND (%(only_channel)s::text IS NULL OR channel = %(only_channel)s)
   AND (%(only_organisation_id)s::text IS NULL OR organisation_id = %(only_organisation_id)s)
   AND (%(only_event_id)s::text IS NULL OR event_id = %(only_event_id)s)
 ORDER BY position DESC
 LIMIT %(limit)s

-- name: content_hash
SELECT encode(sha256(coalesce(string_agg(row_hash, ''::bytea ORDER BY id), ''::bytea)), 'hex')
  FROM (SELECT id, sha256(record_send(  -- the binary form: the same in whatever time zone
            ROW(id, instance_id, state, reason, message_type, channel, user_id, organisation_id, source,
                event_id, event_type, attempts, requested_at, closed_at, position, version))) AS row_hash
          FROM {table}) AS rows
