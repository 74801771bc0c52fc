"""The model registry of Unity Catalog, as MLflow's default store for it calls it."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.standin.files import Files
from tests.standin.identity import USER
from tests.standin.wire import ApiError, Request, Route, invalid, missing

_API = "/api/2.0/mlflow/unity-catalog"
_MODELS = f"{_API}/registered-models"
_VERSIONS = f"{_API}/model-versions"
_UNITY = "/api/2.1/unity-catalog/models"
_RESERVED_ALIAS = re.compile(r"latest|v\d+", re.IGNORECASE)


@dataclass
class Version:
    """A model version: what it was made of (tables upstream), what it depends on (kind, name), what was said since."""

    number: int
    made_of: dict[str, Any]
    created: int
    status: str = "PENDING_REGISTRATION"
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    dependencies: list[tuple[str, str]] = field(default_factory=list)
    upstream: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Model:
    """A registered model; aliases point at numbers of versions."""

    name: str
    created: int
    description: str = ""
    deployment_job_id: str = ""
    owner: str = USER
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    count: int = 0


class Models:
    """Registered models.

    Attributes:
        by_name: The models, to look at in assertions.
        owns: Says whether who asks is the owner of this name, or belongs to it.
        missing_alias: Status and code for an alias that is not there: the real service's is not known for sure.
    """

    def __init__(self, files: Files) -> None:
        """Take where the files of models go."""
        self._files = files
        files.may_write = self._check_write
        self.by_name: dict[str, Model] = {}
        self.owns: Callable[[str], bool] = USER.__eq__
        self.missing_alias = (404, "RESOURCE_DOES_NOT_EXIST")

    def routes(self) -> list[Route]:
        """Return what it answers."""
        return [
            Route("GET", f"{_UNITY}/{{name}}", self._get_info),
            Route("PATCH", f"{_UNITY}/{{name}}", self._update_info),
            Route("POST", f"{_MODELS}/create", self._create),
            Route("GET", f"{_MODELS}/get", self._get),
            Route("PATCH", f"{_MODELS}/update", self._update),
            Route("DELETE", f"{_MODELS}/delete", self._delete),
            Route("GET", f"{_MODELS}/search", self._search),
            Route("POST", f"{_MODELS}/set-tag", self._set_tag),
            Route("DELETE", f"{_MODELS}/delete-tag", self._delete_tag),
            Route("POST", f"{_MODELS}/alias", self._set_alias),
            Route("GET", f"{_MODELS}/alias", self._get_by_alias),
            Route("DELETE", f"{_MODELS}/alias", self._delete_alias),
            Route("GET", f"{_MODELS}:is-databricks-sdk-models-artifact-repository-enabled", self._artifact_mode),
            Route("POST", f"{_VERSIONS}/create", self._create_version),
            Route("GET", f"{_VERSIONS}/get", self._get_version),
            Route("PATCH", f"{_VERSIONS}/update", self._update_version),
            Route("DELETE", f"{_VERSIONS}/delete", self._delete_version),
            Route("GET", f"{_VERSIONS}/search", self._search_versions),
            Route("POST", f"{_VERSIONS}/finalize", self._finalize),
            Route("POST", f"{_VERSIONS}/set-tag", self._set_version_tag),
            Route("DELETE", f"{_VERSIONS}/delete-tag", self._delete_version_tag),
            Route("GET", f"{_VERSIONS}/get-download-uri", self._download_uri),
            Route("POST", f"{_VERSIONS}/emit-lineage", self._nothing),
        ]

    def _model(self, name: str) -> Model:
        if name not in self.by_name:
            raise missing(f"Registered Model '{name}'")
        return self.by_name[name]

    def _version(self, request: Request) -> tuple[Model, Version]:
        model, number = self._model(request.argument("name")), str(request.argument("version"))
        version = model.versions.get(int(number)) if number.isdecimal() else None
        if version is None:
            raise missing(f"Model Version '{model.name}' version {number}")
        return model, version

    def _create(self, request: Request) -> dict[str, Any]:
        name = request.argument("name")
        if len(name.split(".")) != 3:
            raise invalid(f"Bad model name: '{name}'. A Unity Catalog name has three levels.")
        if name in self.by_name:
            raise ApiError(409, "RESOURCE_ALREADY_EXISTS", f"Registered Model '{name}' already exists.")
        model = Model(name, _now(), request.body.get("description", ""), request.body.get("deployment_job_id", ""))
        model.tags = _tags(request)
        self.by_name[name] = model
        return {"registered_model": _model_answer(model)}

    def _get_info(self, _: Request, name: str) -> dict[str, Any]:
        return _info_answer(self._model(name))

    def _update_info(self, request: Request, name: str) -> dict[str, Any]:
        model = self._model(name)
        model.owner = request.body.get("owner", model.owner)
        model.description = request.body.get("comment", model.description)
        return _info_answer(model)

    def _get(self, request: Request) -> dict[str, Any]:
        return {"registered_model": _model_answer(self._model(request.argument("name")))}

    def _update(self, request: Request) -> dict[str, Any]:
        model = self._model(request.argument("name"))
        if new_name := request.body.get("new_name"):
            self.by_name[new_name] = self.by_name.pop(model.name)
            model.name = new_name
        model.description = request.body.get("description", model.description)
        model.deployment_job_id = request.body.get("deployment_job_id", model.deployment_job_id)
        return {"registered_model": _model_answer(model)}

    def _delete(self, request: Request) -> dict[str, Any]:
        model = self._model(request.argument("name"))
        del self.by_name[model.name]
        self._files.remove(_folder(model.name))
        return {}

    def _search(self, _: Request) -> dict[str, Any]:
        # As the real service: neither aliases nor tags.
        return {"registered_models": [_model_answer(model, full=False) for model in self.by_name.values()]}

    def _set_tag(self, request: Request) -> dict[str, Any]:
        self._model(request.argument("name")).tags[request.argument("key")] = request.body.get("value", "")
        return {}

    def _delete_tag(self, request: Request) -> dict[str, Any]:
        self._model(request.argument("name")).tags.pop(request.argument("key"), None)
        return {}

    def _set_alias(self, request: Request) -> dict[str, Any]:
        model, version = self._version(request)
        self._check_owner(model)
        alias = request.argument("alias")
        if _RESERVED_ALIAS.fullmatch(alias):
            raise invalid(f"'{alias}' alias name is reserved.")
        model.aliases[alias] = version.number
        return {}

    def _check_owner(self, model: Model) -> None:
        # REST reference, "Registered Models: set alias", "delete alias": a metastore admin or an owner.
        if not self.owns(model.owner):
            raise ApiError(403, "PERMISSION_DENIED", f"User is not an owner of Registered Model '{model.name}'.")

    def _get_by_alias(self, request: Request) -> dict[str, Any]:
        model, alias = self._model(request.argument("name")), request.argument("alias")
        if alias not in model.aliases:
            raise ApiError(*self.missing_alias, f"Alias '{alias}' of model '{model.name}' does not exist.")
        return {"model_version": _version_answer(model, model.versions[model.aliases[alias]])}

    def _delete_alias(self, request: Request) -> dict[str, Any]:
        model = self._model(request.argument("name"))
        self._check_owner(model)
        model.aliases.pop(request.argument("alias"), None)
        return {}

    def _artifact_mode(self, _: Request) -> dict[str, Any]:
        return {"is_databricks_sdk_models_artifact_repository_enabled": True}

    def _create_version(self, request: Request) -> dict[str, Any]:
        model = self._model(request.argument("name"))
        model.count += 1
        made_of = {key: request.body.get(key, "") for key in ("source", "run_id", "run_tracking_server_id", "model_id")}
        version = Version(model.count, made_of, _now(), description=request.body.get("description", ""))
        version.tags = _tags(request)
        depends = request.body.get("model_version_dependencies", [])
        version.dependencies = [(item["type"], item["name"]) for item in depends]
        version.upstream = _upstream(request.lineage)
        model.versions[version.number] = version
        return {"model_version": _version_answer(model, version)}

    def _get_version(self, request: Request) -> dict[str, Any]:
        return {"model_version": _version_answer(*self._version(request))}

    def _update_version(self, request: Request) -> dict[str, Any]:
        model, version = self._version(request)
        version.description = request.body.get("description", version.description)
        return {"model_version": _version_answer(model, version)}

    def _delete_version(self, request: Request) -> dict[str, Any]:
        model, version = self._version(request)
        del model.versions[version.number]
        model.aliases = {alias: number for alias, number in model.aliases.items() if number != version.number}
        self._files.remove(f"{_folder(model.name)}/{version.number}")
        return {}

    def _search_versions(self, request: Request) -> dict[str, Any]:
        wanted = re.fullmatch(r"\s*name\s*=\s*'([^']*)'\s*", request.query.get("filter", ""))
        if wanted is None:
            raise invalid("The stand-in searches versions by name = '...' only.")
        model = self.by_name.get(wanted[1])
        versions = list(model.versions.values()) if model else []
        return {"model_versions": [_version_answer(model, v, full=False) for v in versions if model]}

    def _finalize(self, request: Request) -> dict[str, Any]:
        model, version = self._version(request)
        version.status = "READY"
        return {"model_version": _version_answer(model, version)}

    def _set_version_tag(self, request: Request) -> dict[str, Any]:
        self._version(request)[1].tags[request.argument("key")] = request.body.get("value", "")
        return {}

    def _delete_version_tag(self, request: Request) -> dict[str, Any]:
        self._version(request)[1].tags.pop(request.argument("key"), None)
        return {}

    def _download_uri(self, request: Request) -> dict[str, Any]:
        model, version = self._version(request)
        return {"artifact_uri": _storage(model, version)}

    def _nothing(self, _: Request) -> dict[str, Any]:
        return {}

    def _check_write(self, path: str) -> None:
        parts = path.strip("/").split("/")
        if parts[0] != "Models":
            return
        model = self.by_name.get(".".join(parts[1:4]))
        version = model.versions.get(int(parts[4])) if model and parts[4:] and parts[4].isdecimal() else None
        if version is None:
            raise ApiError(404, "NOT_FOUND", f"There is no model version for /{path}.")
        if version.status == "READY":
            raise ApiError(403, "PERMISSION_DENIED", f"The model version of /{path} is finalized.")


def _now() -> int:
    return int(time.time() * 1000)


def _folder(name: str) -> str:
    return f"Models/{name.replace('.', '/')}"


def _storage(model: Model, version: Version) -> str:
    return f"uc-models:/{_folder(model.name)}/{version.number}"


def _upstream(header: str) -> list[dict[str, str]]:
    """Return the tables, with name and id, that MLflow says a version was made of."""
    told = json.loads(base64.b64decode(header)) if header else {}
    return [it["table"] for lineage in told.get("lineages", []) for it in lineage.get("source_securables", [])]


def _tags(request: Request) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in request.body.get("tags", [])}


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _info_answer(model: Model) -> dict[str, Any]:
    catalog, schema, name = model.name.split(".")
    return {
        "full_name": model.name,
        "catalog_name": catalog,
        "schema_name": schema,
        "name": name,
        "owner": model.owner,
        "comment": model.description,
    }


def _model_answer(model: Model, *, full: bool = True) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "name": model.name,
        "creation_timestamp": model.created,
        "last_updated_timestamp": model.created,
        "user_id": USER,
        "description": model.description,
        "deployment_job_id": model.deployment_job_id,
        "deployment_job_state": "CONNECTED" if model.deployment_job_id else "NOT_SET_UP",
    }
    if full:
        answer["aliases"] = [{"alias": alias, "version": str(number)} for alias, number in model.aliases.items()]
        answer["tags"] = _pairs(model.tags)
    return answer


def _version_answer(model: Model, version: Version, *, full: bool = True) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "name": model.name,
        "version": str(version.number),
        "creation_timestamp": version.created,
        "last_updated_timestamp": version.created,
        "user_id": USER,
        "description": version.description,
        "status": version.status,
        "storage_location": _storage(model, version),
        **version.made_of,
    }
    if full:
        held = [alias for alias, number in model.aliases.items() if number == version.number]
        answer["aliases"] = [{"alias": alias, "version": str(version.number)} for alias in held]
        answer["tags"] = _pairs(version.tags)
    return answer
