-- name: insert_events
INSERT INTO events (originator_id, originator_version, topic, state, instance_id, event_id)
SELECT *
  FROM unnest(
      %(streams)s::uuid[], %(versions)b::bigint[], %(topics)s::text[],
      %(states)b::bytea[], %(instances)s::text[], %(event_ids)s::uuid[]
  )
RETURNING notification_id
