"""Where a model's features come from: tables with their Delta versions, and functions; kept beside the feature spec."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mlplatform.errors import FeatureStoreError, RegistryError

FILE_NAME = "lineage.json"

AS_VALUES_SUGGEST, ONE_TYPE_EACH = 0, 1
"""How a model gets its columns; models logged before there was a rule know only the first."""
RULE = ONE_TYPE_EACH


@dataclass(frozen=True)
class TableVersion:
    """A table as it was read: its name, id (a new one if the table is dropped and created again) and Delta version."""

    name: str
    table_id: str
    version: int


@dataclass(frozen=True)
class Lineage:
    """Tables and functions -> training set -> model.

    Attributes:
        tables: The feature tables, as they were read for training.
        functions: The functions' names.
        columns: The columns that the model gets.
        labels: What it was trained to predict.
        model_uri: The model asked about; empty for a training set.
        frame_rule: How its columns become pandas, see `features.model_frame`; 0 for models older than the rule.
        rows: Rows of the spine, where it came in memory, as a training's does; None where they were not counted, and in
            older records.
    """

    tables: tuple[TableVersion, ...]
    functions: tuple[str, ...]
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    model_uri: str = ""
    frame_rule: int = AS_VALUES_SUGGEST
    rows: int | None = None

    def save(self, folder: Path) -> None:
        """Write the record beside the feature spec."""
        content = asdict(replace(self, model_uri=""))
        del content["model_uri"]
        (folder / FILE_NAME).write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, model_uri: str) -> Lineage:
        """Read the record of a model.

        Raises:
            FeatureStoreError: If the model has none.
            RegistryError: If it has one that cannot be read: what depends on it must not take it for none.
        """
        try:
            content = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            return cls(
                tables=tuple(TableVersion(**item) for item in content["tables"]),
                functions=tuple(content["functions"]),
                columns=tuple(content["columns"]),
                labels=tuple(content["labels"]),
                model_uri=model_uri,
                frame_rule=int(content.get("frame_rule", AS_VALUES_SUGGEST)),
                rows=content.get("rows"),
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FeatureStoreError(
                f"Model {model_uri} carries no record of where its features come from ({error!r}).",
                hint="Models logged with ws.fe.log_model do.",
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RegistryError(
                f"The record of where the features of model {model_uri} come from cannot be read: {error!r}",
                hint="Was the model's folder changed or copied in part? Train again to replace it.",
            ) from error


def frame_rule(folder: Path, *, model_uri: str) -> int:
    """Return how a model's columns become pandas; one without our record, of whatever client, is older than the rule.

    Raises:
        FeatureStoreError: If a newer library wrote the record.
        RegistryError: If it cannot be read.
    """
    if not (folder / FILE_NAME).is_file():
        return AS_VALUES_SUGGEST
    rule = Lineage.load(folder, model_uri=model_uri).frame_rule
    if not AS_VALUES_SUGGEST <= rule <= RULE:
        raise FeatureStoreError(
            f"Model {model_uri} was logged by a newer version of the library: its frames follow rule {rule}.",
            hint="Install the version that logged it, or train again.",
        )
    return rule
