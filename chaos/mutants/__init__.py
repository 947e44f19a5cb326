"""Lies told to a copy of the program, to see who notices: each mutant changes one line, and some check must fail.

A suite that never failed proves nothing. So the shipped sources are copied, one line of the copy is made to lie (a vote
given twice, a read index without the own term's commit), and the scenarios, the named tests and the simulated world run
on the copy until one of them fails. A mutant that survives shows a gap; there may be none.

Read `mutant.py` first (what a mutant is), then `catalogue.py` and the lists it joins (the lies, by chapter),
`workshop.py` (the copy and the run), `inside.py` (what runs in the copy), `report.py` (what came of it).
`python -m chaos mutants --help` runs it.
"""
