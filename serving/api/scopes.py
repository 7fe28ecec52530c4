"""Which scope a request needs, by its method and path."""

from __future__ import annotations

import re

from serving.keys import Scope

# By method and path (without the collection); the first that fits counts. What fits none is for
# admins: a route that somebody forgets here is closed, not open.
_OPEN = re.compile(
    r"/(healthz|readyz|console/[\w.-]+|docs|docs/.*|openapi\.json|v2|v2/health/(live|ready))?"
)


_RULES: tuple[tuple[frozenset[str], re.Pattern[str], Scope], ...] = tuple(
    (frozenset(methods.split()), re.compile(path), scope)
    for methods, path, scope in (
        ("POST", r"/(infer|verify|detect)", Scope.IDENTIFY),
        ("GET POST", r"/v2/.*", Scope.IDENTIFY),
        ("POST", r"/generate", Scope.ENROL),
        ("GET", r"/identities(/[^/]+)?", Scope.ENROL),
        ("GET", r"/duplicates", Scope.ENROL),
        ("PATCH", r"/identities/[^/]+", Scope.ENROL),
        ("POST", r"/identities/[^/]+/(merge|embeddings)", Scope.ENROL),
        ("DELETE", r"/identities(/[^/]+)?", Scope.ADMIN),
    )
)


COLLECTIONS = "/collections"


# What is about a gallery, and so can be asked of a collection.
WITHIN = re.compile(
    rf"({COLLECTIONS}/([^/]+))/(infer|generate|identities|identities/.*|duplicates|v2/.*)"
)


# What is about no gallery, and so may be asked with a key of any collection.
WITHOUT = ("/detect", "/verify")


def is_open(method: str, path: str) -> bool:
    """Whether anybody may ask, key or no key: whether the service is up, its description, and the
    console, which holds no data."""
    return method in ("GET", "HEAD") and _OPEN.fullmatch(path) is not None


def scope_for(method: str, path: str) -> Scope:
    """The scope that a key needs for this request."""
    within = WITHIN.fullmatch(path)
    path = path.removeprefix(within[1]) if within else path
    method = "GET" if method == "HEAD" else method
    for methods, pattern, scope in _RULES:
        if method in methods and pattern.fullmatch(path):
            return scope
    return Scope.ADMIN
