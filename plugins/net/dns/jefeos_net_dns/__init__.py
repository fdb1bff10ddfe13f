"""A stub resolver (RFC 1034, section 5.3.1) with dnspython's messages."""
