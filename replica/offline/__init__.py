"""A site that is cut off: mode, journal, working view, replay. Pure; it knows cases, not Raft."""
