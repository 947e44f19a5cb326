"""Proves the library: a simulated world driven by one seed, and later live faults on real processes.

Nothing in `replica` imports this package. Run it as `python -m chaos --help`.
"""
