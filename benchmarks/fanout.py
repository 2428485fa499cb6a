"""What is claimed about many places: `.venv/bin/python benchmarks/fanout.py`.

Delivering to eight places takes no longer than the slowest of them alone, plus 20 %. Each call to a place takes half a second
here, and somewhat longer at the slowest; everything else takes next to nothing. Compared within one run, as a ratio.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ci_user import rotation  # noqa: E402
from ci_user.backends.memory import MemoryBackend  # noqa: E402
from tests.unit.key_world import World, keeper  # noqa: E402

if TYPE_CHECKING:
    from ci_user.backends.protocol import Held
    from ci_user.secret import AccessKey

PLACES, DELAY, SLOWEST = 8, 0.5, 0.6
AT_MOST = 1.2


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


def main() -> None:
    """Measure the slowest alone, then all eight."""
    alone = rotated([Slow("memory:slowest", SLOWEST)])
    others = [Slow(f"memory:{n}", DELAY) for n in range(PLACES - 1)]
    together = rotated([Slow("memory:slowest", SLOWEST), *others])
    ratio = together / alone
    print(
        f"the slowest alone: {alone:.2f} s; {PLACES} places: {together:.2f} s; ratio {ratio:.2f} (at most {AT_MOST:.2f})"
    )
    if ratio > AT_MOST:
        sys.exit(1)


if __name__ == "__main__":
    main()
