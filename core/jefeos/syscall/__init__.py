"""System calls: typed declarations, the table that decodes and dispatches them, and tracing."""
