"""The state machine: cases, resources, authority, merge, verdicts. Pure; it knows nothing of Raft."""
