"""Keys made by a wallet with staked VVV: the token to sign, and the mint."""

from dataclasses import dataclass
from typing import Annotated

import anyio.to_thread
from mcp_types import CallToolResult

from venice_mcp import wallet
from venice_mcp.app import App, Ctx, app_of, show
from venice_mcp.asking import asks_first, fingerprint
from venice_mcp.errors import VeniceError
from venice_mcp.models.requests import NewKeySettings
from venice_mcp.models.results import NewKey, Web3Token
from venice_mcp.proposals import Proposal, Verdict
from venice_mcp.questions import about_mint
from venice_mcp.secrets import Secret
from venice_mcp.text import to_wire
from venice_mcp.tools.arguments import CreateWeb3ApiKey, NoArguments
from venice_mcp.tools.build import answer
from venice_mcp.tools.keys import check_destination, made_answer, settings_of


async def venice_get_web3_token(args: NoArguments, ctx: Ctx) -> Annotated[CallToolResult, Web3Token]:
    """Get a token to sign with a wallet kept elsewhere, good for 15 minutes. Sign its text with personal_sign, then
    pass it with address and signature to venice_create_web3_api_key. Not needed with a configured wallet."""
    app = app_of(ctx)
    token = await app.client.get_web3_token()
    end = wallet.check_token(token, app.now())
    result = Web3Token(token=show(token), expires_at=to_wire(end), address=await _own_address(app))
    text = (
        f"Token to sign, good for 15 minutes: {result.token}\n"
        "Sign exactly this text with EIP-191 personal_sign, then call venice_create_web3_api_key with"
        " address, signature and token."
    )
    return answer(text, result)


async def propose_mint(args: CreateWeb3ApiKey, ctx: Ctx) -> Proposal:
    app = app_of(ctx)
    address = await _address(app, args)
    settings = settings_of(args, args.description, app.now(), args.api_key_type)
    notes, occupant = await check_destination(args, ctx)
    return Proposal(
        tool=venice_create_web3_api_key.__name__,
        fingerprint=fingerprint(venice_create_web3_api_key.__name__, args, address),
        operation="postApiKeyGenerateWeb3Key",
        intent={"address": address, **settings.model_dump(mode="json")},
        question=about_mint(
            settings,
            address=address,
            destination=args.destination,
            can_revoke=(await app.client.keys.get("ADMIN")).secret is not None,
            now=app.now(),
            notes=notes,
        ),
        destination=args.destination,
        occupant=occupant,
    )


async def venice_create_web3_api_key(
    args: CreateWeb3ApiKey, ctx: Ctx, verdict: Annotated[Verdict, asks_first(propose_mint)]
) -> Annotated[CallToolResult, NewKey]:
    """Mint a key for a wallet with staked VVV after a person approved it. The configured wallet signs; without
    one give address, signature and token of venice_get_web3_token. Prefer a cap and deliver_to."""
    app = app_of(ctx)
    signer = (
        SignedElsewhere(Secret(args.token), Secret(args.signature))
        if args.token is not None and args.signature is not None
        else ConfiguredWallet(app, str(verdict.case.proposal.intent["address"]))
    )
    made = await app.maker.mint(verdict, signer)
    intent = dict(verdict.case.proposal.intent)
    address = str(intent.pop("address"))
    return made_answer(made, NewKeySettings.model_validate(intent), app.now(), address)


@dataclass(frozen=True)
class SignedElsewhere:
    """A token and its signature that came as arguments; the signature was verified before anyone was asked."""

    given_token: Secret
    signature: Secret

    async def token(self) -> Secret:
        return self.given_token

    async def sign(self, token: Secret) -> Secret:
        return self.signature


@dataclass(frozen=True)
class ConfiguredWallet:
    """The wallet this server holds; it signs only a token just fetched from Venice, and only for this address."""

    app: App
    address: str

    async def token(self) -> Secret:
        token = await self.app.client.get_web3_token()
        wallet.check_token(token, self.app.now())
        return token

    async def sign(self, token: Secret) -> Secret:
        key = await _wallet_key(self.app)
        return await anyio.to_thread.run_sync(wallet.sign_token, key, token, self.app.now(), self.address)


async def _address(app: App, args: CreateWeb3ApiKey) -> str:
    """The address that will own the key; a signature made elsewhere is verified here, before anyone is asked."""
    if args.address is None or args.token is None or args.signature is None:
        return await anyio.to_thread.run_sync(wallet.address_of, await _wallet_key(app))
    token, signature = Secret(args.token), Secret(args.signature)
    app.redactor.add(token, label="wallet token")
    app.redactor.add(signature, label="wallet signature")
    wallet.check_token(token, app.now())
    if not await anyio.to_thread.run_sync(wallet.signed_by, args.address, token, signature):
        raise VeniceError(
            "signature: it is not this address's signature of this token, so it was not sent.",
            next_step="Sign the exact token text with EIP-191 personal_sign and call again.",
            code="bad_signature",
        )
    return args.address


async def _own_address(app: App) -> str | None:
    key = (await app.client.keys.get("WALLET")).secret
    return await anyio.to_thread.run_sync(wallet.address_of, key) if key is not None else None


async def _wallet_key(app: App) -> Secret:
    found = await app.client.keys.get("WALLET")
    if found.secret is not None:
        return found.secret
    raise VeniceError(
        f"{found.problem or 'VENICE_WALLET_KEY is not configured.'} Minting needs a wallet to sign with.",
        next_step="Configure VENICE_WALLET_KEY or VENICE_WALLET_KEYSTORE_FILE and restart, or sign elsewhere: get a"
        " token with venice_get_web3_token and pass address, signature and token. Never paste a private key into the"
        " chat.",
        code="key_missing",
    )
