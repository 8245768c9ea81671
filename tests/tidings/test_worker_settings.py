from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from event_log import due_queue
from tidings.errors import SettingsInvalid
from tidings.handler_process import deployment
from tidings.setting_origins import CODER, ORIGINS, OUTBOX, ZITADEL, profile, serves
from tidings.settings import Settings
from tidings.settings_file import load_settings
from tidings.settings_listing import settings_in_force
from tidings.settings_names import members, variable
from tidings.worker_process import worker_log, worker_settings
from tidings.worker_settings import FENCE_MARGIN, WorkerSettings, worker_processes

ROOT = Path(__file__).parents[2]


@dataclass
class Site:
    directory: Path
    setenv: Callable[[str, str], None]

    def load(self, workers: dict[str, Any] | str, **environment: str) -> Settings:
        text = workers if isinstance(workers, str) else yaml.safe_dump({"workers": workers})
        (self.directory / "tidings.yaml").write_text(text)
        for name, value in environment.items():
            self.setenv(name, value)
        return load_settings()

    def refusal(self, workers: dict[str, Any] | str, **environment: str) -> str:
        with pytest.raises(SettingsInvalid) as refused:
            self.load(workers, **environment)
        return "\n".join(refused.value.faults)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    for name, _ in members():
        monkeypatch.delenv(variable(name), raising=False)
    monkeypatch.delenv("TIDINGS_CONFIG", raising=False)
    return Site(tmp_path, monkeypatch.setenv)


def test_the_document_lists_every_setting_as_it_is() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "settings"), "--check"], check=False)
    assert done.returncode == 0, "docs/settings.md is stale: run scripts/settings"


EVERY_SETTING = [
    "processes",
    "workers",
    "retry_workers",
    "bulk_limit",
    "requeue_every",
    "retry_requeue_every",
    "handle_active_instances",
    "max_active_instances",
    "transaction_duration",
    "max_attempts",
    "stop_timeout",
    "max_claims",
    "max_ttl",
    "min_retry_delay",
    "max_retry_delay",
    "retry_delay_factor",
    "legacy_mode",
    "lease_period",
    "dispatch_timeout",
    "result_buffer_size",
    "store_sync_interval",
    "startup_drain",
    "jitter",
    "metrics_port",
    "channels",
]


def test_every_setting_that_operators_know_is_there() -> None:
    assert sorted(WorkerSettings.model_fields) == sorted(EVERY_SETTING)
    assert {origin.setting for origin in ORIGINS} <= set(EVERY_SETTING)


@pytest.mark.parity("S3.5")
def test_no_other_part_has_a_setting_for_active_instances() -> None:
    assert [name for name, _ in members() if "active_instances" in "".join(name)] == [
        ("workers", "handle_active_instances"),
        ("workers", "max_active_instances"),
    ]


@pytest.mark.parametrize("system", [ZITADEL, CODER, OUTBOX])
@pytest.mark.parity("S2.11")
def test_a_profile_is_a_valid_file_with_that_systems_values(site: Site, system: str) -> None:
    values = profile(system)
    lines = "".join(f"  {key}: {value}\n" for key, value in values.items())
    settings = site.load(f"workers:\n{lines}")
    in_force = {one.name: one.value for one in settings_in_force(settings)}
    again = site.load(f"workers:\n{lines}")
    assert again == settings
    for key, value in values.items():
        assert str(in_force[f"workers.{key}"]).lower().removesuffix(".0") == value


@pytest.mark.parity("S2.11")
def test_a_profile_holds_the_numbers_that_system_has() -> None:
    assert profile(ZITADEL) == {
        "workers": "1",
        "retry_workers": "1",
        "bulk_limit": "10",
        "requeue_every": "2s",
        "retry_requeue_every": "2s",
        "handle_active_instances": "0s",
        "max_active_instances": "0",
        "transaction_duration": "10s",
        "max_attempts": "3",
        "max_ttl": "5m",
        "min_retry_delay": "1s",
        "max_retry_delay": "20s",
        "retry_delay_factor": "1.5",
    }


