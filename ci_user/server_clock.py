"""Time by the state bucket's clock: S3's ``Date`` header and a local clock that goes on while the machine sleeps.

The local wall clock, which people and NTP set, plays no part.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

# https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7: an HTTP date has whole seconds.
DATE_RESOLUTION: Final = timedelta(seconds=1)

_BOOT_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_clock() -> float:
    """Return the seconds since boot, suspended time included.

    Linux's CLOCK_MONOTONIC stands still while the machine is suspended, CLOCK_BOOTTIME does not; macOS's
    CLOCK_MONOTONIC goes on.
    https://man7.org/linux/man-pages/man2/clock_gettime.2.html
    """
    return time.clock_gettime(_BOOT_CLOCK)


@dataclass(frozen=True)
class ServerTime:
    """One answer of the server, which bounds its clock on both sides ever after.

    Args:
        date: The answer's ``Date``, rounded down to the second.
        sent: The boot clock before the request was sent, in seconds.
        received: The boot clock after the answer had arrived, in seconds.
    """

    date: datetime
    sent: float
    received: float

    def earliest(self, at: float) -> datetime:
        """Return the time that the server's clock shows at least, when the boot clock shows ``at``."""
        return self.date + timedelta(seconds=at - self.received)

    def latest(self, at: float) -> datetime:
        """Return the time that the server's clock does not show yet, when the boot clock shows ``at``."""
        return self.date + DATE_RESOLUTION + timedelta(seconds=at - self.sent)
