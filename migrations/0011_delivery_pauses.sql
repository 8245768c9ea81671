-- What operators have paused: the inline projection of the streams of settings.
-- An empty instance stands for all of them, an empty channel for every channel.
CREATE TABLE delivery_pauses (
    instance_id text NOT NULL,
    channel text NOT NULL,
    -- Of the event that says so, with the reason.
    position bigint NOT NULL,
    PRIMARY KEY (instance_id, channel)
);

-- Behind the columns it is ordered by stands the channel, so that the backlog of one that is paused is
-- passed over in the index alone.
DROP INDEX due_notifications_due_idx;
CREATE INDEX due_notifications_due_idx ON due_notifications (instance_id, priority, due_at, channel);

-- Expiry runs on in a backlog that nobody may send: found without walking through it. What is parked
-- has long expired too, and waits for a person.
CREATE INDEX due_notifications_expiry_idx ON due_notifications (instance_id, priority, expires_at)
    WHERE not_before < '9999-01-01 00:00:00+00';

GRANT SELECT, INSERT, DELETE ON delivery_pauses TO tidings_app;
