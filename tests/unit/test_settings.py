"""Settings: valid defaults, no unknown key, no value out of range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from serving.settings import AppArgs, Scale, ScaleSettings


def _sections(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _sections(field.annotation, (*path, name))


def _nested(path: tuple[str, ...], value: dict[str, Any]) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value


def test_defaults_are_valid() -> None:
    args = AppArgs()
    assert AppArgs.model_validate(args.model_dump()) == args
    assert AppArgs.model_validate_json(args.model_dump_json()) == args


@pytest.mark.parametrize("path", list(_sections(AppArgs)), ids=".".join)
def test_unknown_keys_are_refused_everywhere(path: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        AppArgs.model_validate(_nested(path, {"no_such_setting": 1}))


@pytest.mark.parametrize("path", list(_sections(AppArgs)), ids=".".join)
def test_an_empty_section_is_the_default(path: tuple[str, ...]) -> None:
    assert AppArgs.model_validate(_nested(path, {})) == AppArgs()


@pytest.mark.parametrize("stage", ScaleSettings.model_fields)
def test_one_key_of_a_scale_leaves_the_others_of_its_stage(stage: str) -> None:
    default: Scale = getattr(AppArgs().scale, stage)
    given = AppArgs.model_validate({"scale": {stage: {"max_replicas": 7}}})
    assert getattr(given.scale, stage) == default.model_copy(update={"max_replicas": 7})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        AppArgs().triton.model = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("decode.max_pixels", 0),
        ("decode.threads", 0),
        ("liveness.std", [1, 0, 1]),
        ("liveness.mean", [1, 2]),
        ("liveness.threshold", 1.1),
        ("liveness.index_is", "spoof"),
        ("detect.min_face_size", 11),
        ("detect.min_score", 1.5),
        ("match.threshold", 2),
        ("match.threshold", "high"),
        ("match.fpir", 0),
        ("match.fpir", 1),
        ("match.ambiguous", "both"),
        ("match.ambiguous_margin", -0.1),
        ("triton.timeout_s", 0),
        ("limits.max_image_bytes", -1),
        ("limits.max_faces", 1001),  # more than a request may ask for
        ("scale.detect.min_replicas", 0),
        ("scale.detect.resources", {"detect": 0}),
        ("scale.detect.resources", {"detect": "one"}),
        ("limits.timeout_s", float("inf")),
        ("limits.min_upload_rate", float("nan")),
        ("scale.detect.num_cpus", float("inf")),
        ("tracing.endpoint", "localhost:4318"),
        ("tracing.endpoint", "ftp://localhost"),
        ("tracing.endpoint", "http://"),
        ("tracing.endpoint", ""),
        ("gallery.endpoint", "minio.faces.svc:9000"),
        ("gallery.endpoint", "http://minio:9000/?region=x"),
        ("triton.url", "localhost:8001"),
        ("triton.url", "grpc://localhost:8001"),
    ],
)
def test_values_out_of_range_are_refused(path: str, value: Any) -> None:
    *section, key = path.split(".")
    with pytest.raises(ValidationError, match=key):
        AppArgs.model_validate(_nested(tuple(section), {key: value}))


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("tracing.endpoint", "http://otel-collector.observability:4318"),
        ("tracing.endpoint", "https://collector.example.com/otlp/"),
        ("gallery.endpoint", "https://s3.eu-central-1.example.com"),
        ("gallery.endpoint", "http://[::1]:9000/"),
        ("triton.url", "https://faces-predictor.example.com"),
        ("triton.url", "unix:/run/faces of us/triton.sock"),
    ],
)
def test_addresses_are_taken_as_they_are_written(path: str, address: str) -> None:
    section, key = path.split(".")
    args = AppArgs.model_validate({section: {key: address}})
    assert getattr(getattr(args, section), key) == address


def test_fewer_replicas_at_most_than_at_least() -> None:
    with pytest.raises(ValidationError, match="max_replicas is smaller than min_replicas"):
        Scale(min_replicas=3, max_replicas=2)


def test_every_default_scale_is_within_its_bounds() -> None:
    for name in ScaleSettings.model_fields:
        scale: Scale = getattr(ScaleSettings(), name)
        assert scale.min_replicas <= scale.max_replicas
        assert scale.target_ongoing_requests <= scale.max_ongoing_requests


def test_no_setting_holds_a_secret() -> None:
    text = AppArgs().model_dump_json().lower()
    assert not any(word in text for word in ("secret", "password", "access_key", "token"))
