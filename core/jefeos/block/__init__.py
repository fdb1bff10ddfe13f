"""Block devices: the interface that disk drivers implement and filesystems stand on."""
