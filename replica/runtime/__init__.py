"""Trio: the loops, the disk thread, the connections, the feed. It does what the pure cores decide."""
