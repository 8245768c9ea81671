-- name: begin
INSERT INTO give_up_hook (position) SELECT coalesce(max(notification_id), 0) FROM events ON CONFLICT DO NOTHING

-- name: position
SELECT position FROM give_up_hook

-- name: ahead
-- What newer code calls by a name unknown here might be a give-up too.
WITH ahead AS (
    SELECT notification_id, instance_id, originator_id, originator_version, topic, recorded_at, state,
           topic = ANY(%(topics)s) OR (starts_with(topic, %(ours)s) AND NOT topic = ANY(%(known)s)) AS wanted
      FROM events
     WHERE notification_id > %(position)s
     ORDER BY notification_id
     LIMIT %(limit)s
)
SELECT notification_id, instance_id, originator_id, originator_version, topic, recorded_at,
       CASE WHEN wanted THEN state END
  FROM ahead
 WHERE wanted OR notification_id = (SELECT max(notification_id) FROM ahead)
 ORDER BY notification_id

-- name: pass_over
UPDATE give_up_hook SET position = %(to)s WHERE position = %(since)s

-- name: told
UPDATE give_up_hook
   SET position = %(to)s, reported = reported + 1, failures = 0, failing_since = NULL
 WHERE position = %(since)s

-- name: failed
UPDATE give_up_hook
   SET failures = failures + 1, failing_since = coalesce(failing_since, %(now)s)
 WHERE position = %(since)s

-- name: standing
SELECT position, reported, failures, coalesce(extract(epoch FROM %(now)s - failing_since), 0)::float8
  FROM give_up_hook
