"""Where a model's features come from: tables with their Delta versions, and functions; kept beside the feature spec."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mlplatform.errors import FeatureStoreError

FILE_NAME = "lineage.json"


@dataclass(frozen=True)
class TableVersion:
    """A table as it was read: name, id (another one when it was dropped and made again) and Delta version."""

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
    """

    tables: tuple[TableVersion, ...]
    functions: tuple[str, ...]
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    model_uri: str = ""

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
        """
        try:
            content = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            return cls(
                tables=tuple(TableVersion(**item) for item in content["tables"]),
                functions=tuple(content["functions"]),
                columns=tuple(content["columns"]),
                labels=tuple(content["labels"]),
                model_uri=model_uri,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FeatureStoreError(
                f"Model {model_uri} carries no record of where its features come from ({error!r}).",
                hint="Models logged with ws.fe.log_model do.",
            ) from None
