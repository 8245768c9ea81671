-- Who has anything open is looked for by instance and channel, and what has expired by these two:
-- one index serves both.
DROP INDEX due_notifications_expiry_idx;
CREATE INDEX due_notifications_expiry_idx ON due_notifications (instance_id, channel, expires_at)
    WHERE not_before < '9999-01-01 00:00:00+00';

-- A claim takes all rows of a page at once: less than half of it may be filled for their new versions to stay
-- on it (HOT). With 60 of 100 every third claimed row moved, and all its index entries with it.
ALTER TABLE due_notifications SET (fillfactor = 45);
