-- name: close
-- The rows of closed notifications go, and with them the codes of events that have no open notification left.
WITH closed AS (
    DELETE FROM due_notifications
     WHERE notification_id = ANY(%(notifications)s)
    RETURNING cause_stream, cause_version
)
DELETE FROM secrets s
 USING closed
 WHERE s.stream_id = closed.cause_stream
   AND s.stream_version = closed.cause_version
   AND s.expires_at IS NOT NULL
   AND NOT EXISTS (
       SELECT 1 FROM due_notifications d
        WHERE d.cause_stream = closed.cause_stream
          AND d.cause_version = closed.cause_version
          -- What this statement removes it still sees.
          AND d.notification_id <> ALL(%(notifications)s)
   )
