"""Makes docs/pictures/sheet.png: the emergency sheet out of a killed site's store, as a browser prints it.

    python docs/pictures/sheet.py

Three zones and a site, real processes, play the project's own stories. Then every zone is killed, the site goes on with
what comes next, and is killed as well. The sheet is made from what is on its disk. Needs a Chromium and pdftoppm (of
poppler-utils); without them the sheet is left as HTML and nothing is drawn.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from replica.demo.messages import Message, find, order_of
from replica.errors import ReplicaError
from replica.runtime.client import Client, open_client

HERE = Path(__file__).parent
SAMU = "fr.health.samu350"
CUT_AFTER = 8
"""Messages of the stories up to this number are agreed, those up to `LAST` are journalled only."""
LAST = 11
ZONES = (1, 2, 3)


def main() -> None:
    """Play, kill, print."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        try:
            trio.run(cluster.play)
        finally:
            cluster.kill(*cluster.processes)
        sheet = Path(folder) / "sheet.html"
        command = "import cyclopts; from replica.admin.sheet_command import sheet; cyclopts.run(sheet)"
        subprocess.run(
            [sys.executable, "-c", command, "--data", str(cluster.folder / "site"), "--out", str(sheet),
             "--time-zone", "Europe/Paris"], check=True,
        )  # fmt: skip
        draw(sheet, HERE / "sheet.png")


class Cluster:
    """Processes, each with its own configuration file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = [free_port() for _ in range(len(ZONES) + 1)]
        self.at = f"127.0.0.1:{self.ports[-1]}"
        for number in ZONES:
            self.start(f"zone-{number}", "zone", f'number = {number}\nname = "zone-{number}"', self.ports[number - 1])
        self.start("site", "site", f'name = "{SAMU}"', self.ports[-1])

    def start(self, name: str, role: str, named: str, port: int) -> None:
        zones = "".join(
            f'[[zones]]\nnumber = {number}\nname = "zone-{number}"\naddress = "127.0.0.1:{self.ports[number - 1]}"\n'
            for number in ZONES
        )
        config = self.folder / f"{name}.toml"
        config.write_text(
            f'[cluster]\nid = "samu-bretagne"\n[{role}]\n{named}\nlisten = "127.0.0.1:{port}"\ndata = "{name}"\n{zones}'
        )
        arguments = [sys.executable, "-m", "replica", role, str(config), *(["--found"] if role == "zone" else [])]
        self.processes[name] = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self, *names: str) -> None:
        for name in names:
            self.processes[name].kill()
            self.processes[name].wait()

    async def play(self) -> None:
        messages = find(None)
        await until_mode(self.at, "connected")
        async with open_client(self.at) as site:
            await hand_in(site, [one for one in messages if order_of(one.name)[0] <= CUT_AFTER], 5000)
            self.kill(*(f"zone-{number}" for number in ZONES))
            await until_mode(self.at, "cut-off")
            await hand_in(site, [one for one in messages if CUT_AFTER < order_of(one.name)[0] <= LAST], 500)
        self.kill("site")


async def hand_in(site: Client, messages: list[Message], budget_ms: int) -> None:
    for message in messages:
        await site.submit_message(message.data, budget_ms)


async def until_mode(at: str, mode: str) -> None:
    """Wait until the site says so, half a minute at most."""
    with trio.fail_after(30):
        while True:
            try:
                async with open_client(at) as site:
                    if (await site.status())["mode"] == mode:
                        return
            except ReplicaError:
                pass  # it is not up yet
            await trio.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def draw(sheet: Path, picture: Path) -> None:
    """The first two printed pages side by side."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None or shutil.which("pdftoppm") is None:
        kept = picture.with_suffix(".html")
        shutil.copy(sheet, kept)
        print(f"no browser to draw with: the sheet is {kept}")
        return
    pdf, pages = sheet.with_suffix(".pdf"), sheet.with_name("page")
    subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={pdf}",
         sheet.as_uri()], check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(["pdftoppm", "-r", "80", "-l", "3", "-png", "-gray", str(pdf), str(pages)], check=True)
    side_by_side(sorted(sheet.parent.glob("page-*.png")), picture, chromium)


def side_by_side(pages: list[Path], picture: Path, chromium: str) -> None:
    shown = "".join(f'<img src="{page.as_uri()}">' for page in pages)
    frame = pages[0].with_name("frame.html")
    style = "body{margin:8px;background:#888;display:flex;gap:8px}img{background:#fff}"
    frame.write_text(f"<!doctype html><style>{style}</style>{shown}")
    width, height = 8 + len(pages) * (661 + 8), 936 + 16
    subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={picture}",
         f"--window-size={width},{height}", frame.as_uri()], check=True, capture_output=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
