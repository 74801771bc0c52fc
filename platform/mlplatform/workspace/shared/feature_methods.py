"""The public methods of the real feature engineering client that `ws.fe` does not offer, and why not.

`docs/feature-client.md` shows the same list beside what is offered.
"""

from __future__ import annotations

from typing import NoReturn

from mlplatform.errors import FeatureStoreError

_ONLINE = "refused", "online stores and serving are not this platform's job"
_DECLARATIVE = "planned", "declarative features: the feature tables of a use case come first"
_BACKFILL = "refused", "a use case's feature tables are filled by their stage, and anew by `mlplatform backfill`"
_STREAM = "refused", "streaming features are not this platform's job"

NOT_OFFERED: dict[str, tuple[str, str]] = {
    "publish_table": _ONLINE,
    "drop_online_table": _ONLINE,
    "create_online_store": _ONLINE,
    "get_online_store": _ONLINE,
    "update_online_store": _ONLINE,
    "delete_online_store": _ONLINE,
    "list_online_stores": _ONLINE,
    "create_feature_serving_endpoint": _ONLINE,
    "get_feature_serving_endpoint": _ONLINE,
    "delete_feature_serving_endpoint": _ONLINE,
    "grant_feature_serving_access": _ONLINE,
    "create_stream": _STREAM,
    "update_stream": _STREAM,
    "get_stream": _STREAM,
    "list_streams": _STREAM,
    "delete_stream": _STREAM,
    "backfill_features": _BACKFILL,
    "get_backfill": _BACKFILL,
    "wait_for_backfill": _BACKFILL,
    "cancel_backfill": _BACKFILL,
    "get_operation": _BACKFILL,
    "cancel_operation": _BACKFILL,
    "create_feature": _DECLARATIVE,
    "register_feature": _DECLARATIVE,
    "get_feature": _DECLARATIVE,
    "list_features": _DECLARATIVE,
    "delete_feature": _DECLARATIVE,
    "compute_features": _DECLARATIVE,
    "materialize_features": _DECLARATIVE,
    "list_materialized_features": _DECLARATIVE,
    "delete_materialized_feature": _DECLARATIVE,
    "feature_spec_from_batch_declarative_features": _DECLARATIVE,
    "purge_feature_entities": ("planned", "deleting entities has to reach the local workspace and the labels, too"),
    "update_feature_spec": ("refused", "owners are given by grants: `mlplatform setup`, or the workspace's own page"),
}
"""Method -> (`refused` or `planned`, why)."""


class NotOfferedError(FeatureStoreError, AttributeError):
    """Raised when a method of the real client is asked for that `ws.fe` does not offer."""


class OnlySome:
    """A feature client that says why it lacks a method of the real one."""

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse; an attribute error, so that `hasattr` answers."""
        if name not in NOT_OFFERED:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        status, reason = NOT_OFFERED[name]
        raise NotOfferedError(
            f"ws.fe has no {name} ({status}): {reason}.",
            hint="On Databricks ws.fe.real_client() has it; see docs/feature-client.md.",
        )
