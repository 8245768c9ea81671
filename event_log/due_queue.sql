-- name: put
INSERT INTO due_notifications (
    notification_id, instance_id, channel, priority, not_before, expires_at,
    cause_stream, cause_version, supersede_key, retry, due_at
)
SELECT *, given.not_before FROM unnest(
    %(notification)s::uuid[], %(instance)s::text[], %(channel)s::text[], %(priority)s::smallint[],
    %(not_before)s::timestamptz[], %(expires_at)s::timestamptz[],
    %(cause_stream)s::uuid[], %(cause_version)s::bigint[], %(supersede_key)s::text[], %(retry)s::boolean[]
) AS given (notification_id, instance_id, channel, priority, not_before, expires_at,
            cause_stream, cause_version, supersede_key, retry)
ON CONFLICT (notification_id) DO UPDATE SET
    not_before = excluded.not_before,
    expires_at = excluded.expires_at,
    retry = excluded.retry,
    due_at = excluded.due_at,
    claims = 0,
    lease_token = NULL,
    lease_until = NULL

-- name: remove
DELETE FROM due_notifications WHERE notification_id = ANY(%(notifications)s)

-- name: pull_forward
UPDATE due_notifications d
   SET due_at = later.recorded_at
  FROM unnest(%(stream)s::uuid[], %(version)s::bigint[], %(supersede_key)s::text[], %(recorded_at)s::timestamptz[])
       AS later (stream, version, supersede_key, recorded_at)
 WHERE d.cause_stream = later.stream
   AND d.cause_version < later.version
   AND later.supersede_key IN ('', d.supersede_key)
   AND d.due_at > later.recorded_at
   AND d.not_before < '9999-01-01'

-- name: waiting
-- Where something is to be claimed, and since when: an instance, a priority, first attempts or retries. Who has
-- anything open is found by going from one instance and channel to the next in the index: backwards, because
-- at the front of each lie the removed rows that an old snapshot keeps.
WITH RECURSIVE open (instance_id, channel) AS (
    (SELECT instance_id, channel FROM due_notifications
      WHERE not_before < '9999-01-01 00:00:00+00'
      ORDER BY instance_id DESC, channel DESC
      LIMIT 1)
    UNION ALL
    SELECT next.instance_id, next.channel
      FROM open
     CROSS JOIN LATERAL (
         SELECT d.instance_id, d.channel
           FROM due_notifications d
          WHERE d.not_before < '9999-01-01 00:00:00+00'
            AND (d.instance_id, d.channel) < (open.instance_id, open.channel)
          ORDER BY d.instance_id DESC, d.channel DESC
          LIMIT 1) AS next
),
-- What is paused is not claimed, for one instance or, with an empty name, for all.
told AS MATERIALIZED (
    SELECT instance_id, channel,
           channel = ANY(%(channels)s::text[])
           AND NOT EXISTS (SELECT 1 FROM delivery_pauses p
                            WHERE p.instance_id IN ('', open.instance_id)
                              AND p.channel IN ('', open.channel)) AS is_served
      FROM open
),
served AS (
    SELECT instance_id, array_agg(channel) AS channels FROM told WHERE is_served GROUP BY instance_id
)
SELECT s.instance_id, p.priority, k.retry, first.due_at, NULL
  FROM served s
 CROSS JOIN unnest(%(priorities)s::bigint[]) AS p (priority)
 CROSS JOIN unnest(%(retries)s::boolean[]) AS k (retry)
 CROSS JOIN LATERAL (
     SELECT d.due_at
       FROM due_notifications d
      WHERE d.instance_id = s.instance_id
        AND d.priority = p.priority
        AND d.retry = k.retry
        AND d.due_at <= %(now)s
        AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
        AND d.channel = ANY(s.channels)
        AND d.notification_id NOT IN (SELECT unnest(%(left_alone)s::uuid[]))
      ORDER BY d.due_at
      LIMIT 1) AS first
