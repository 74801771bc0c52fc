"""Which files of a version were judged: those of the digest on record, or of its tag before a decision."""

from __future__ import annotations

from mlplatform.features.artifacts import DIGEST_TAG
from mlplatform.protocols.judged_models import JudgedModels
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace


def recorded_digest(ws: Workspace, version: ModelVersion) -> str:
    """Return the digest on record of a version's files; empty: none is.

    Raises:
        TableError: If the record cannot be read.
    """
    return JudgedModels(ws.tables, ws.prefix).digest(version.name, version.version, version.created_at)


def digest_to_judge(ws: Workspace, version: ModelVersion) -> str:
    """Return the digest that a version's files must have to be judged, and that the decision records.

    It is the one on record, whatever the tags say by now; of a version that nothing was decided about, its tag's, which
    training or adoption set. Empty where there is neither.
    """
    return recorded_digest(ws, version) or version.tags.get(DIGEST_TAG, "")


def doubt(ws: Workspace, version: ModelVersion) -> str:
    """Return what whoever looks at a run should know where a version's files are held against its tag only; else empty.

    Raises:
        TableError: If the record cannot be read.
    """
    if recorded_digest(ws, version):
        return ""
    return (
        f"No decision on record holds the digest of the files of version {version.version}: it was promoted by an "
        "earlier release, or its alias was set by hand. They were held against the version's tag, which whoever "
        "registers versions can set; decisions from now on keep the digest."
    )
