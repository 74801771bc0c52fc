"""What the stage features records where there is nothing to compute."""

from __future__ import annotations

from typing import cast

from mlplatform.features.stage import Features
from mlplatform.ops.context import StageContext


def test_without_feature_tables_the_record_says_that_none_was_computed() -> None:
    result = Features(()).run(cast("StageContext", None))
    assert result.details.to_json() == {"computed": {}}
    assert result.skipped == "the use case has no feature table"
