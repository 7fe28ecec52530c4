"""The ingress deployment: it serves the HTTP API and alone calls the stages."""

from __future__ import annotations

import asyncio
import os
from functools import partial

from fastapi import FastAPI

from serving.api.build import build_api
from serving.events.event import LOOKUPS
from serving.events.outbox import Outbox
from serving.events.queue import NEEDS, Queue
from serving.events.worker import Worker
from serving.gallery.s3 import connect
from serving.model.embedder import Embedder
from serving.model.liveness import LivenessModel
from serving.pipeline.freshness import Versions
from serving.pipeline.identities import Identities
from serving.pipeline.pipeline import Pipeline
from serving.settings import AppArgs
from serving.stages.remote import Handle, RemoteDecode, RemoteDetect, RemoteMatch
from serving.telemetry import replica
from serving.telemetry.audit_metrics import AuditMetrics
from serving.telemetry.event_metrics import EventMetrics
from serving.telemetry.metrics import ApiMetrics, KeyGauge, LoopGauge, StoreMetrics
from serving.trail import inputs
from serving.trail.paging import Reader
from serving.trail.places import Places
from serving.trail.writer import Trail
from serving.valid_keys import Keys


class Ingress:
    """The deployment. Serve asks it for its ASGI application after the constructor.

    Args:
        decode, detect, match: handles of the stages.
    """

    def __init__(self, decode: Handle, detect: Handle, match: Handle, settings: AppArgs) -> None:
        replica.start("ingress", settings.tracing)
        self._settings = settings
        self._metrics = ApiMetrics(settings.gallery.collection)
        embedder = Embedder(settings.triton, observe=self._metrics.asked_triton)
        liveness = (
            None
            if settings.liveness.model is None
            else LivenessModel(
                settings.liveness, settings.triton, observe=self._metrics.asked_liveness
            )
        )
        store = StoreMetrics()
        versions = Versions(settings.gallery, store)
        matcher = RemoteMatch(match)
        self._pipeline = Pipeline(
            RemoteDecode(decode),
            RemoteDetect(detect),
            matcher,
            embedder=embedder,
            versions=versions,
            limits=settings.limits,
            matching=settings.match,
            lookup=settings.lookup,
            enrolment=settings.enrolment,
            keeping=settings.retention,
            collection=settings.gallery.collection,
            detector=settings.detect.model,
            seen=self._metrics.seen,
            liveness=liveness,
            live=settings.liveness,
        )
        self._register = Identities(matcher, embedder, versions, settings.retention)
        self._trail = _trail(settings, store)
        self._records = _reader(settings, store)
        self._outbox, self._worker = _events(settings, store)
        self._input_key = inputs.key_in(os.environ) if settings.audit.input_hash else None
        self._keys = Keys(settings.keys) if settings.keys.required else None
        self._following = asyncio.create_task(KeyGauge().follow(self._keys))

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_api(
            self._pipeline,
            self._register,
            self._settings,
            metrics=self._metrics,
            keys=self._keys,
            lag=LoopGauge(),
            trail=self._trail,
            input_key=self._input_key,
            records=self._records,
            outbox=self._outbox,
            worker=self._worker,
        )


def _trail(settings: AppArgs, store: StoreMetrics) -> Trail | None:
    """The writer of the audit's objects; None: the settings want none."""
    watch = AuditMetrics()  # also without: its counters are 0
    if not settings.audit.objects.enabled:
        return None
    places = partial(Places.of, settings, store)
    return Trail(settings.audit.objects, places, replica.name(), watch)


def _reader(settings: AppArgs, store: StoreMetrics) -> Reader | None:
    """The reader of the audit's objects; None: the settings want none."""
    if not settings.audit.objects.enabled:
        return None
    return Reader(partial(Places.of, settings, store))


def _events(settings: AppArgs, store: StoreMetrics) -> tuple[Outbox | None, Worker | None]:
    """Who writes the events of look-ups, and who delivers all; None: the settings want none."""
    watch = EventMetrics()  # also without: its counters are 0
    events, gallery = settings.events, settings.gallery
    if events.url is None:
        return None, None

    def queue() -> Queue:
        return Queue(connect(gallery, store, needs=NEEDS), events.prefix)

    outbox = Outbox(events, queue, watch) if set(events.kinds) & set(LOOKUPS) else None
    return outbox, Worker(events, queue, gallery.prefix, replica.name(), watch)
