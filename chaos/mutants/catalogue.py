"""All mutants, by name. The names are unique; what each asks for must apply (tests/chaos/test_mutants.py)."""

from __future__ import annotations

from chaos.mutants.apart import APART
from chaos.mutants.chapters import CHAPTERS
from chaos.mutants.elections import ELECTIONS
from chaos.mutants.mutant import Mutant
from chaos.mutants.node import NODE
from chaos.mutants.replicating import REPLICATING
from chaos.mutants.viewing import VIEWING

MUTANTS: tuple[Mutant, ...] = (*ELECTIONS, *REPLICATING, *CHAPTERS, *NODE, *APART, *VIEWING)
"""In the order in which they are reported."""
