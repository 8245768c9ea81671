-- Most rows are written three times: waiting, under way, sent. No index names a state any more, so that the
-- steps between stay on their page (HOT), for which the page keeps room; only closing touches the indexes.
DROP INDEX notifications_state_idx;
CREATE INDEX notifications_open_idx ON notifications (instance_id, position) WHERE closed_at IS NULL;
ALTER TABLE notifications SET (fillfactor = 60);

-- Times rise with positions, so a time is looked up among the positions.
DROP INDEX notifications_time_idx;

-- Most go by mail; who asks for the others finds them at once, and mail pays nothing for it.
CREATE INDEX notifications_channel_idx ON notifications (instance_id, channel, position) WHERE channel <> 'email';
