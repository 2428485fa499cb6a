"""Headless Chromium through the pipe of its DevTools protocol: no port, no driver and no package besides the browser.

https://chromedevtools.github.io/devtools-protocol/ (``--remote-debugging-pipe``: messages on descriptors 3 and 4, a NUL after
each).
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_PATIENCE = 60.0


def found() -> str | None:
    """Return where Chromium is, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One page of a running Chromium, and everything that it told meanwhile."""

    def __init__(self, to: int, from_: int) -> None:
        self._to = to
        self._from = from_
        self._number = 0
        self._rest = b""
        self._session: str | None = None
        self.told: list[dict[str, Any]] = []

    def attach(self) -> None:
        """Open a page and have it tell of requests, refusals and errors."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime", "Audits"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)

    def ask(self, method: str, **parameters: Any) -> Any:
        """Return the answer to one command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        number = self._number
        answer = self._until(lambda one: one.get("id") == number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, file: Path, fragment: str = "") -> None:
        """Load a file, and wait until it is there."""
        # Another fragment of the same file would be no load.
        self.ask("Page.navigate", url="about:blank")
        self.told.clear()
        loader = self.ask("Page.navigate", url=f"{file.as_uri()}{fragment}")["loaderId"]
        done = {"name": "load", "loaderId": loader}
        while not any(
            one["method"] == "Page.lifecycleEvent" and done.items() <= one["params"].items() for one in self.told
        ):
            self._until(lambda one: one.get("method") == "Page.lifecycleEvent")

    def run(self, expression: str) -> Any:
        """Return what an expression is worth in the page; a promise's outcome."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and let go of a key."""
        parameters = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **parameters)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **parameters)

    def type(self, text: str) -> None:
        """Enter a text where the focus is."""
        self.ask("Input.insertText", text=text)

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False, print_: bool = False) -> None:
        """Take a window of some size and a colour scheme."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media="print" if print_ else "", features=[scheme])

    def picture(self, *, whole: bool = True) -> bytes:
        """Return a screenshot as PNG, of the whole page or of the window."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def complaints(self) -> list[str]:
        """Return what was refused, failed or asked for besides the file itself since it was opened."""
        self.run("document.body.offsetHeight")
        return [json.dumps(one) for one in self.told if _is_complaint(one["method"], one["params"])]

    def _until(self, wanted: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        until = time.monotonic() + _PATIENCE
        while True:
            while b"\0" not in self._rest:
                if not select.select([self._from], [], [], max(until - time.monotonic(), 0))[0]:
                    raise TimeoutError("Chromium does not answer")
                read = os.read(self._from, 1 << 20)
                if not read:
                    raise RuntimeError("Chromium has ended")
                self._rest += read
            line, _, self._rest = self._rest.partition(b"\0")
            message = json.loads(line)
            if "method" in message:
                self.told.append(message)
            if wanted(message):
                return message  # type: ignore[no-any-return]


def _is_complaint(method: str, parameters: Mapping[str, Any]) -> bool:
    if method == "Network.requestWillBeSent":
        return not parameters["request"]["url"].startswith(("file:", "about:", "data:"))
    if method == "Audits.issueAdded":
        # A script that goes to another hash without a click: a test does, the page does not.
        return "NavigationEntryMarkedSkippable" not in json.dumps(parameters)
    return method in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")


@contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """Start Chromium with a profile of its own, and end it afterwards."""
    path = found()
    if path is None:
        raise RuntimeError("no Chromium")
    their_in, to = os.pipe()
    from_, their_out = os.pipe()
    arguments = [path, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    null = os.open(os.devnull, os.O_RDWR)
    # Out of the way of 3 and 4, which the child gets.
    high = [os.dup2(one, 100 + at) for at, one in enumerate((their_in, their_out, null))]
    for one in (their_in, their_out, null):
        os.close(one)
    places = {0: high[2], 1: high[2], 2: high[2], 3: high[0], 4: high[1]}
    actions: list[tuple[int, int, int] | tuple[int, int]] = [
        (os.POSIX_SPAWN_DUP2, one, place) for place, one in places.items()
    ]
    actions += [(os.POSIX_SPAWN_CLOSE, one) for one in high]
    pid = os.posix_spawn(path, arguments, dict(os.environ), file_actions=actions, setpgroup=0)
    for one in high:
        os.close(one)
    browser = Browser(to, from_)
    try:
        browser.attach()
        yield browser
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(to)
        os.close(from_)
