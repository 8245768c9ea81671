-- The history: one row a notification, for admins to find it by. Derived from the log, may be rebuilt.
CREATE TABLE notifications (
    id uuid PRIMARY KEY,
    instance_id text NOT NULL,
    state text NOT NULL,
    reason text,
    message_type text NOT NULL,
    channel text NOT NULL,
    user_id text NOT NULL,
    organisation_id text NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    attempts integer NOT NULL,
    requested_at timestamptz NOT NULL,
    closed_at timestamptz,
    -- Of the decision: lists go by it, newest first.
    position bigint NOT NULL,
    -- Of the stream, as far as it is in this row.
    version bigint NOT NULL,
    CHECK (state IN ('waiting', 'attempting', 'transmitting', 'parked', 'sent', 'cancelled', 'declined')),
    CHECK ((closed_at IS NOT NULL) = (state IN ('sent', 'cancelled', 'declined')))
) WITH (fillfactor = 80);

CREATE INDEX notifications_list_idx ON notifications (instance_id, position);
CREATE INDEX notifications_user_idx ON notifications (instance_id, user_id, position);
CREATE INDEX notifications_event_idx ON notifications (instance_id, event_id, position);
CREATE INDEX notifications_time_idx ON notifications (instance_id, requested_at);
CREATE INDEX notifications_organisation_idx ON notifications (instance_id, organisation_id, position)
    WHERE organisation_id <> '';
-- Most are sent; who asks for them finds enough on the newest pages. The others are worth finding at once.
CREATE INDEX notifications_state_idx ON notifications (instance_id, state, position)
    WHERE state <> 'sent';
CREATE INDEX notifications_reason_idx ON notifications (instance_id, reason, position)
    WHERE reason IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON notifications TO tidings_app;
