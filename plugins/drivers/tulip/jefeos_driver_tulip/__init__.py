"""DEC 21140 and 21143 Fast Ethernet, "Tulip": the driver, and the card that it is tested on."""
