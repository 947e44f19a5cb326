"""The demo: real zones and sites on this machine, a killed leader, a cut line, and every store compared at the end.

`supervisor` and `proxy` are also what live chaos and the benchmarks run their clusters with.
"""
