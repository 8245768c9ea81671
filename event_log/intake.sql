-- name: look_up
SELECT event_id AS id, notification_id AS number, substring(state FOR 34) AS header
  FROM events
 WHERE event_id = ANY(%(event_ids)s)
 UNION ALL
SELECT wanted.stream,
       coalesce((SELECT max(originator_version) FROM events WHERE originator_id = wanted.stream), 0),
       NULL
  FROM unnest(%(streams)s::uuid[]) AS wanted (stream)

-- name: now
SELECT clock_timestamp()
