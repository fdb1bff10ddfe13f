"""The wire `user`: an embedded gateway to the host's network."""
