-- name: paused
SELECT EXISTS (SELECT 1 FROM delivery_pauses WHERE instance_id = %(instance)s AND channel = %(channel)s)

-- name: put
INSERT INTO delivery_pauses (instance_id, channel, position)
VALUES (%(instance)s, %(channel)s, %(position)s)
ON CONFLICT (instance_id, channel) DO NOTHING

-- name: remove
DELETE FROM delivery_pauses WHERE instance_id = %(instance)s AND channel = %(channel)s

-- name: standing
SELECT e.notification_id, e.instance_id, e.originator_id, e.originator_version, e.topic, e.recorded_at, e.state
  FROM delivery_pauses p
  JOIN events e ON e.notification_id = p.position
 WHERE p.instance_id IN ('', %(instance)s)
 ORDER BY e.notification_id
