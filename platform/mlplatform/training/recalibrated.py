"""What a recalibrated version says of itself: which version it was made of, and which rows it learned from.

Of the rows after the training, it learned from those of some entities, and the gate judges it by those of the others.
Which are which is a hash of the entity's key: the same in both homes and at all times, so that what one recalibration
was judged by no later one has learned from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.errors import StageError, UsageError
from mlplatform.features.artifacts import DIGEST_TAG
from mlplatform.protocols.registry import ModelVersion
from mlplatform.refine.spine import LabelSpine
from mlplatform.training.version_tags import LEARNED_EVENTS_TAG, TRAINED_THROUGH_TAG, learned_events
from mlplatform.types import TIMESTAMP

FROM_TAG, ORIGIN_TAG = "recalibrated_from", "recalibrated_from_digest"
"""Number of the version that it was made of, and the digest of that one's files: numbers may be given again."""
BASIS_TAG, METHOD_TAG, MOVED_TAG = "recalibrated_by", "recalibration_method", "recalibration"
"""Basis, method, and the moves in words."""
KNOWN_AFTER_TAG, LEARNED_TAG = "recalibrated_known_after", "recalibrated_rows"
_SALT = "recalibration"
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Learned:
    """Rows that a recalibration learned from: those of some entities, of a stretch of prediction times.

    Attributes:
        after: Prediction times after this, in ISO 8601.
        through: Up to this.
        columns: Whose values tell entities (or clusters) apart.
        share: Of the entities, how many it learned from; the others judge it.
    """

    after: str
    through: str
    columns: tuple[str, ...]
    share: float

    def of(self, rows: pa.Table, time: str) -> Mask:
        """Tell which rows it learned from, shape (rows,).

        Args:
            rows: With the columns and the prediction time.
            time: The prediction time's column.
        """
        times = rows.column(time)
        inside = pc.and_(
            pc.greater(times, pa.scalar(parse_as_of(self.after), TIMESTAMP)),
            pc.less_equal(times, pa.scalar(parse_as_of(self.through), TIMESTAMP)),
        )
        return np.asarray(inside.to_numpy(), dtype=bool) & learns_from(rows, self.columns, self.share)


@dataclass(frozen=True)
class Recalibration:
    """How a version came about.

    Attributes:
        origin: The version that it was made of.
        digest: Of that version's files.
        basis: What moved it: `realised` outcomes, or another basis.
        method: `odds` or `isotonic`.
        known_after: Outcomes that became known after this counted; None: all.
        learned: The rows that it learned from, and those that earlier recalibrations of its line did.
    """

    origin: int
    digest: str
    basis: str
    method: str
    known_after: datetime | None
    learned: tuple[Learned, ...]

    def is_of(self, version: ModelVersion) -> bool:
        """Tell whether it was made of a version, and of no other model that had its number once."""
        return version.version == self.origin and version.tags.get(DIGEST_TAG) == self.digest

    def tags(self) -> dict[str, str]:
        """Return it as tags of a version."""
        tags = {
            FROM_TAG: str(self.origin),
            ORIGIN_TAG: self.digest,
            BASIS_TAG: self.basis,
            METHOD_TAG: self.method,
            LEARNED_TAG: json.dumps([asdict(item) for item in self.learned]),
        }
        return tags if self.known_after is None else tags | {KNOWN_AFTER_TAG: self.known_after.isoformat()}


def recalibration_of(version: ModelVersion) -> Recalibration | None:
    """Return how a recalibrated version came about; None: it was trained.

    Raises:
        StageError: If its tags cannot be read: which rows it learned from is not known then.
    """
    if FROM_TAG not in version.tags:
        return None
    tags = version.tags
    try:
        known_after = tags.get(KNOWN_AFTER_TAG)
        return Recalibration(
            origin=int(tags[FROM_TAG]),
            digest=tags[ORIGIN_TAG],
            basis=tags[BASIS_TAG],
            method=tags[METHOD_TAG],
            known_after=parse_as_of(known_after) if known_after else None,
            learned=tuple(
                Learned(it["after"], it["through"], tuple(it["columns"]), float(it["share"]))
                for it in json.loads(tags[LEARNED_TAG])
            ),
        )
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise StageError(
            f"The tags of version {version.version} of {version.name} do not say what it was recalibrated by: {error}",
            hint="Only versions whose rows are known can be compared; recalibrate again.",
        ) from error


