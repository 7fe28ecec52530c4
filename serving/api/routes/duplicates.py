"""The HTTP API of people who may be one person: `/duplicates`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from serving.api import examples, openapi
from serving.api.answers import identity_of
from serving.api.context import Collection, ContextDep
from serving.api.replies import reply
from serving.api.schemas import DuplicateBody, DuplicatesAnswer
from serving.api.scopes import needs
from serving.keys import Scope
from serving.matching.records import DuplicatesPage
from serving.model.card import ModelCard
from serving.settings import MAX_ID

router = APIRouter(tags=["identities"])


@router.get("/duplicates", response_model=DuplicatesAnswer)
@openapi.shows(examples.DUPLICATES)
@needs(Scope.ENROL)
async def duplicates(
    collection: Collection,
    context: ContextDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="pairs in a page")] = 100,
    cursor: Annotated[int, Query(ge=-1, le=MAX_ID, description="`next` of a page")] = -1,
    threshold: Annotated[
        float | None,
        Query(
            ge=-1,
            le=1,
            allow_inf_nan=False,
            description="cosine from which on; default: from which on /infer names somebody",
        ),
    ] = None,
) -> Response:
    """People who may be one person, to be merged. Of a large gallery a page compares only some
    people with all others: go on with `next`."""
    register = context.register

    async def work() -> Response:
        card = await register.card()
        page = await register.duplicates(collection, threshold, limit, cursor)
        return await reply(lambda: answer(card, page))

    def answer(card: ModelCard, page: DuplicatesPage) -> DuplicatesAnswer:
        return DuplicatesAnswer(
            duplicates=[
                DuplicateBody(
                    a=identity_of(pair.a, card.id),
                    b=identity_of(pair.b, card.id),
                    similarity=round(pair.similarity, 4),
                    confidence=round(card.confidence(pair.similarity, page.people), 4),
                )
                for pair in page.pairs
            ],
            found=page.found,
            next=page.next,
            threshold=round(page.threshold, 4),
            total=page.people,
            model=card.id,
            gallery_version=page.gallery_version,
        )

    return await context.in_time(work())
