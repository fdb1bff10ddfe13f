"""The processor: the engine interface, its registers, the paging structures, and the engines behind it."""
