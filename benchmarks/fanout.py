"""What is claimed about many places: `.venv/bin/python benchmarks/fanout.py`.

Delivering to eight places takes no longer than the slowest of them alone, plus 20 %. Compared within one run, as a ratio: first
for places whose every call takes half a second and which cost nothing else, then for the backends themselves over HTTP, against
the doubles of the tests, whose every answer is delayed. There the doubles' own work counts too: they live in this process.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ci_user import rotation  # noqa: E402
from ci_user.backends.memory import MemoryBackend  # noqa: E402
from ci_user.side_by_side import DELIVERIES_AT_ONCE, side_by_side  # noqa: E402
from tests.contract import doubles  # noqa: E402
from tests.contract.place import new_key  # noqa: E402
from tests.unit.key_world import World, keeper  # noqa: E402

if TYPE_CHECKING:
    from ci_user.backends.protocol import Held
    from ci_user.secret import AccessKey
    from tests.vendors.server import Call

PLACES, DELAY, SLOWEST = 8, 0.5, 0.6
AT_MOST = 1.2
ANSWER = 0.2


class Slow(MemoryBackend):
    """A place whose every call takes a while.

    Args:
        target: What to call it.
        delay: How long each call takes, in seconds.
    """

    def __init__(self, target: str, delay: float) -> None:
        super().__init__(target=target, readable=False)
        self.delay = delay

    def preflight(self) -> tuple[str, ...]:
        """Check, after a while."""
        time.sleep(self.delay)
        super().preflight()
        return ()

    def held(self) -> Held:
        """Return the key ids held, after a while."""
        time.sleep(self.delay)
        return super().held()

    def deliver(self, key: AccessKey) -> None:
        """Make the key the current one, after a while."""
        time.sleep(self.delay)
        super().deliver(key)


def rotated(places: list[Slow]) -> float:
    """Make a first key and rotate it; return the seconds of the rotation, preflight included."""
    world = World(second=places[0], others=list(places[1:]))
    keeper(world).reach(rotation.Keep())
    subject = keeper(world, run="run-2")
    started = time.monotonic()
    subject.preflight()
    kept = subject.reach(rotation.Rotate(force=True))
    seconds = time.monotonic() - started
    if not kept.made or {place.held().current for place in places} != {kept.key_id}:
        sys.exit("the key is not in every place")
    return seconds


def over_http(root: Path) -> float:
    """Deliver to eight backends one by one and then at once; return the second's time over the slowest of the first."""
    chosen = [*dict.fromkeys(name.partition(" ")[0] for name in doubles.names())]
    by_backend = {name: next(n for n in doubles.names() if n.startswith(name)) for name in chosen}
    names = [*by_backend.values(), "github organization"]
    with ExitStack() as stack:
        running: dict[object, Any] = {}
        places = [doubles.place_of(name, running, stack, root) for name in names[:PLACES]]
        for place in places:
            # What each vendor's library costs to import is paid before, as the look before a delivery does.
            place.deliver(new_key(), place.open())
            place.server.before = delayed
        seconds = {}
        for name, place in zip(names, places, strict=False):
            started = time.monotonic()
            place.deliver(new_key(), place.open())
            seconds[name] = time.monotonic() - started
        key = new_key()
        started = time.monotonic()
        work = {name: partial(place.deliver, key) for name, place in zip(names, places, strict=False)}
        side_by_side(work, DELIVERIES_AT_ONCE).all()
        together = time.monotonic() - started
    slowest = max(seconds, key=lambda name: seconds[name])
    each = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    print(
        f"over HTTP, alone: {each} s; all at once: {together:.2f} s; over {slowest}: {together / seconds[slowest]:.2f}"
    )
    return together / seconds[slowest]


def delayed(_: Call) -> None:
    """Let time pass before an answer."""
    time.sleep(ANSWER)


def main() -> None:
    """Measure the slowest alone, then all eight."""
    alone = rotated([Slow("memory:slowest", SLOWEST)])
    others = [Slow(f"memory:{n}", DELAY) for n in range(PLACES - 1)]
    together = rotated([Slow("memory:slowest", SLOWEST), *others])
    ratio = together / alone
    print(
        f"the slowest alone: {alone:.2f} s; {PLACES} places: {together:.2f} s; ratio {ratio:.2f} (at most {AT_MOST:.2f})"
    )
    with tempfile.TemporaryDirectory() as root:
        ratios = [ratio, over_http(Path(root))]
    if max(ratios) > AT_MOST:
        sys.exit(1)


if __name__ == "__main__":
    main()