UNION ALL
-- Expiry runs on where nobody sends.
SELECT t.instance_id, first.priority, first.retry, first.due_at, t.channel
  FROM told t
 CROSS JOIN LATERAL (
     SELECT d.priority, d.retry, d.due_at
       FROM due_notifications d
      WHERE d.instance_id = t.instance_id
        AND d.channel = t.channel
        AND d.expires_at <= %(now)s
        AND d.not_before < '9999-01-01 00:00:00+00'
        AND d.priority = ANY(%(priorities)s::bigint[])
        AND d.retry = ANY(%(retries)s::boolean[])
        AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
        AND d.notification_id NOT IN (SELECT unnest(%(left_alone)s::uuid[]))
      ORDER BY d.expires_at
      LIMIT 1) AS first
 WHERE NOT t.is_served

-- name: claim
-- From each of these places its share, the longest due first, until there are enough.
WITH due AS (
    SELECT d.row, d.claims, place.number
      FROM unnest(%(instances)s::text[], %(priorities)s::bigint[], %(retries)s::boolean[],
                  %(since)s::timestamptz[], %(unserved)s::text[], %(shares)s::bigint[])
           WITH ORDINALITY AS place (instance_id, priority, retry, since, channel, share, number)
     CROSS JOIN LATERAL (
         SELECT ARRAY(SELECT channel FROM unnest(%(channels)s::text[]) AS mine (channel)
                       WHERE NOT EXISTS (SELECT 1 FROM delivery_pauses p
                                          WHERE p.instance_id IN ('', place.instance_id)
                                            AND p.channel IN ('', mine.channel))) AS channels
         OFFSET 0) AS served
     CROSS JOIN LATERAL (
         SELECT d.row, d.claims
           FROM (SELECT d.ctid AS row, d.claims
                   FROM due_notifications d
                  WHERE place.channel IS NULL
                    AND d.instance_id = place.instance_id
                    AND d.priority = place.priority
                    AND d.retry = place.retry
                    AND d.due_at >= place.since
                    AND d.due_at <= %(now)s
                    AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
                    AND d.channel = ANY(served.channels)
                    AND d.notification_id NOT IN (SELECT unnest(%(left_alone)s::uuid[]))
                  ORDER BY d.due_at
                  LIMIT place.share
                    FOR UPDATE SKIP LOCKED) AS d
          UNION ALL
         SELECT d.row, d.claims
           FROM (SELECT d.ctid AS row, d.claims
                   FROM due_notifications d
                  WHERE d.instance_id = place.instance_id
                    AND d.channel = place.channel
                    AND d.expires_at <= %(now)s
                    AND d.not_before < '9999-01-01 00:00:00+00'
                    AND d.priority = place.priority
                    AND d.retry = place.retry
                    AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
                    AND d.notification_id NOT IN (SELECT unnest(%(left_alone)s::uuid[]))
                  ORDER BY d.expires_at
                  LIMIT place.share
                    FOR UPDATE SKIP LOCKED) AS d) AS d
     ORDER BY place.number
     LIMIT %(limit)s
),
-- What has lost two claims may be what kills its worker: when its turn comes it is taken alone.
first AS (
    SELECT due.row, claims, number FROM due LIMIT 1
),
chosen AS (
    SELECT first.row, number FROM first WHERE claims >= 2
    UNION ALL
    SELECT due.row, number FROM due
     WHERE claims < 2 AND NOT EXISTS (SELECT 1 FROM first WHERE claims >= 2)
)
UPDATE due_notifications d
   SET lease_token = %(token)s,
       lease_until = clock_timestamp() + %(lease)s,
       -- Bounded: what can never be read is claimed for ever, and must not overflow everybody's claim.
       claims = least(d.claims + 1, 10000)
  -- A claim that is lost in a crash is no harm, so it waits for no disk (ADR 8).
  FROM chosen, set_config('synchronous_commit', 'off', true)
 -- Where a row is locked it stays: it is found again without an index.
 WHERE d.ctid = chosen.row
