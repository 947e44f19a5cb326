"""Which feature levels this release knows (docs/architecture.md, "Years").

A node that meets an entry of a higher level stops, so a level is raised only once every voter knows it.
"""

from __future__ import annotations

FIRST_LEVEL = 1
HIGHEST_LEVEL = 1
"""What this release can apply; a node names it in its handshake and refuses to ask for more."""
