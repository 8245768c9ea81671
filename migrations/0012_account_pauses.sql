-- Provider accounts that workers leave alone for a while because the account itself is at fault.
-- Scheduling, like leases: nothing is lost with a row but the knowledge that saves a vain attempt.
CREATE TABLE account_pauses (
    instance_id text NOT NULL,
    provider text NOT NULL,
    until timestamptz NOT NULL,
    faults integer NOT NULL,
    error text NOT NULL,
    PRIMARY KEY (instance_id, provider)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON account_pauses TO tidings_app;
