"""Queues and who decides over them: their members, and reviewers who decide in somebody's place for a time."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from adapters.roster import DelegationView, QueueView, RosterError
from api.auth import check_role, require
from api.bodies import read_json, read_query
from api.claims import PersonName
from api.entitlement import DECIDERS
from api.errors import ApiError, bad_request, checked_id, not_found
from api.openapi import documented, error_answers
from api.services import Services, services_of
from api.views import View, utc
from domain.identity import Principal, Role
from domain.payload import Name

QUEUE_READERS = (*DECIDERS, Role.OPERATOR, Role.AUDITOR)
QUEUE_KEEPERS = (Role.OPERATOR,)
DELEGATION_READERS = QUEUE_READERS
DELEGATORS = (*DECIDERS, Role.OPERATOR)

router = APIRouter(prefix="/v1", tags=["queues"])
_QUEUE: TypeAdapter[str] = TypeAdapter(Name)
_PERSON: TypeAdapter[str] = TypeAdapter(PersonName)


class Member(View):
    """A person who decides over a queue, and who let them."""

    name: str
    added_by: str
    added_at: datetime


class Queue(View):
    """A queue. Without members it is open to every reviewer, with members only they decide."""

    name: str
    members: tuple[Member, ...]
    pending: int


class QueueList(View):
    """Every queue that has members or has ever had a review."""

    items: tuple[Queue, ...]


class Delegation(View):
    """``delegator`` lets ``delegate`` decide in their place, in every queue of theirs where ``queue`` is null."""

    id: str
    delegator: str
    delegate: str
    queue: str | None
    starts_at: datetime
    ends_at: datetime
    created_by: str
    created_at: datetime
    revoked_at: datetime | None


class DelegationList(View):
    """Delegations, past ones too."""

    items: tuple[Delegation, ...]


class DelegationBody(BaseModel):
    """Who decides for whom, and until when. An operator names the ``delegator``; for others it is themselves."""

    model_config = ConfigDict(frozen=True)

    delegate: PersonName
    ends_at: AwareDatetime
    starts_at: AwareDatetime | None = None
    """Now if absent."""
    queue: Name | None = None
    """All of the delegator's queues if absent."""
    delegator: PersonName | None = None


async def queues(services: Services, principal: Principal) -> QueueList:
    """The tenant's queues. Raises ``ApiError`` 403."""
    check_role(principal, *QUEUE_READERS)
    return QueueList(items=tuple(_queue(found) for found in await services.roster.queues(principal.tenant)))


async def add_member(services: Services, principal: Principal, queue: str, name: str) -> Queue:
    """Let somebody decide over a queue; the first member closes it to all others. Again is no change.

    Raises ``ApiError`` 400 or 403.
    """
    check_role(principal, *QUEUE_KEEPERS)
    await services.roster.add_member(principal.tenant, _queue_name(queue), _person(name), principal.name)
    return await _one_queue(services, principal.tenant, queue)


async def remove_member(services: Services, principal: Principal, queue: str, name: str) -> Queue:
    """Take somebody out of a queue; the last one opens it to every reviewer. Raises ``ApiError`` 400, 403 or 404."""
    check_role(principal, *QUEUE_KEEPERS)
    if not await services.roster.remove_member(principal.tenant, _queue_name(queue), _person(name)):
        raise ApiError(404, "not_found", f"name: {name!r} is not a member of queue {queue!r}", param="name")
    return await _one_queue(services, principal.tenant, queue)


async def _one_queue(services: Services, tenant: str, queue: str) -> Queue:
    found = [_queue(item) for item in await services.roster.queues(tenant) if item.name == queue]
    return found[0] if found else Queue(name=queue, members=(), pending=0)


async def delegations(services: Services, principal: Principal, person: str | None = None) -> DelegationList:
    """Delegations from and to ``person``. Reviewers see their own, operators and auditors everybody's.

    Raises ``ApiError`` 400 or 403.
    """
    check_role(principal, *DELEGATION_READERS)
    asked = None if person is None else _person(person, "person")
    if not _sees_all(principal):
        if asked not in (None, principal.name):
            raise _only_own("person", f"the delegations of {principal.name!r}")
        asked = principal.name
    found = await services.roster.delegations(principal.tenant, asked)
    return DelegationList(items=tuple(_delegation(item) for item in found))


async def delegate(services: Services, principal: Principal, body: DelegationBody) -> Delegation:
    """Let somebody decide in one's place. Raises ``ApiError`` 400 or 403.

    **Correctness:** run twice, it makes two delegations with the same effect; revoking has to revoke both.
    """
    check_role(principal, *DELEGATORS)
    delegator = body.delegator or principal.name
    if delegator != principal.name and Role.OPERATOR not in principal.roles:
        raise _only_own("delegator", "their own part; leave it out, or ask an operator")
    now = services.clock()
    if body.ends_at <= now:
        raise bad_request("ends_at: is over already; give a later time", "ends_at")
    try:
        made = await services.roster.delegate(
            principal.tenant,
            delegator,
            body.delegate,
            body.queue,
            body.starts_at or now,
            body.ends_at,
            principal.name,
        )
    except RosterError as error:
        raise bad_request(str(error), "body") from None
    return _delegation(made)


