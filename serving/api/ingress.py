"""The HTTP API; the only caller of the stages."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from serving.api.build import build_api
from serving.keys import Keys
from serving.model.embedder import Embedder
from serving.pipeline.freshness import Versions
from serving.pipeline.identities import Identities
from serving.pipeline.pipeline import Pipeline
from serving.settings import (
    EnrolmentSettings,
    GallerySettings,
    KeySettings,
    LimitSettings,
    MatchSettings,
    TracingSettings,
    TritonSettings,
)
from serving.stages.remote import Handle, RemoteDecode, RemoteDetect, RemoteMatch
from serving.telemetry import replica
from serving.telemetry.metrics import ApiMetrics, StoreMetrics


class Ingress:
    """The deployment. Serve asks it for its ASGI application after the constructor."""

    def __init__(
        self,
        decode: Handle,
        detect: Handle,
        match: Handle,
        triton: TritonSettings,
        gallery: GallerySettings,
        matching: MatchSettings,
        limits: LimitSettings,
        keys: KeySettings,
        traces: TracingSettings,
        console: bool = True,
        enrolment: EnrolmentSettings | None = None,
        hosts: Sequence[str] | None = None,
    ) -> None:
        replica.start("ingress", traces)
        self._metrics = ApiMetrics()
        embedder = Embedder(triton, observe=self._metrics.asked_triton)
        matcher = RemoteMatch(match)
        versions = Versions(gallery, StoreMetrics())
        self._pipeline = Pipeline(
            RemoteDecode(decode),
            RemoteDetect(detect),
            matcher,
            embedder,
            versions,
            limits,
            gallery.collection,
            self._metrics.seen,
            enrolment,
        )
        self._register = Identities(matcher, embedder, versions)
        self._limits = limits
        self._matching = matching
        self._keys = Keys(keys) if keys.required else None
        self._collection = gallery.collection
        self._console = console
        self._hosts = hosts

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_api(
            self._pipeline,
            self._register,
            self._limits,
            self._matching,
            self._metrics,
            self._keys,
            self._collection,
            self._console,
            self._hosts,
        )
