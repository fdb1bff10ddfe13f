"""The virtual filesystem: one tree of paths over many filesystems, with POSIX semantics in one place."""
