"""The agreed log: Raft, pure. Events in, one Ready out."""
