"""The simulated world: the shipped core on a virtual clock, in all the weather a seed can bring.

Read `world.py` first (the queue and the two phases), then `weather.py` (what a seed decides), `node.py` and
`applying.py` (the driver and its points of dying), `shipping.py` (snapshots on their way), `operator.py` (changes of
the membership, hand-overs) and `invariants.py` with `later_invariants.py` (what must hold). `judge.py` tells these what
happened, `aftermath.py` is the calm after the storm.

Same seed, same trace, byte by byte. `python -m chaos sim --help` runs it.
"""
