-- name: since
SELECT e.notification_id, e.instance_id, e.originator_id, e.originator_version, e.topic, e.recorded_at, e.state
  FROM unnest(%(streams)s::uuid[], %(versions)s::bigint[]) AS known (stream, version)
  JOIN events e ON e.originator_id = known.stream AND e.originator_version > known.version
 WHERE starts_with(e.topic, %(prefix)s)
 ORDER BY e.originator_id, e.originator_version

-- name: pauses
SELECT provider, until, faults, error FROM account_pauses WHERE instance_id = %(instance)s

-- name: pause
INSERT INTO account_pauses (instance_id, provider, until, faults, error)
VALUES (%(instance)s, %(provider)s, %(until)s, %(faults)s, %(error)s)
ON CONFLICT (instance_id, provider)
DO UPDATE SET until = excluded.until, faults = excluded.faults, error = excluded.error

-- name: lift
DELETE FROM account_pauses WHERE instance_id = %(instance)s AND provider = %(provider)s

-- name: version
SELECT coalesce(max(originator_version), 0) FROM events WHERE originator_id = %(stream)s