async def revoke(services: Services, principal: Principal, identifier: str) -> Delegation:
    """End a delegation now; it stays in the list. Raises ``ApiError`` 403 or 404. Again is no change."""
    check_role(principal, *DELEGATORS)
    tenant = principal.tenant
    checked_id("delegation", identifier)
    if Role.OPERATOR not in principal.roles:
        own = await services.roster.delegations(tenant, principal.name)
        if not any(item.id == identifier and item.delegator == principal.name for item in own):
            raise not_found("delegation of yours", identifier)
    ended = await services.roster.revoke_delegation(tenant, identifier)
    if ended is None:
        raise not_found("delegation", identifier)
    return _delegation(ended)


def _sees_all(principal: Principal) -> bool:
    return not principal.roles.isdisjoint((Role.OPERATOR, Role.AUDITOR))


def _only_own(param: str, what: str) -> ApiError:
    return ApiError(403, "only_own", f"{param}: a reviewer's key reaches only {what}", param=param)


def _queue_name(name: str) -> str:
    try:
        return _QUEUE.validate_python(name)
    except ValidationError:
        raise bad_request("queue: is not the name of a queue; see 'hold.queue' in the policies", "queue") from None


def _person(name: str, param: str = "name") -> str:
    try:
        return _PERSON.validate_python(name)
    except ValidationError:
        raise bad_request(f"{param}: is not the name of a person; use the one on their key", param) from None


def _queue(found: QueueView) -> Queue:
    members = tuple(
        Member(name=member.name, added_by=member.added_by, added_at=member.added_at) for member in found.members
    )
    return Queue(name=found.name, members=members, pending=found.pending)


def _delegation(found: DelegationView) -> Delegation:
    moments = {field: utc(getattr(found, field)) for field in ("starts_at", "ends_at", "created_at", "revoked_at")}
    return Delegation(**dict(found) | moments)


def _json(answer: BaseModel, status: int = 200) -> Response:
    return Response(answer.model_dump_json(), status, media_type="application/json")


@router.get("/queues", response_model=QueueList, responses=error_answers(400, 403), openapi_extra=documented())
async def list_queues(request: Request) -> Response:
    """Every queue with its members and how many reviews await a decision in it."""
    principal = await require(request, *QUEUE_READERS)
    read_query(request)
    return _json(await queues(services_of(request), principal))


@router.put(
    "/queues/{queue}/members/{name}",
    response_model=Queue,
    responses=error_answers(400, 403),
    openapi_extra=documented(),
)
async def put_member(request: Request, queue: str, name: str) -> Response:
    """Let somebody decide over a queue; the first member closes it to all other reviewers. Again is no change."""
    principal = await require(request, *QUEUE_KEEPERS)
    read_query(request)
    return _json(await add_member(services_of(request), principal, queue, name))


@router.delete(
    "/queues/{queue}/members/{name}",
    response_model=Queue,
    responses=error_answers(400, 403, 404),
    openapi_extra=documented(),
)
async def delete_member(request: Request, queue: str, name: str) -> Response:
    """Take somebody out of a queue; without its last member it is open to every reviewer."""
    principal = await require(request, *QUEUE_KEEPERS)
    read_query(request)
    return _json(await remove_member(services_of(request), principal, queue, name))


@router.get(
    "/delegations",
    response_model=DelegationList,
    responses=error_answers(400, 403),
    openapi_extra=documented(query={"person": "Only those from or to this person; reviewers see no others' anyway"}),
)
async def list_delegations(request: Request) -> Response:
    """Delegations, those that end last at the beginning; past and revoked ones too."""
    principal = await require(request, *DELEGATION_READERS)
    query = read_query(request, "person")
    return _json(await delegations(services_of(request), principal, query.get("person")))


@router.post(
    "/delegations",
    response_model=Delegation,
    status_code=201,
    responses=error_answers(400, 403, 413, 415),
    openapi_extra=documented(
        DelegationBody, {"delegate": "otto", "ends_at": "2026-12-24T00:00:00Z", "queue": "compliance"}
    ),
)
async def post_delegation(request: Request) -> Response:
    """Let another reviewer decide in one's place for a time. Run twice, it makes two."""
    principal = await require(request, *DELEGATORS)
    services = services_of(request)
    read_query(request)
    body = await read_json(request, DelegationBody, services.limits.max_body_bytes)
    return _json(await delegate(services, principal, body), 201)


@router.delete(
    "/delegations/{id}",
    response_model=Delegation,
    responses=error_answers(400, 403, 404),
    openapi_extra=documented(),
)
async def delete_delegation(request: Request, id: str) -> Response:
    """End a delegation now. It stays in the list; again is no change."""
    principal = await require(request, *DELEGATORS)
    read_query(request)
    return _json(await revoke(services_of(request), principal, id))
