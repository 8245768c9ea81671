-- name: missing_tables
SELECT name
  FROM unnest(%(tables)s::text[]) AS wanted (name)
 WHERE to_regclass(name) IS NULL

-- name: projections
SELECT projection, position FROM tracking ORDER BY projection

-- name: head
SELECT coalesce((SELECT notification_id FROM events ORDER BY notification_id DESC LIMIT 1), 0)

-- name: due
SELECT count(*), coalesce(extract(epoch FROM %(now)s - min(due_at)), 0)::float8
  FROM due_notifications
 WHERE due_at <= %(now)s

-- name: open
SELECT count(*) FROM due_notifications

-- name: quarantined
SELECT count(*) FROM quarantined_events
