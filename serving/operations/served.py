"""The card of the model that Triton serves."""

from __future__ import annotations

import asyncio

from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.settings import TritonSettings


def served_card(settings: TritonSettings) -> ModelCard:
    """Ask Triton for the card of its model; runs an event loop of its own.

    Raises:
        Unavailable: Triton is away, or what it serves has no card.
    """
    return asyncio.run(_served_card(settings))


async def _served_card(settings: TritonSettings) -> ModelCard:
    embedder = Embedder(settings)
    try:
        return (await embedder.served()).card
    finally:
        await embedder.close()
