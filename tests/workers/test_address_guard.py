"""Where a configured endpoint may lead: nowhere near our own networks, however that is spelled."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from workers.channels.address_guard import ForbiddenAddress, Guard, networks

FORBIDDEN = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.0.8",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "fc00::1", "fe80::1",
    "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_address_inside_is_refused(address: str) -> None:
    assert not Guard().permits(ip_address(address), public=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed_on_public_ports_alone(address: str) -> None:
    assert Guard().permits(ip_address(address), public=True)
    assert not Guard().permits(ip_address(address), public=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://sms.example/", "https://sms.example:8080/", "https://127.0.0.1/", "https://[::1]/",
        "https://[::ffff:10.0.0.1]/", "https://user:pass@sms.example/", "https://user@sms.example/",
        "https://2130706433/", "https://0177.0.0.1/", "https://0x7f.1/", "https://127.1/", "https://0/",
        "https://sms.example.1/", "https://①②⑦.0.0.1/", "https://sms\x00.example/", "https://a b.example/",
        "ftp://sms.example/", "//sms.example/", "sms.example", "", "https://", "https://sms.example:99999/",
        "https://[::1/",
    ],
)  # fmt: skip
def test_an_endpoint_is_refused_as_it_is_written(url: str) -> None:
    assert Guard().fault(url)


@pytest.mark.parametrize(
    "url", ["https://sms.example/a?b=c", "https://sms.example:8443/", "https://1.1.1.1/"]
)
def test_an_endpoint_in_the_open_is_fine(url: str) -> None:
    assert Guard().fault(url) is None


def test_own_networks_are_allowed_with_plain_http_and_any_port() -> None:
    guard = Guard(networks(["10.0.0.0/8"]))
    assert guard.fault("http://10.1.2.3:9000/sms") is None
    assert guard.fault("http://192.168.1.1/")
    assert guard.fault("http://1.1.1.1/")


async def test_a_name_that_leads_inside_is_refused_when_it_is_found() -> None:
    connector = Guard().connector("https://localhost/", limit=1)
    with pytest.raises(ForbiddenAddress):
        await connector._resolver.resolve("localhost", 443)  # what its requests use
    await connector.close()


async def test_the_address_connected_to_is_checked_again() -> None:
    """A resolver is not asked for literals, and may answer differently the second time."""
    connector = Guard().connector("https://sms.example/", limit=1)
    make = connector._socket_factory  # what its connections use
    assert make is not None
    with pytest.raises(ForbiddenAddress):
        make((2, 1, 6, "", ("127.0.0.1", 443)))
    await connector.close()
