"""A headless Chromium, driven over a pipe: what tests of pages need of a browser."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

import pytest

LIMIT = 120  # seconds that a browser may live: nothing waits for ever
PATH = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no host has an address
    "--remote-debugging-pipe",
)  # fmt: skip


needs_chromium = pytest.mark.skipif(
    PATH is None, reason="no Chromium: apt-get install chromium (Debian's package)"
)


class Chromium:
    """A browser with one page, which speaks the Chrome DevTools Protocol on file descriptors 3, 4.

    requests: the addresses of everything that the page has asked for.
    errors:   what went wrong in its scripts.
    """

    def __init__(self, profile: Path) -> None:
        assert PATH is not None
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.numbers = itertools.count(1)
        self.session: dict[str, str] = {}
        theirs_in, self.out = os.pipe()
        self.into, theirs_out = os.pipe()
        # the child finds its ends as 3 and 4 whatever their numbers are here
        command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, PATH, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.received = b""
        self.limit = threading.Timer(LIMIT, self.process.kill)
        self.limit.start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session = {}
        with contextlib.suppress(RuntimeError, OSError):  # it may have ended already
            self.call("Browser.close")
        self.process.wait()
        self.limit.cancel()
        os.close(self.into)
        os.close(self.out)

    def call(self, method: str, **params: Any) -> Any:
        """The result of a command. Events that arrive meanwhile are kept."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params, **self.session}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            said = self.receive()
            if said.get("id") == number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']['message']}")
                return said["result"]

    def receive(self) -> Any:
        """The next message; what events say is noted."""
        while b"\0" not in self.received:
            more = os.read(self.into, 1 << 20)
            if not more:
                raise RuntimeError("chromium has ended")
            self.received += more
        data, self.received = self.received.split(b"\0", 1)
        said = json.loads(data)
        if said.get("method") == "Network.requestWillBeSent":
            self.requests.append(said["params"]["request"]["url"])
        if said.get("method") == "Runtime.exceptionThrown":
            details = said["params"]["exceptionDetails"]
            self.errors.append(str(details.get("exception", details).get("description", details)))
        return said

    def open(self, path: Path) -> None:
        """Show a file, and wait for all that it does on its own."""
        self.call("Page.navigate", url=path.absolute().as_uri())
        while self.receive().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """The value of an expression in the page; of a promise what it comes to."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description"))
        return found["result"].get("value")