RETURNING d.notification_id, d.instance_id, d.lease_token, d.claims - 1, chosen.number - 1, d.due_at

-- name: claim_in_order
-- The first in the log of what is due in an instance is its head; nothing behind it is taken while somebody
-- has its lease. What a worker was lost with steps aside while it is tried again.
WITH RECURSIVE instances (instance_id) AS (
    (SELECT instance_id FROM due_notifications ORDER BY instance_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.instance_id FROM due_notifications d
             WHERE d.instance_id > i.instance_id ORDER BY d.instance_id LIMIT 1)
      FROM instances i
     WHERE i.instance_id IS NOT NULL
),
served AS MATERIALIZED (
    SELECT i.instance_id,
           lately.served_before,
           ARRAY(SELECT channel FROM unnest(%(channels)s::text[]) AS mine (channel)
                  WHERE NOT EXISTS (SELECT 1 FROM delivery_pauses p
                                     WHERE p.instance_id IN ('', i.instance_id)
                                       AND p.channel IN ('', mine.channel))) AS channels
      FROM instances i
      LEFT JOIN unnest(%(recent)s::text[]) WITH ORDINALITY AS lately (instance_id, served_before)
        ON lately.instance_id = i.instance_id
     WHERE i.instance_id IS NOT NULL
),
heads AS MATERIALIZED (
    SELECT head.notification_id, head.claims, head.is_free,
           row_number() OVER (ORDER BY i.served_before NULLS FIRST, i.instance_id <= %(after)s, i.instance_id) AS turn
      FROM served i
     CROSS JOIN LATERAL (
         SELECT d.notification_id, d.claims, d.lease_until IS NULL OR d.lease_until < clock_timestamp() AS is_free
           FROM (VALUES (0), (1), (2)) AS p (priority)
          CROSS JOIN unnest(%(retries)s::boolean[]) AS k (retry)
          CROSS JOIN LATERAL (
              SELECT d.notification_id, d.due_at, d.claims, d.lease_until
                FROM due_notifications d
               WHERE d.instance_id = i.instance_id
                 AND d.priority = p.priority
                 AND d.retry = k.retry
                 AND d.due_at <= %(now)s
                 AND d.channel = ANY(i.channels)
                 AND NOT (d.claims > 1 AND d.lease_until IS NOT NULL AND d.lease_until >= clock_timestamp())
                 AND d.notification_id NOT IN (SELECT unnest(%(left_alone)s::uuid[]))
               ORDER BY d.due_at
               FETCH FIRST 1 ROWS WITH TIES) AS d
           -- What one batch decided is due at the same time: the log knows which came first.
           JOIN events e ON e.originator_id = d.notification_id AND e.originator_version = 1
          ORDER BY d.due_at, e.notification_id
          LIMIT 1
     ) AS head
     ORDER BY turn
     LIMIT %(limit)s
),
-- As above: what may kill its worker is taken alone, when its turn comes.
first AS (
    SELECT notification_id, claims FROM heads WHERE is_free ORDER BY turn LIMIT 1
),
taken AS (
    SELECT notification_id FROM first WHERE claims >= 2
    UNION ALL
    SELECT notification_id FROM heads WHERE claims < 2 AND NOT EXISTS (SELECT 1 FROM first WHERE claims >= 2)
),
-- What expired where nobody sends is nobody's head: it is cancelled in passing.
expired AS (
    SELECT d.notification_id
      FROM served i
     CROSS JOIN LATERAL (
         SELECT d.notification_id
           FROM due_notifications d
          WHERE d.instance_id = i.instance_id
            AND d.expires_at <= %(now)s
            AND d.not_before < '9999-01-01 00:00:00+00'
            AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
            AND d.channel <> ALL(i.channels)
            AND d.claims < 2
            AND d.notification_id NOT IN (SELECT unnest(%(left_alone)s::uuid[]))
          LIMIT 1) AS d
     WHERE NOT EXISTS (SELECT 1 FROM first WHERE claims >= 2)
     LIMIT %(limit)s
),
-- Of these too, what may kill its worker is taken alone: when there is nothing else. It is all that is left of them.
deadly AS (
    SELECT one.notification_id
      FROM served i
     CROSS JOIN LATERAL (
         SELECT d.notification_id
           FROM due_notifications d
          WHERE d.instance_id = i.instance_id
            AND d.expires_at <= %(now)s
            AND d.not_before < '9999-01-01 00:00:00+00'
            AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
            AND d.channel <> ALL(i.channels)
            AND d.notification_id NOT IN (SELECT unnest(%(left_alone)s::uuid[]))
          LIMIT 1) AS one
     WHERE NOT EXISTS (SELECT 1 FROM taken)
       AND NOT EXISTS (SELECT 1 FROM expired)
     LIMIT 1
),
-- Seen free above, but perhaps taken since: looked at again under the row's lock.
chosen AS (
    SELECT d.notification_id
      FROM due_notifications d
     WHERE d.notification_id IN (
               SELECT notification_id FROM taken
               UNION ALL SELECT notification_id FROM expired
               UNION ALL SELECT notification_id FROM deadly)
       AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
       FOR UPDATE SKIP LOCKED
)
UPDATE due_notifications d
   SET lease_token = %(token)s,
       lease_until = clock_timestamp() + %(lease)s,
       claims = least(d.claims + 1, 10000)
  FROM chosen, set_config('synchronous_commit', 'off', true)
 WHERE d.notification_id = chosen.notification_id
