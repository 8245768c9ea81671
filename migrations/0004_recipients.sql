-- What the handler knows of each user, session, organisation and instance; sealed under the subject's key.
CREATE TABLE recipients (
    instance_id text NOT NULL,
    subject text NOT NULL,
    version bigint NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (instance_id, subject)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON recipients TO tidings_app;
