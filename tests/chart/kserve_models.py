"""KServe's objects through the models of its own Python SDK, which know every field."""

from __future__ import annotations

import re
from typing import Any

import kserve
import kubernetes.client

# Of the SDK's field types, those that are no models in it: they are taken as they are.
_PLAIN = {"str", "int", "bool", "object", "datetime", "ResourceQuantity", "V1beta1MetricQuantity"}


def through_sdk(value: Any, type_name: str) -> Any:
    """What is left of a value after the SDK has read it and written it again.

    Raises:
        ValueError: a field that the model does not know, or a value that it refuses.
    """
    return written(read(value, type_name))


def with_quantities_as_text(value: Any) -> Any:
    """The SDK takes quantities as text only; Kubernetes takes numbers, too."""
    if isinstance(value, list):
        return [with_quantities_as_text(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {what: str(much) for what, much in item.items()}
        if key in ("limits", "requests")
        else with_quantities_as_text(item)
        for key, item in value.items()
    }


def read(value: Any, type_name: str) -> Any:
    if type_name in _PLAIN or value is None:
        return value
    if match := re.fullmatch(r"list\[(.+)]", type_name):
        return [read(item, match[1]) for item in value]
    if match := re.fullmatch(r"dict\(str, (.+)\)", type_name):
        return {key: read(item, match[1]) for key, item in value.items()}
    if model := getattr(kserve, type_name, None):
        fields = {field: name for name, field in model.attribute_map.items()}
        if unknown := set(value) - set(fields):
            raise ValueError(f"{type_name} has no {', '.join(sorted(unknown))}")
        return model(
            **{
                fields[field]: read(item, model.openapi_types[fields[field]])
                for field, item in value.items()
            }
        )
    # Of apps/v1 the SDK has names of its own.
    return getattr(kubernetes.client, type_name.removeprefix("K8sIoApiApps")).from_dict(value)


def written(model: Any) -> Any:
    if isinstance(model, list):
        return [written(item) for item in model]
    if isinstance(model, dict):
        return {key: written(item) for key, item in model.items()}
    if hasattr(model, "attribute_map"):
        fields = {field: getattr(model, name) for name, field in model.attribute_map.items()}
        # The SDK fills some names with "".
        return {field: written(item) for field, item in fields.items() if item not in (None, "")}
    if hasattr(model, "model_dump"):
        return model.model_dump(by_alias=True, exclude_none=True)
    return model