@pytest.mark.parity("S1.LegacyEnabled", "S2.2")
def test_legacy_mode_is_off_unless_it_is_asked_for(site: Site) -> None:
    assert worker_settings(site.load({})).in_order is False
    assert worker_settings(site.load({"legacy_mode": True})).in_order is True
    assert worker_settings(site.load({}, TIDINGS_WORKERS__LEGACY_MODE="true")).in_order is True


@pytest.mark.parity("S1.MaxTtl")
def test_a_time_to_live_reaches_the_handler_that_decides(site: Site) -> None:
    assert deployment(site.load({})).max_ttl is None
    assert deployment(site.load({"max_ttl": "5m"})).max_ttl == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("lease_count", "bulk_limit"),
        ("claimBatchSize", "bulk_limit"),
        ("fetch_interval", "requeue_every"),
        ("WorkerInterval", "requeue_every"),
        ("retry_interval", "min_retry_delay"),
        ("max_send_attempts", "max_attempts"),
        ("store_sync_buffer_size", "result_buffer_size"),
        ("sync_interval", "store_sync_interval"),
        ("LegacyEnabled", "legacy_mode"),
        ("backoff_jitter", "jitter"),
        ("concurrency", "workers"),
    ],
)
def test_who_uses_another_systems_name_is_told_ours(site: Site, foreign: str, ours: str) -> None:
    assert serves(foreign) == ours
    sentence = f"workers.{foreign} in tidings.yaml is not a setting; did you mean workers.{ours}?"
    assert sentence in site.refusal({foreign: 1})


def test_another_systems_name_is_refused_in_the_environment_too(site: Site) -> None:
    told = site.refusal({}, TIDINGS_WORKERS__LEASE_COUNT="20")
    assert told == "TIDINGS_WORKERS__LEASE_COUNT is not a setting; did you mean workers.bulk_limit?"


