"""A folder of the host as a filesystem, read-only or writable."""
