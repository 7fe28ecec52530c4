"""The HTTP API of the audit: who looked up whom, and who changed what: `/audit`."""

from __future__ import annotations

import asyncio
import time
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from serving.api import examples, openapi
from serving.api.context import Collection, Context, ContextDep
from serving.api.replies import reply
from serving.api.request_schemas import Time
from serving.api.schemas import AuditAnswer, ChainBody, ChainsAnswer
from serving.api.scopes import About, needs
from serving.errors import AuditOff
from serving.gallery.retention import seconds_of
from serving.keys import Scope
from serving.settings import MAX_ID
from serving.trail import reading
from serving.trail.paging import Reader
from serving.trail.places import day_of

router = APIRouter(prefix="/audit", tags=["audit"])

_DAYS = 7
Text = Annotated[str | None, Query(min_length=1, max_length=200)]


@router.get("", response_model=AuditAnswer)
@openapi.shows(examples.AUDIT)
@needs(Scope.AUDIT)
async def search(
    collection: Collection,
    context: ContextDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="records in a page")] = 100,
    cursor: Annotated[
        str | None, Query(min_length=1, max_length=400, description="`next` of a page")
    ] = None,
    since: Annotated[
        Time | None, Query(description="RFC 3339: ended then or later; default: 7 days before")
    ] = None,
    until: Annotated[Time | None, Query(description="RFC 3339: ended before then")] = None,
    key: Annotated[Text, Query(description="the name of the caller's key")] = None,
    person: Annotated[
        int | None, Query(ge=0, le=MAX_ID, description="an id, as answer or as candidate")
    ] = None,
    action: Annotated[Text, Query(description="identify, verify, enrol, erase, request, …")] = None,
    request_id: Annotated[Text, Query(description="of one request")] = None,
) -> Response:
    """Records of the audit of one collection, newest first. A page reads a part of the objects, and
    may have no records: go on with `next` until it is null."""
    reader = _reader(context)
    begin = since or _days_before(until)
    query = reading.Query(
        # The times of records have parts of a second.
        since=begin.removesuffix("Z"),
        until=None if until is None else until.removesuffix("Z"),
        collection=collection,
        person=person,
        key=key,
        action=action,
        request_id=request_id,
    )

    async def work() -> Response:
        page = await asyncio.to_thread(reader.search, query, limit=limit, cursor=cursor)
        return await reply(
            lambda: AuditAnswer(
                records=list(page.records),
                next=page.next,
                since=begin,
                look_ups=context.audit.identifications,
                expired_before=page.expired_before,
                problems=list(page.problems),
            )
        )

    return await context.in_time(work())


@router.get("/chains")
@openapi.shows(examples.CHAINS)
@needs(Scope.AUDIT, About.ALL_COLLECTIONS)
async def chains(
    context: ContextDep,
    days: Annotated[int, Query(ge=1, le=31, description="today is the last of them")] = _DAYS,
    cursor: Annotated[
        str | None, Query(min_length=1, max_length=400, description="`next` of a page")
    ] = None,
) -> ChainsAnswer:
    """Check the chains of the last days: whether an object of them is missing or changed. Of
    large amounts a page checks only some: go on with `next`."""
    reader = _reader(context)
    work = asyncio.to_thread(reader.check, days=days, after=cursor)
    found = await context.in_time(work)
    return ChainsAnswer(
        chains=[
            ChainBody(
                chain=report.chain,
                first=report.first,
                last=0 if report.head is None else report.head.number,
                records=report.records,
                lost=report.lost,
                ended=report.ended,
                problems=report.problems,
            )
            for report in found.reports
        ],
        next=found.next,
        expired_before=found.expired_before,
    )


def _reader(context: Context) -> Reader:
    """Raises AuditOff."""
    if context.records is None:
        raise AuditOff(
            "The audit is only in the log of this service. To search it here, set "
            "audit.objects.enabled: true in the settings (settings.audit in the chart's values); "
            "for look-ups audit.identifications: true, too. What was done before is not there."
        )
    return context.records


def _days_before(until: str | None) -> str:
    last = day_of(time.time() if until is None else seconds_of(until))
    return f"{(date.fromisoformat(last) - timedelta(days=_DAYS)).isoformat()}T00:00:00Z"
