"""One method per Venice endpoint. Reads take no consent; a write cannot be called without one.

Each method raises `VeniceError` for every refusal and for answers that are not what the contract promises; a
write raises `AnswerLost` when it may have taken effect without a usable answer.
"""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from venice_mcp.client.keys import ConfiguredKeys
from venice_mcp.client.refusals import mint_refusal, not_found, refusal
from venice_mcp.client.transport import Answer, Transport
from venice_mcp.consent import Consent
from venice_mcp.errors import AnswerLost, VeniceError
from venice_mcp.models.requests import KeyChange, NewKeySettings
from venice_mcp.models.wire import (
    AnalyticsAnswer,
    BalanceAnswer,
    Done,
    Key,
    KeyAnswer,
    KeyList,
    LogAnswer,
    LogRow,
    Model,
    ModelList,
    NewKeyAnswer,
    NewKeyData,
    RateLimitsAnswer,
    RateLimitsData,
    TokenAnswer,
    UsageAnswer,
    Wire,
)
from venice_mcp.operating import giving
from venice_mcp.secrets import Redactor, Secret
from venice_mcp.settings import Credential, KeyKind

_Shape = TypeVar("_Shape", bound=Wire)

_WHY_ADMIN = "Only an ADMIN key may manage keys and read billing"
_WHY_INFERENCE = "An INFERENCE key is enough for this, and the weakest key that works is the right one"


