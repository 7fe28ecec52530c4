"""The card of the model that Triton serves."""

from __future__ import annotations

import asyncio

from serving.errors import InvalidInput
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.settings import AppArgs, TritonSettings


def card_of_gallery(args: AppArgs, model: str) -> ModelCard:
    """The card of a gallery's model, which says from which cosine on somebody is named.

    Raises:
        InvalidInput: another model is served.
        Unavailable: Triton is away.
    """
    card = asyncio.run(served_card(args.triton))
    if card.id != model:
        raise InvalidInput(f"Served is {card.id}, and not {model}: give a --threshold.")
    return card


async def served_card(settings: TritonSettings) -> ModelCard:
    embedder = Embedder(settings)
    try:
        return (await embedder.served()).card
    finally:
        await embedder.close()
