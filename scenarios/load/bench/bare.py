"""The baseline of `bench graph`: the least an aiohttp server can do for an import, which is to commit one JSON row."""

import sqlite3
from pathlib import Path

from aiohttp import web


def build_app(database: Path) -> web.Application:
    """Return an application with one handler over one SQLite table."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    connection.execute("create table record (id text primary key, body text, blob blob)")

    async def handle(request: web.Request) -> web.Response:
        body = await request.json()
        row = (body["thumbprint"], body["keyName"], body["encryptedPfxBlob"])
        connection.execute("insert into record values (?, ?, ?)", row)
        return web.json_response({"id": body["thumbprint"]}, status=201)

    app = web.Application()
    app.router.add_post("/record", handle)
    return app
