"""Asks a sandbox in this process, with a clock that stands still until it is moved."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from venice_mcp.sandbox import Sandbox, create_app

# The middle of a month and of a day, so that every period has begun and none is about to end.
NOON = datetime(2026, 10, 15, 12, 0, 0, 250_000, tzinfo=UTC)
Json = dict[str, Any]
Watcher = Callable[[httpx.Response], None]


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **span: float) -> None:
        self.at += timedelta(**span)


class Door:
    """A caller of one sandbox. `watch` sees every answer, whoever asked for it."""

    def __init__(self, sandbox: Sandbox, clock: Clock, watch: Watcher | None = None) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.watch = watch

    def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = "admin",
        client: str = "127.0.0.1",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """One request; `key` is "admin", "inference", a secret, or None for no key."""
        own = {"admin": self.sandbox.admin_key, "inference": self.sandbox.inference_key}
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {own.get(key, key)}"

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.sandbox, client=(client, 50_000))
            async with httpx.AsyncClient(transport=transport, base_url="http://sandbox/api/v1") as caller:
                return await caller.request(method, path, headers=sent, **options)

        response = asyncio.run(exchange())
        if self.watch:
            self.watch(response)
        return response

    def get(self, path: str, **options: Any) -> Json:
        response = self.ask("GET", path, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def listed(self) -> list[Json]:
        return self.get("/api_keys")["data"]

    def create(self, **members: object) -> Json:
        body = {"apiKeyType": "INFERENCE", "description": "made by a test", **members}
        response = self.ask("POST", "/api_keys", json=body)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def update(self, key_id: str, **members: object) -> Json:
        response = self.ask("PATCH", "/api_keys", json={"id": key_id, **members})
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def read(self, key_id: str) -> Json:
        return self.get(f"/api_keys/{key_id}")["data"]

    def refusal(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        response = self.ask(method, path, **options)
        assert response.status_code >= 400, response.text
        return response.status_code, response.json()["error"]


def open_door(scenario: str = "demo", *, watch: Watcher | None = None, **options: Any) -> Door:
    clock = options.pop("now", None) or Clock()
    return Door(create_app(scenario=scenario, now=clock, **options), clock, watch)
