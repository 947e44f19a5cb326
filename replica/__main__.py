"""`python -m replica`: the same as the `replica` command."""

from __future__ import annotations

from replica.cli import main

if __name__ == "__main__":
    main()