RETURNING d.notification_id, d.instance_id, d.lease_token, d.claims - 1

-- name: held
-- With the versions of their streams, and of the streams of their causes where these are to be written to.
SELECT d.notification_id, d.lease_token, d.lease_until > clock_timestamp() + %(margin)s,
       (SELECT max(e.originator_version) FROM events e WHERE e.originator_id = d.notification_id),
       CASE WHEN claim.ends
            THEN (SELECT max(e.originator_version) FROM events e WHERE e.originator_id = d.cause_stream)
            ELSE 0
       END,
       d.lease_until - %(margin)s,
       (SELECT max(e.notification_id) FROM events e)
  FROM unnest(%(notifications)s::uuid[], %(tokens)s::bigint[], %(ends)s::boolean[])
       AS claim (notification_id, lease_token, ends)
  JOIN due_notifications d USING (notification_id, lease_token)

-- name: renew
-- What is just being written to is left out: its outcome is on its way, and waiting for rows in an order of
-- our own could stand against whoever writes to them in another.
UPDATE due_notifications d
   SET lease_until = clock_timestamp() + %(lease)s
  FROM (SELECT leased.notification_id
          FROM unnest(%(notifications)s::uuid[], %(tokens)s::bigint[]) AS claim (notification_id, lease_token)
          JOIN due_notifications leased USING (notification_id, lease_token)
         WHERE leased.lease_until > clock_timestamp()
           FOR UPDATE OF leased SKIP LOCKED) AS mine
 WHERE d.notification_id = mine.notification_id
RETURNING d.notification_id

-- name: release
UPDATE due_notifications d
   SET lease_token = NULL,
       lease_until = clock_timestamp() + %(rest)s::interval,
       claims = greatest(d.claims - 1, 0)
  FROM unnest(%(notifications)s::uuid[], %(tokens)s::bigint[]) AS claim (notification_id, lease_token)
 WHERE d.notification_id = claim.notification_id
   AND d.lease_token = claim.lease_token

-- name: next_due
SELECT min(due_at) FROM due_notifications WHERE lease_until IS NULL OR lease_until < clock_timestamp()

-- name: depth
SELECT count(*)::int,
       greatest(coalesce(extract(epoch FROM %(now)s - min(due_at)), 0), 0)::float8
  FROM due_notifications
 WHERE not_before < '9999-01-01'
