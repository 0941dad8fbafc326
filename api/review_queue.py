"""The queue of reviews, page by page, what expires first at the beginning."""

from __future__ import annotations

from adapters.ledger_reader import CursorError
from adapters.review_rows import ReviewQuery, ReviewRowView
from api.auth import check_role
from api.blindness import incomplete
from api.entitlement import is_reviewer
from api.errors import bad_request
from api.review_detail import READERS
from api.review_views import ProposalRef, ReviewItem, ReviewList, shared_fields
from api.services import Services
from domain.identity import Principal

LONGEST_PAGE = 200


async def list_page(
    services: Services, principal: Principal, query: ReviewQuery, limit: int, cursor: str | None
) -> ReviewList:
    """At most ``limit`` reviews behind ``cursor``. Raises ``ApiError`` 400 for a cursor that no list gave out."""
    check_role(principal, *READERS)
    try:
        page = await services.reader.reviews(principal.tenant, query, limit, cursor)
    except CursorError as error:
        raise bad_request(str(error), "cursor") from None
    return ReviewList(items=tuple(_item(principal, row) for row in page.items), next_cursor=page.next_cursor)


def _item(principal: Principal, row: ReviewRowView) -> ReviewItem:
    # Whether a reviewer has decided on this one would have to be looked up, so it is hidden from all of them.
    hide = is_reviewer(principal) and incomplete(row.state, row.approvals_needed)
    return ReviewItem(
        **shared_fields(row, hide_approvals=hide),
        proposal=ProposalRef(
            review_version=row.review_version,
            result_sha256=row.result_sha256,
            stage_index=row.stage_index,
            edited=row.edited,
        ),
        preview=row.preview,
    )
