"""The tiny use case with dated events: the same labels, derived from the day of each cancellation."""

from __future__ import annotations

from mlplatform import EventSpine
from tests.support.tiny_use_case import SilverCancellations, SilverSignups, Tiny


class DatedSubscriptions(
    EventSpine, table=SilverSignups, label="cancelled", event_table=SilverCancellations, event_at="cancelled_at"
):
    """Each subscription is predicted when it begins: will it be cancelled within three months?"""

    inputs = ("silver_signups", "silver_cancellations")


class DatedTiny(Tiny):
    """The use case with that spine."""

    # Another one than its base's, not one of it.
    spine = DatedSubscriptions  # type: ignore[assignment]
