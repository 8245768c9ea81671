-- How far the operator's receiver has been told of give-ups: one row from the first time it is configured.
-- No projection: it says what has left the house, so that no replay or rebuild may ever move it.
CREATE TABLE give_up_hook (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL,
    reported bigint NOT NULL DEFAULT 0,
    -- Calls in a row that failed, for those who watch.
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz
);

GRANT SELECT, INSERT, UPDATE ON give_up_hook TO tidings_app;
