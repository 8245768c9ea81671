-- name: position
SELECT position FROM tracking WHERE projection = %(projection)s

-- name: begin
INSERT INTO tracking (projection, position) VALUES (%(projection)s, 0) ON CONFLICT DO NOTHING

-- name: advance
UPDATE tracking SET position = %(to)s WHERE projection = %(projection)s AND position = %(since)s
RETURNING position

-- name: positions
SELECT projection, position FROM tracking ORDER BY projection

-- name: try_to_lead
SELECT pg_try_advisory_xact_lock(hashtextextended(%(projection)s, 0))
