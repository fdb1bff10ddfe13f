"""DHCP for IPv4 (RFC 2131, RFC 2132)."""
