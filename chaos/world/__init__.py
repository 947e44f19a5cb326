"""The simulated world: the shipped core on a virtual clock, in all the weather a seed can bring.

Read `world.py` first (the queue and the two phases), then `weather.py` (what a seed decides), `node.py` (the driver
and its points of dying) and `invariants.py` (what must hold). `judge.py` connects the last two.

Same seed, same trace, byte by byte. `python -m chaos sim --help` runs it.
"""