class VeniceClient:
    """Venice's key, limit and billing endpoints, with the weakest configured key that may call each."""

    def __init__(self, keys: ConfiguredKeys, transport: Transport, redactor: Redactor) -> None:
        self.keys = keys
        self.transport = transport
        self._redactor = redactor
        self._log_needs_admin = False
        self.seen: dict[str, Key] = {}
        """Every key that was listed since the server started, by id, as it was the last time."""

    # --- keys ---------------------------------------------------------------------------------

    async def list_api_keys(self) -> list[Key]:
        """GET /api_keys: every active key (at most 500), no secrets. Source: getApiKeys."""
        answer = await self._read("/api_keys", doing="list the keys", key=await self._need("ADMIN"))
        keys = self._parse(KeyList, answer).data
        self.seen.update({key.id: key for key in keys})
        return keys

    async def get_api_key(self, key_id: str) -> Key:
        """GET /api_keys/{id}. Source: getApiKeyById; the status for an unknown id is not documented.

        Raises:
            VeniceError: with code `not_found` for an id Venice does not know.
        """
        admin = await self._need("ADMIN")
        # Ids of Venice's own lists come here too, and nothing of theirs may steer the path.
        answer = await self.transport.read(f"/api_keys/{quote(key_id, safe='')}", key=admin.secret)
        if answer.status in (400, 404):
            raise not_found(key_id)
        self._refuse_unless_ok(answer, doing="read the key", key=admin)
        return self._parse(KeyAnswer, answer).data

    async def create_api_key(self, settings: NewKeySettings, consent: Consent) -> NewKeyData:
        """POST /api_keys: make a key; the answer holds its secret, this once. Source: createApiKey."""
        consent.claim("createApiKey", settings.model_dump(mode="json"))
        admin = await self._need("ADMIN")
        answer = await self.transport.write("POST", "/api_keys", body=settings.to_wire(), key=admin.secret)
        self._refuse_unless_ok(answer, doing="create the key", key=admin)
        return self._made(answer, consent)

    async def update_api_key(self, change: KeyChange, consent: Consent) -> Key:
        """PATCH /api_keys: change a key; both caps are always sent together. Source: updateApiKey."""
        consent.claim("updateApiKey", change.intent())
        admin = await self._need("ADMIN")
        answer = await self.transport.write("PATCH", "/api_keys", body=change.to_wire(), key=admin.secret)
        self._refuse_unless_ok(answer, doing="change the key", key=admin)
        return self._parse_write(KeyAnswer, answer).data

    async def delete_api_key(self, key_id: str, consent: Consent) -> None:
        """DELETE /api_keys?id=: revoke a key at once and for good. Source: deleteApiKey."""
        consent.claim("deleteApiKey", {"id": key_id})
        admin = await self._need("ADMIN")
        answer = await self.transport.write("DELETE", "/api_keys", query={"id": key_id}, key=admin.secret)
        self._refuse_unless_ok(answer, doing="revoke the key", key=admin)
        self._parse_write(Done, answer)

    # --- limits -------------------------------------------------------------------------------

    async def get_rate_limits(self, key: KeyKind | Secret) -> RateLimitsData:
        """GET /api_keys/rate_limits, which describes only the calling key: a configured one, or a new one that is
        to be proven. Source: getApiKeyRateLimits.
        """
        held = Credential("INFERENCE", key, "new") if isinstance(key, Secret) else await self._need(key)
        answer = await self.transport.read("/api_keys/rate_limits", key=held.secret)
        self._refuse_unless_ok(answer, doing="read the rate limits", key=None if isinstance(key, Secret) else held)
        return self._parse(RateLimitsAnswer, answer).data

    @property
    def log_needs_admin(self) -> bool:
        """Whether the INFERENCE key was refused the log before."""
        return self._log_needs_admin

    async def get_rate_limit_log(self, *, prefer_admin: bool = False) -> list[LogRow]:
        """GET /api_keys/rate_limits/log, the last 50 hits of the account. Source: getApiKeyRateLimitLogs.

        Venice's documents disagree on whether an INFERENCE key may read it, so it is tried first; a refusal is
        remembered, so that it is not tried (and counted as a failure) again. `prefer_admin` spares the try.
        """
        inference = await self.keys.get("INFERENCE")
        admin = await self.keys.get("ADMIN")
        known_to_need_admin = (self._log_needs_admin or prefer_admin) and admin.secret is not None
        first = inference if inference.secret and not known_to_need_admin else await self._need("ADMIN")
        path = "/api_keys/rate_limits/log"
        answer = await self.transport.read(path, key=first.secret)
        if answer.status in (401, 403) and first is inference:
            self._log_needs_admin = True
            first = await self._need("ADMIN")
            answer = await self.transport.read(path, key=first.secret)
        self._refuse_unless_ok(answer, doing="read the rate limit log", key=first)
        return self._parse(LogAnswer, answer).data

    # --- models -------------------------------------------------------------------------------

    async def list_models(self) -> list[Model]:
        """GET /models?type=all: what is on offer, of every type. No key is sent. Source: listModels."""
        answer = await self.transport.read("/models", query={"type": "all"})
        self._refuse_unless_ok(answer, doing="list the models", key=None)
        return self._parse(ModelList, answer).data

    # --- wallet-made keys ---------------------------------------------------------------------

    async def get_web3_token(self) -> Secret:
        """GET /api_keys/generate_web3_key: a token to sign, good for 15 minutes. No key is sent.

        Source: getApiKeyGenerateWeb3Key.
        """
        answer = await self.transport.read("/api_keys/generate_web3_key")
        self._refuse_unless_ok(answer, doing="issue a wallet token", key=None)
        token = self._parse(TokenAnswer, answer).data.token
        self._redactor.add(token, label="wallet token")
        return token

    async def create_web3_api_key(
        self, settings: NewKeySettings, *, address: str, token: Secret, signature: Secret, consent: Consent
    ) -> NewKeyData:
        """POST /api_keys/generate_web3_key: make a key for the wallet that signed. No key is sent.

        Every refusal is a 400 told apart by its text. Source: postApiKeyGenerateWeb3Key.
        """
        consent.claim("postApiKeyGenerateWeb3Key", {"address": address, **settings.model_dump(mode="json")})
        self._redactor.add(token, label="wallet token")
        self._redactor.add(signature, label="wallet signature")
        body = settings.to_wire() | {
            "address": address,
            "token": token.reveal(),
            "signature": signature.reveal(),
        }
        answer = await self.transport.write("POST", "/api_keys/generate_web3_key", body=body)
        if answer.status == 400:
            raise mint_refusal(answer, self._redactor, self.transport.now())
        self._refuse_unless_ok(answer, doing="mint the key", key=None)
        return self._made(answer, consent)

    # --- billing ------------------------------------------------------------------------------

    async def get_billing_balance(self) -> BalanceAnswer:
        """GET /billing/balance. Source: getBillingBalance."""
        answer = await self._read("/billing/balance", doing="read the balance", key=await self._need("ADMIN"))
        return self._parse(BalanceAnswer, answer)

    async def get_billing_usage(self, query: Mapping[str, str]) -> UsageAnswer:
        """GET /billing/usage-history: one page, oldest first. A query with `cursor` holds nothing else.

        Source: getBillingUsageHistory. The older /billing/usage was shut down on 2026-09-16.
        """
        answer = await self._read(
            "/billing/usage-history", doing="read the usage history", key=await self._need("ADMIN"), query=query
        )
        return self._parse(UsageAnswer, answer)

    async def get_usage_analytics(self, query: Mapping[str, str]) -> AnalyticsAnswer:
        """GET /billing/usage-analytics (beta; cached for 10 minutes). Source: getBillingUsageAnalytics."""
        admin = await self._need("ADMIN")
        answer = await self.transport.read("/billing/usage-analytics", query=query, key=admin.secret)
        if answer.status == 504:
            raise VeniceError(
                "Venice took too long to add this period up.",
                next_step="Ask for a shorter lookback.",
                code="too_slow",
                status=504,
            )
        self._refuse_unless_ok(answer, doing="read the usage analytics", key=admin)
        return self._parse(AnalyticsAnswer, answer)

    # --- shared -------------------------------------------------------------------------------

    async def _need(self, kind: KeyKind) -> Credential:
        """The configured key of this kind, or an account of what is missing and why this kind is right."""
        found = await self.keys.get(kind)
        if found.secret is not None:
            return found
        why = _WHY_ADMIN if kind == "ADMIN" else _WHY_INFERENCE
        state = found.problem or f"{found.variable} is not configured."
        raise VeniceError(
            f"{state} {why}.",
            next_step=f"{giving(kind, self.keys.host)} Never paste a key into the chat.",
            code="key_missing",
        )

    async def _read(self, path: str, *, doing: str, key: Credential, query: Mapping[str, str] | None = None) -> Answer:
        answer = await self.transport.read(path, query=query, key=key.secret)
        self._refuse_unless_ok(answer, doing=doing, key=key)
        return answer

    def _refuse_unless_ok(self, answer: Answer, *, doing: str, key: Credential | None) -> None:
        if answer.ok and answer.is_json:
            return
        now = self.transport.now()
        raise refusal(answer, self._redactor, now, doing=doing, used=key.variable if key else "")

    def _made(self, answer: Answer, consent: Consent) -> NewKeyData:
        """The new key; from here on its secret is known to the redactor, and the consent knows what it made."""
        new = self._parse_write(NewKeyAnswer, answer).data
        self._redactor.add(new.api_key, label="key")
        consent.record_made(new.id)
        return new

    def _parse(self, shape: type[_Shape], answer: Answer) -> _Shape:
        """A read's answer in its shape. Secrets we know are taken out before any text of it is cut to length."""
        body = answer.body if shape is TokenAnswer else self._redactor.redact_tree(answer.body)
        try:
            return shape.model_validate(body)
        except ValidationError as error:
            raise VeniceError(
                f"Venice's answer does not have the documented shape ({_where(error)}).",
                next_step="Call again; if it persists, update venice-mcp.",
                code="unexpected_answer",
            ) from None

    def _parse_write(self, shape: type[_Shape], answer: Answer) -> _Shape:
        """A write's answer in its shape. Whatever does not clearly say yes may still have been done."""
        body = answer.body if shape is NewKeyAnswer else self._redactor.redact_tree(answer.body)
        try:
            return shape.model_validate(body)
        except ValidationError as error:
            raise AnswerLost(
                f"Venice answered {answer.status}, but not in the documented shape ({_where(error)})."
            ) from None


def _where(error: ValidationError) -> str:
    """The first place that did not fit; never the value that stood there."""
    first: Any = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return ".".join(str(part) for part in first["loc"]) or "body"
