"""Intel 82540EM gigabit Ethernet: the driver, and the card that it is tested on."""
