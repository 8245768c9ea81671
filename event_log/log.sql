-- name: versions
SELECT wanted.stream,
       coalesce((SELECT max(originator_version) FROM events WHERE originator_id = wanted.stream), 0)
  FROM unnest(%(streams)s::uuid[]) AS wanted (stream)

-- name: streams
SELECT notification_id, instance_id, originator_id, originator_version, topic, recorded_at, state
  FROM events
 WHERE originator_id = ANY(%(streams)s)
 ORDER BY originator_id, originator_version

-- name: after
-- Events of the kind that is not asked for stay in the database, but for the place of the page's last.
SELECT position, instance_id, originator_id, originator_version, topic, recorded_at,
       CASE WHEN wanted THEN state END, place
  FROM (SELECT notification_id AS position, instance_id, originator_id, originator_version, topic, recorded_at,
               state,
               CASE WHEN starts_with(topic, 'notification.') OR starts_with(topic, 'tidings.')
                    THEN %(ours)s ELSE %(callers)s END AS wanted,
               row_number() OVER in_order AS place,
               lead(notification_id) OVER in_order AS next
          FROM (SELECT *
                  FROM events
                 WHERE notification_id > %(position)s
                 ORDER BY notification_id
                 LIMIT %(limit)s) AS page
        WINDOW in_order AS (ORDER BY notification_id)) AS placed
 WHERE wanted OR next IS NULL
 ORDER BY position

-- name: head
SELECT notification_id, recorded_at FROM events ORDER BY notification_id DESC LIMIT 1
