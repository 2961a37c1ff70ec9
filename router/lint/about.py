"""What a problem is about: the route and the deployment of which its path speaks. Refuses to know any rule."""

from __future__ import annotations

from router.documents import Document
from router.problems import dotted


def about(path: str, document: Document) -> tuple[str | None, str | None]:
    """The route and the deployment that a dotted *path* speaks of. Names may hold dots; so the file is asked."""
    known = [steps for steps in document.lines if path == dotted(steps) or path.startswith(dotted(steps) + ".")]
    steps = max(known, key=len, default=())
    route = str(steps[1]) if len(steps) > 1 and steps[0] == "routes" else None
    if len(steps) < 4 or steps[2] != "deployments":
        return route, None
    value = document.value
    for step in steps[:4]:
        value = value[step]
    if route is not None:
        return route, str(value.get("deployment")) if isinstance(value, dict) else str(value)
    return None, f"{value.get('provider')}/{steps[1]}" if isinstance(value, dict) else None
