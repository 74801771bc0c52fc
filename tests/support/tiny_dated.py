"""The tiny use case with dated events: the same labels, derived from the day of each cancellation."""

from __future__ import annotations

from typing import ClassVar

from mlplatform import EventSpine, LabelSpine
from tests.support.tiny_use_case import SilverCancellations, SilverSignups, Tiny


class DatedSubscriptions(
    EventSpine, table=SilverSignups, label="cancelled", event_table=SilverCancellations, event_at="cancelled_at"
):
    """Each subscription is predicted when it begins: will it be cancelled within three months?"""

    inputs = ("silver_signups", "silver_cancellations")


class DatedTiny(Tiny):
    """The use case with that spine."""

    spine: ClassVar[type[LabelSpine]] = DatedSubscriptions  # type: ignore[assignment]  (another one than its base's)
