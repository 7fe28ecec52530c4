"""S3 and Triton behind TLS, with an authority that only the settings know."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from serving.errors import Unavailable
from serving.gallery.location import open_store
from serving.model.embedder import Embedder
from serving.settings import GallerySettings, TritonSettings
from serving.stack import triton
from serving.stack.config import BUCKET, StackSettings
from serving.stack.credentials import credentials
from tests.support.certificates import certificate


@contextmanager
def behind_tls(server_at: int | Path, ca: Path, key: Path) -> Iterator[str]:
    """The server at a port or a Unix socket, spoken to by TLS; yields host and port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    loop = asyncio.new_event_loop()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await (
            asyncio.open_connection("127.0.0.1", server_at)
            if isinstance(server_at, int)
            else asyncio.open_unix_connection(server_at)
        )
        await asyncio.gather(pump(reader, here), pump(there, writer))

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        server.close()
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, Path]:
    return certificate(tmp_path)


def test_the_bucket_is_reached_by_tls_with_the_authority_that_is_named(
    stack: StackSettings, tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in credentials(stack.folder).items():
        monkeypatch.setenv(name, value)
    with behind_tls(stack.s3_port, *tls) as address:
        trusted = GallerySettings(bucket=BUCKET, endpoint=f"https://{address}", ca_file=str(tls[0]))
        open_store(trusted)  # writes and reads
        with pytest.raises(Unavailable, match="SSL"):
            open_store(trusted.model_copy(update={"ca_file": None}))


def test_triton_is_reached_by_tls_with_the_authority_that_is_named(
    stack: StackSettings, tls: tuple[Path, Path]
) -> None:
    async def embed(settings: TritonSettings) -> int:
        embedder = Embedder(settings)
        try:
            return len(await embedder.embed(np.zeros((1, 3, 160, 160), np.uint8)))
        finally:
            await embedder.close()

    socket = Path(triton.url_of(stack.folder).removeprefix("unix:"))
    with behind_tls(socket, *tls) as address:
        trusted = TritonSettings(url=f"https://{address}", ca_file=str(tls[0]))
        assert asyncio.run(embed(trusted)) == 1
        with pytest.raises(Unavailable):
            asyncio.run(embed(trusted.model_copy(update={"ca_file": None})))