def left_out(versions: Iterable[ModelVersion], rows: pa.Table, spine: LabelSpine) -> Mask:
    """Tell which rows any of the versions learned from beside those of its training, shape (rows,).

    Args:
        versions: The versions.
        rows: Spine rows.
        spine: The label spine.
    """
    listed = list(versions)
    mask = learned_early(listed, rows, spine)
    for version in listed:
        found = recalibration_of(version)
        for learned in found.learned if found is not None else ():
            mask |= learned.of(rows, spine.prediction_time)
    return mask


def learned_early(versions: Iterable[ModelVersion], rows: pa.Table, spine: LabelSpine) -> Mask:
    """Tell which rows are of times of which a version learned events before labels were mature, shape (rows,).

    All of them, with an event or without: without the events alone, what is left would be too well off.

    Args:
        versions: The versions.
        rows: Spine rows.
        spine: The label spine.
    """
    mask, horizon = np.zeros(rows.num_rows, dtype=bool), Duration.parse(spine.settings.label.horizon)
    times = rows.column(spine.prediction_time)
    for version in versions:
        stretch = learned_events(version, horizon)
        if stretch is not None:
            start, end = (pa.scalar(moment, TIMESTAMP) for moment in stretch)
            inside = pc.and_(pc.greater(times, start), pc.less_equal(times, end))
            mask |= np.asarray(inside.to_numpy(), dtype=bool)
    return mask


def splitting_columns(spine: LabelSpine, cluster_by: Sequence[str], rows: Sequence[str]) -> tuple[str, ...]:
    """Return by which columns rows are told to learn from or to judge by: never two of one entity or cluster apart.

    Args:
        spine: The label spine.
        cluster_by: The setting `gate.cluster_by`; where one is no column of the rows, the entity keys are taken.
        rows: The rows' columns.
    """
    return tuple(cluster_by) if cluster_by and set(cluster_by) <= set(rows) else tuple(spine.entity_keys)


def learns_from(rows: pa.Table, columns: Sequence[str], share: float) -> Mask:
    """Tell which rows are learned from, shape (rows,): those whose hash of the columns' values lies below the share.

    Args:
        rows: With the columns.
        columns: Of the entity, or of the cluster.
        share: In [0, 1].
    """
    texts = [rows.column(name).cast(pa.string()).to_pylist() for name in columns]
    found: dict[tuple[str | None, ...], bool] = {}
    mask = np.zeros(rows.num_rows, dtype=bool)
    for place, key in enumerate(zip(*texts, strict=True)):
        if key not in found:
            digest = hashlib.blake2b(json.dumps([_SALT, *key]).encode(), digest_size=8).digest()
            found[key] = int.from_bytes(digest, "big") < share * 2.0**64
        mask[place] = found[key]
    return mask


def learned_through(version: ModelVersion) -> str | None:
    """Return up to which prediction time a version learned from rows, in ISO 8601; None where it does not say."""
    made = recalibration_of(version)
    tags = [version.tags[tag] for tag in (TRAINED_THROUGH_TAG, LEARNED_EVENTS_TAG) if version.tags.get(tag)]
    stretches = [item.through for item in made.learned] if made is not None else []
    return max([*tags, *stretches], key=parse_as_of, default=None)


def merged(before: Sequence[Learned], new: Learned) -> tuple[Learned, ...]:
    """Return what a line of recalibrations learned from: one stretch for each way in which rows were told apart."""
    rest = [item for item in before if (item.columns, item.share) != (new.columns, new.share)]
    same = [item for item in before if (item.columns, item.share) == (new.columns, new.share)]
    after = min([new, *same], key=lambda item: parse_as_of(item.after)).after
    through = max([new, *same], key=lambda item: parse_as_of(item.through)).through
    return (*rest, Learned(after, through, new.columns, new.share))