@pytest.mark.parity("S5.14", "LSE-3")
@pytest.mark.parametrize(
    ("workers", "sentence"),
    [
        ({"dispatch_timeout": "30s"}, "dispatch_timeout must be shorter than lease_period by 2s"),
        ({"dispatch_timeout": "28001ms"}, "dispatch_timeout must be shorter than lease_period by 2s"),
        ({"lease_period": "4s", "dispatch_timeout": "3s"}, "must be shorter than lease_period by 2s"),
        ({"lease_period": "3s", "dispatch_timeout": "1s"}, "lease_period must be longer than 3s"),
        ({"store_sync_interval": "30s"}, "store_sync_interval must be shorter than lease_period"),
        ({"workers": 0, "retry_workers": 0}, "to deliver nothing on purpose set processes: 0"),
        (
            {"legacy_mode": True, "retry_workers": 0},
            "legacy_mode keeps first attempts and retries in one order",
        ),
        ({"min_retry_delay": "2h"}, "min_retry_delay must not be longer than max_retry_delay"),
        ({"max_ttl": "4s"}, "max_ttl must not be shorter than min_retry_delay"),
        (
            {"channels": {"sms": {"min_retry_delay": "31m"}}},
            "channels.sms: min_retry_delay must not be longer than max_retry_delay",
        ),
        ({"channels": {"sms": {"max_atempts": 1}}}, "did you mean workers.channels.sms.max_attempts?"),
        ({"channels": {"pigeon": {}}}, "workers.channels.pigeon in tidings.yaml is not a setting"),
        ({"jitter": 1.5}, "workers.jitter in tidings.yaml: must be less than or equal to 1 (given: 1.5)"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_a_sentence(
    site: Site, workers: dict[str, Any], sentence: str
) -> None:
    assert sentence in site.refusal(workers)


@pytest.mark.parity("S6.1")
def test_a_process_without_pools_is_fine_where_nothing_is_to_be_delivered(site: Site) -> None:
    given = site.load({"workers": 0, "retry_workers": 0, "processes": 0})
    assert worker_settings(given).pools() == []


@pytest.mark.parametrize(
    ("workers", "kinds"),
    [
        ({}, [(False,), (True,), (False,)]),  # the last keeps places for codes
        ({"workers": 0}, [(True,)]),
        ({"retry_workers": 0}, [(False,), (False,)]),
        ({"legacy_mode": True}, [(False, True)]),
    ],
)
@pytest.mark.parity("S1.8", "S1.LegacyEnabled", "S1.Workers", "S1.RetryWorkers", "S2.2")
def test_0_switches_a_pool_off(site: Site, workers: dict[str, Any], kinds: list[tuple[bool, ...]]) -> None:
    assert [pool.retries for pool in worker_settings(site.load(workers)).pools()] == kinds


@pytest.mark.parity("S1.MaxAttempts", "S1.RetryDelayFactor")
def test_retries_of_one_channel_differ_where_it_says_so(site: Site) -> None:
    given = site.load(
        {"max_attempts": 4, "channels": {"sms": {"max_attempts": 2}}},
        TIDINGS_WORKERS__CHANNELS__SMS__RETRY_DELAY_FACTOR="3",
    )
    told = worker_settings(given)
    assert told.policy_of("email").max_attempts == 4
    assert told.policy_of("sms").max_attempts == 2
    assert (told.policy_of("email").factor, told.policy_of("sms").factor) == (2.0, 3.0)


@pytest.mark.parity(
    "S1.Workers",
    "S1.RetryWorkers",
    "S1.BulkLimit",
    "S1.RequeueEvery",
    "S1.RetryRequeueEvery",
    "S1.HandleActiveInstances",
    "S1.MinRetryDelay",
    "S1.MaxRetryDelay",
    "S3.4",
)
def test_every_setting_reaches_the_worker(site: Site) -> None:
    told = worker_settings(
        site.load(
            {
                "workers": 7,
                "retry_workers": 3,
                "bulk_limit": 5,
                "requeue_every": "2s",
                "retry_requeue_every": "3s",
                "startup_drain": False,
                "handle_active_instances": "1m",
                "max_active_instances": 9,
                "lease_period": "40s",
                "dispatch_timeout": "11s",
                "stop_timeout": "9s",
                "max_claims": 6,
                "result_buffer_size": 8,
                "store_sync_interval": "250ms",
                "min_retry_delay": "6s",
                "max_retry_delay": "7s",
                "jitter": 0.5,
            }
        )
    )
    first, retries, codes = told.pools()
    assert (first.size + codes.size, first.batch, first.poll) == (7, 5, 2.0)
    assert codes.poll == first.poll
    assert (retries.size, retries.batch, retries.poll) == (3, 3, 3.0)
    assert (told.startup_drain, told.max_active_instances, told.max_claims) == (False, 9, 6)
    assert told.handle_active_instances == timedelta(minutes=1)
    assert (told.lease, told.dispatch_timeout) == (timedelta(seconds=40), timedelta(seconds=11))
    assert (told.result_buffer, told.result_sync) == (8, timedelta(milliseconds=250))
    assert told.drain == timedelta(seconds=9)
    policy = told.policy_of("email")
    assert (policy.min_delay, policy.max_delay, policy.jitter) == (6.0, 7.0, 0.5)


@pytest.mark.parity("S1.TransactionDuration")
def test_the_limit_of_a_transaction_reaches_the_workers_statements(site: Site, conninfo: str) -> None:
    settings = site.load({"transaction_duration": "250ms"}, TIDINGS_DATABASE_URL=conninfo)
    with worker_log(settings) as log, log.database.connection() as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("250ms",)


def test_the_settings_know_the_margin_of_the_fence() -> None:
    assert due_queue.FENCE_MARGIN == FENCE_MARGIN


def test_a_dispatch_may_take_all_of_a_lease_but_its_margin(site: Site) -> None:
    settings = site.load({"lease_period": "4s", "dispatch_timeout": "2s"})
    assert worker_settings(settings).dispatch_timeout == timedelta(seconds=2)


@pytest.mark.parametrize(
    ("wanted", "cores", "started"),
    [(None, 1, 1), (None, 2, 2), (None, 64, 4), (0, 8, 0), (7, 2, 7)],
)
def test_there_is_a_worker_a_core_unless_a_number_is_given(
    wanted: int | None, cores: int, started: int
) -> None:
    assert worker_processes(wanted, cores) == started
