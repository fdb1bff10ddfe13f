"""A root filesystem from a tar archive, with writes kept in memory above it."""
