"""Decides which IP addresses a request to the outside may connect to.

    rules = AddressRules(allow=["10.2.0.0/16"], deny=[])
    rules.permits("93.184.215.14")        # True
    rules.permits("169.254.169.254")      # False

``ipaddress.is_global`` alone is not enough. It is true for some IPv6 addresses that contain an IPv4 address
and lead to this IPv4 address, even if the IPv4 address is not public: addresses of NAT64
(``64:ff9b::7f00:2``), 6to4 (``2002:7f00:2::``) and others. For IPv6, only the range that IANA assigns to
global unicast is permitted.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

#: IPv6 addresses outside this network are not global unicast (RFC 4291, and IANA's registry).
GLOBAL_UNICAST = ip_network("2000::/3")
#: Networks that are refused, also if ``ipaddress`` calls their addresses global.
NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform services, which are reachable from every virtual machine
        "169.254.0.0/16",  # link-local; metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # assignments of IETF protocols
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved; broadcast
        "::/96",  # unspecified, loopback, and the old form of an IPv4 address in IPv6
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 inside a network
        "100::/64",  # discard
        "2001::/23",  # assignments of IETF protocols; 2001::/32 is Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "fc00::/7",  # unique local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
)


def parsed(text: str) -> IPv4Address | IPv6Address:
    """Return the address. An IPv4 address that is mapped into IPv6 (``::ffff:1.2.3.4``) becomes IPv4.

    Raises:
        ValueError: the text is not an IP address.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class AddressRules:
    """The rules of one cluster.

    Args:
        allow: networks of the operator that are permitted although they are not public.
        deny: networks of the operator that are never permitted.
    """

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self._allow = [ip_network(text) for text in allow]
        self._deny = [ip_network(text) for text in deny]

    def permits(self, text: str) -> bool:
        """Return True if a request may connect to this address; False if the text is not an address."""
        try:
            address = parsed(text)
        except ValueError:
            return False
        if any(address in network for network in self._deny):
            return False
        return any(address in network for network in self._allow) or is_public(address)


def is_address(text: str) -> bool:
    """Return True if the text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return True if the address belongs to the public internet, and not to a range with a special use."""
    if isinstance(address, IPv6Address) and (address not in GLOBAL_UNICAST or address.scope_id):
        return False
    if any(address in network for network in NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
