"""What callers saw, and whether one copy of the data could have told it: histories and their check.

A history is what callers did, from outside: who asked for what, when, and what came back, if anything did. It is
*linearizable* when every operation can be given one moment between its asking and its answer, such that all of them,
in the order of these moments, are what a single copy would have answered (Herlihy and Wing, 1990).

Read `operations.py` first (what a history is), then `models.py` (what one copy would answer), `search.py` (how an order
is looked for), `check.py` (the verdict and the shortest prefix that has none), `explain.py` (the table for people).
`record.py` writes histories and reads them back. `python -m chaos history --help` checks a file.
"""
