"""Wire formats: for each the declared layout, then `parse`, which checks every length, and `emit`.

`parse` raises CorruptError for anything malformed, and nothing else whatever the bytes are; the layer that called it
drops the packet and counts it.
"""
