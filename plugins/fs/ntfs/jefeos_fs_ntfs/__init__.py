"""NTFS 3.1: the mounted filesystem, and making and checking volumes."""
