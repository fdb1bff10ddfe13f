"""ATA disks: the driver, and the IDE controller that it is tested on."""
