-- First attempts and retries are claimed by pools of their own, so the queue tells them apart:
-- a retry has come to an outcome in the current cycle. Part of the projection.
ALTER TABLE due_notifications ADD COLUMN retry boolean NOT NULL DEFAULT false;

UPDATE due_notifications d
   SET retry = true
 WHERE EXISTS (
     SELECT 1 FROM events e
      WHERE e.originator_id = d.notification_id
        AND e.topic IN ('notification.retry.requested', 'notification.outcome.unknown')
        AND e.originator_version > coalesce((
            SELECT max(r.originator_version) FROM events r
             WHERE r.originator_id = d.notification_id AND r.topic = 'notification.resend.requested'), 0)
 );

-- A backlog of one kind is passed over in the index alone.
DROP INDEX due_notifications_due_idx;
CREATE INDEX due_notifications_due_idx ON due_notifications (instance_id, priority, retry, due_at, channel);
