"""``python -m tests.browser.pictures``: takes the pictures of the console that the documents show.

Runs a stack of its own, sends it the sample requests that wait for a person, and photographs every page.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from standalone.samples import Sample, load_samples
from tests.browser.stack import ConsoleStack, Person, console_stack

IMAGES = Path(__file__).parents[2] / "docs" / "images"
"""Where the pictures go."""
MARKED = "chargeback"
"""A sample whose answer a check objects to in a place that can be marked."""
CLIMBED = "nobody-knows"
"""A sample that every model was asked about."""
RELEASED = "injection-roleplay"
"""A sample whose answer can be let out as it is."""


async def _stage(console: ConsoleStack) -> dict[str, str]:
    """Send all samples that are held, and decide over some; the requests' ids by sample."""
    held = {sample.id: await _send(console, sample) for sample in load_samples() if sample.expect.status == "held"}
    for request_id in held.values():
        await console.in_state(request_id, "held")
    async with console.person("rita") as rita, console.person("otto") as otto, console.person("sara") as sara:
        await sara.review(held[RELEASED])
        await otto.review(held[CLIMBED])
        await otto.page.click("text=Take it")
        await otto.page.wait_for_selector("text=You have it")
        await rita.review(held[RELEASED])
        await rita.decide("approve", "read, and nothing to object to")
    return held


async def _send(console: ConsoleStack, sample: Sample) -> str:
    body = sample.body().model_dump(mode="json", exclude_unset=True, exclude={"policy", "input"})
    return await console.ask(sample.prompt, sample.policy, **{"subject": sample.id, "constraints": {}, **body})


async def _shoot(person: Person, name: str, *, whole: bool = False) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    await person.page.screenshot(path=IMAGES / f"{name}.png", full_page=whole)
    print(f"docs/images/{name}.png")


async def _photograph(console: ConsoleStack, held: dict[str, str]) -> None:
    for scheme in ("light", "dark"):
        suffix = "" if scheme == "light" else "-dark"
        async with console.person("rita", color_scheme=scheme) as rita:
            await rita.open("/console/reviews")
            await _shoot(rita, f"queue{suffix}")
            await rita.review(held[MARKED])
            await _shoot(rita, f"review{suffix}")
            await rita.review(held[CLIMBED])
            await _shoot(rita, f"attempts{suffix}")
            await rita.review(held[MARKED])
            await rita.choose("edit", "nobody has decided on a refund yet")
            text = await rita.page.input_value("#output")
            await rita.page.fill("#output", text.replace("has been issued", "is being looked at"))
            await rita.page.wait_for_selector("#diff ins")
            await _shoot(rita, f"edit{suffix}")
    async with console.person("sara") as sara, console.person("anna") as anna:
        await anna.open(f"/console/requests/{held[RELEASED]}")
        await _shoot(anna, "request", whole=True)
        await sara.open("/console/figures")
        await _shoot(sara, "figures", whole=True)
    async with console.person("rita", viewport={"width": 390, "height": 844}) as rita:
        await rita.open("/console/reviews")
        await _shoot(rita, "queue-phone")
        await rita.review(held[MARKED])
        await _shoot(rita, "review-phone", whole=True)
    async with console.person("anna", viewport={"width": 390, "height": 844}) as anna:
        await anna.open(f"/console/requests/{held[RELEASED]}")
        await _shoot(anna, "request-phone", whole=True)


async def main() -> int:
    """Take all pictures; 0 when they are there."""
    with tempfile.TemporaryDirectory() as folder:
        async with console_stack(Path(folder)) as console:
            await _photograph(console, await _stage(console))
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
