"""Stands in for a zone or a site in the supervisor's own tests: it says that it is ready, and waits.

`python fake_node.py zone|site CONFIG [--found]`: writes its arguments to `arguments.json` beside CONFIG. The
environment variable FAKE_NODE says how it misbehaves: "mute" (never ready), "dies" (ends with 3 before it is ready),
"later" (ends with 4 half a second after), "deaf" (does not stop at SIGTERM).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import tomllib
from pathlib import Path


def main() -> None:
    kind = os.environ.get("FAKE_NODE", "")
    config_file = Path(sys.argv[2])
    config = tomllib.loads(config_file.read_text(encoding="utf-8"))
    (config_file.parent / "arguments.json").write_text(json.dumps(sys.argv[1:]), encoding="utf-8")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if kind == "deaf" else lambda *_: sys.exit(0))
    print("began", file=sys.stderr, flush=True)
    if kind == "dies":
        sys.exit(3)
    if kind != "mute":
        section = config[sys.argv[1]]
        print(json.dumps({"ready": section["name"], "listen": section["listen"]}), flush=True)
    time.sleep(0.5 if kind == "later" else 60)
    sys.exit(4)


main()
