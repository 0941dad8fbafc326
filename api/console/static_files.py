"""The console's style and script, under addresses that change with their content and may be kept for ever."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.errors import not_found

_FOLDER = Path(__file__).parent / "static"
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_YEAR = 365 * 24 * 3600

router = APIRouter(include_in_schema=False)


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Every file by its name, with the digest of its content."""
    found = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _KINDS:
            content = path.read_bytes()
            found[path.name] = (content, hashlib.sha256(content).hexdigest()[:16])
    return found


def static_url(name: str) -> str:
    """The address of the file ``name`` with its present content."""
    return f"/console/static/{_files()[name][1]}/{name}"


@router.get("/console/static/{digest}/{name}")
async def read_static(request: Request, digest: str, name: str) -> Response:
    """One file. A digest of another version is answered with the present one, which then may not be kept."""
    if name not in _files():
        raise not_found("file", name[:64].encode("ascii", "replace").decode())
    content, current = _files()[name]
    keep = f"public, max-age={_YEAR}, immutable" if digest == current else "no-cache"
    headers = {"Cache-Control": keep, "X-Content-Type-Options": "nosniff"}
    return Response(content, 200, headers, media_type=_KINDS[Path(name).suffix])
