"""The HTTP API of collections: `/collections`."""

from __future__ import annotations

from fastapi import APIRouter

from serving.api import examples, openapi
from serving.api.context import ContextDep
from serving.api.schemas import CollectionBody, CollectionsAnswer
from serving.api.scopes import About, needs
from serving.keys import Scope

router = APIRouter()


@router.get("/collections")
@openapi.shows(examples.COLLECTIONS)
@needs(Scope.ADMIN, About.ALL_COLLECTIONS)
async def collections(context: ContextDep) -> CollectionsAnswer:
    """The collections in which somebody is or was enrolled. One begins with the first
    enrolment below `/collections/{name}`."""
    models_of = await context.in_time(context.register.collections())
    return CollectionsAnswer(
        collections=[CollectionBody(name=name, models=models) for name, models in models_of.items()]
    )
