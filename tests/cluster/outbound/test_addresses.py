"""A tenant's URL reaches no address that is not public, in whatever form the address is written."""

import pytest

from cluster.outbound import OutboundClient, RefusalReason, Refused
from cluster.outbound.addresses import AddressRules
from cluster.settings import Settings
from tests.cluster.outbound.outside import (
    PERMITTED,
    OutsideServer,
    addresses,
    answering,
    outside,
    reaching,
)

#: Hosts of URLs that lead into the cluster's own network, or to none.
INNER_HOSTS = [
    "127.0.0.2",
    "localhost",
    "2130706434",
    "0x7f000002",
    "0x7f.0.0.2",
    "017700000002",
    "127.2",
    "[::ffff:127.0.0.2]",
    "[::ffff:7f00:2]",
    "[::1]",
    "[::]",
    "[::127.0.0.1]",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "168.63.129.16",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "0.0.0.0",
    "0",
    "192.0.0.8",
    "198.18.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "224.0.0.1",
    "239.255.255.250",
    "[64:ff9b::7f00:2]",
    "[64:ff9b:1::7f00:2]",
    "[2002:7f00:2::]",
    "[2001:0:7f00:2::]",
    "[2001:db8::1]",
    "[fd00::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[4000::1]",
    "[5f00::1]",
]
#: Characters that some clients turn into digits and dots.
LOOKALIKES = ["①②⑦.⓪.⓪.②", "１２７.０.０.２", "127。0。0。2", "[fe80::1%25lo]", "[::1"]


@pytest.mark.parametrize("host", INNER_HOSTS)
def test_an_inner_address_is_refused_in_each_form(host: str, strict: OutboundClient) -> None:
    with pytest.raises(Refused) as refused:
        strict.get(f"http://{host}/", max_bytes=100, deadline_s=10)

    assert refused.value.reason == RefusalReason.ADDRESS
    assert str(refused.value) == "the host has an address that is not on the public internet"


@pytest.mark.parametrize("host", LOOKALIKES)
def test_characters_that_look_like_an_address_are_no_host(host: str, strict: OutboundClient) -> None:
    with pytest.raises(Refused):
        strict.get(f"http://{host}/", max_bytes=100, deadline_s=10)


@pytest.mark.parametrize("host", INNER_HOSTS)
def test_a_redirect_to_an_inner_address_is_refused(
    host: str, server: OutsideServer, client: OutboundClient
) -> None:
    server.answers["/"] = answering(302, location=f"http://{host}:{server.port}/secret")
    server.answers["/secret"] = answering(200, b"secret")
    with pytest.raises(Refused) as refused:
        client.get(server.url(), max_bytes=100, deadline_s=10)

    assert refused.value.reason == RefusalReason.ADDRESS
    assert [path for _, path, _, _ in server.requests] == ["/"]


@pytest.mark.parametrize("others", [["8.8.8.8", "10.0.0.1"], ["2606:4700::1", "::1"], ["fd00::1", "8.8.8.8"]])
def test_one_inner_address_among_public_ones_is_enough(others: list[str]) -> None:
    client = OutboundClient(Settings(), resolver=addresses(others))

    with pytest.raises(Refused) as refused:
        client.get("http://both.example/", max_bytes=100, deadline_s=10)

    assert refused.value.reason == RefusalReason.ADDRESS
    assert not any(address in str(refused.value) for address in others)


def test_a_resolver_that_changes_its_answer_leads_nowhere_else(server: OutsideServer) -> None:
    server.answers["/"] = answering(200, b"permitted")
    url, settings = f"http://rebinding.example:{server.port}/", reaching(server.port)
    # The first request asks once. A second question of the same request would lead to the inner address.
    client = OutboundClient(settings, resolver=addresses(PERMITTED, "127.0.0.2"))

    first = client.get(url, max_bytes=100, deadline_s=10)
    with pytest.raises(Refused):
        client.get(url, max_bytes=100, deadline_s=10)

    assert (first.body, first.url) == (b"permitted", url)
    assert [headers["host"] for _, _, headers, _ in server.requests] == [f"rebinding.example:{server.port}"]


def test_a_redirect_resolves_its_host_again(server: OutsideServer) -> None:
    server.answers["/"] = answering(307, location="/again")
    client = OutboundClient(reaching(server.port), resolver=addresses(PERMITTED, "127.0.0.2"))
    with pytest.raises(Refused):
        client.get(f"http://rebinding.example:{server.port}/", max_bytes=100, deadline_s=10)

    assert [path for _, path, _, _ in server.requests] == ["/"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_operator_permits_inner_networks_and_denies_public_ones(host: str) -> None:
    with outside(host) as server:
        url = f"http://[{host}]:{server.port}/" if ":" in host else server.url()
        server.answers["/"] = answering(200, b"inner")
        open_to = reaching(server.port, outbound_allow_cidrs=("127.0.0.0/8", "::1/128"))
        closed = open_to.model_copy(update={"outbound_deny_cidrs": ("127.0.0.1/32", "::1/128")})

        answer = OutboundClient(open_to).get(url, max_bytes=100, deadline_s=10)
        with pytest.raises(Refused):
            OutboundClient(closed).get(url, max_bytes=100, deadline_s=10)

    assert answer.body == b"inner"
    assert AddressRules(deny=["8.8.8.0/24"]).permits("8.8.4.4")
    assert not AddressRules(deny=["8.8.8.0/24"]).permits("::ffff:8.8.8.8")


def test_public_addresses_are_permitted() -> None:
    rules = AddressRules()
    public = ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8"]
    assert [address for address in public if not rules.permits(address)] == []


def test_settings_read_networks_and_refuse_other_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_OUTBOUND_ALLOW_CIDRS", "10.2.0.0/16, fd00::/8")
    monkeypatch.setenv("CLUSTER_OUTBOUND_PORTS", "8443,8080")
    settings = Settings()
    assert settings.outbound_allow_cidrs == ("10.2.0.0/16", "fd00::/8")
    assert settings.outbound_ports == (8443, 8080)
    monkeypatch.setenv("CLUSTER_OUTBOUND_ALLOW_CIDRS", "10.2.0.1/16")
    with pytest.raises(ValueError, match="host bits"):
        Settings()
