"""What refining says of itself in its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel

from mlplatform.ingest.quarantine import QuarantineDetails
from mlplatform.refine.freshness import ComputedDetails


class RefinedMarker(BaseModel):
    """What a silver table was refined by.

    Attributes:
        code: Digest of its declaration and code.
        batch: The newest batch in it afterwards; 0 if it holds no row.
        newest: The highest number that a batch of it ever had, so that no number is given twice: what is computed from
            the table tells by them what is new. 0 in records of early versions.
    """

    code: str
    batch: int
    newest: int = 0


class RefineDetails(QuarantineDetails, ComputedDetails):
    """Details of the stage refine.

    Attributes:
        refined: Bare name of each silver table -> what it was refined by.
        repeated: Silver table -> rows that existed in it already, known again later.
        corrections: Silver table -> rows that correct earlier ones of their keys.
        left_out: Silver table -> rows of its source that are not the table's.
        again: Silver table -> rows of files that were refined again beside one that came late, counted nowhere else.
    """

    internal: ClassVar[frozenset[str]] = ComputedDetails.internal | {"refined"}

    refined: Mapping[str, RefinedMarker] = {}
    repeated: Mapping[str, int] = {}
    corrections: Mapping[str, int] = {}
    left_out: Mapping[str, int] = {}
    again: Mapping[str, int] = {}
