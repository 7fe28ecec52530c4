"""Rules for a whole rendering: what the schemas of Kubernetes cannot see.

Each rule takes a `Rendering` and yields a sentence for every fault.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from tests.chart.rules import names, operators, references, scaling, security, selectors
from tests.chart.rules.rendering import Rendering
from tests.support.chart.helm import NAMESPACE, Object

Rule = Callable[[Rendering], Iterator[str]]

RULES: tuple[Rule, ...] = (
    *names.RULES,
    *selectors.RULES,
    *references.RULES,
    *scaling.RULES,
    *security.RULES,
    *operators.RULES,
)


def check(
    objects: Sequence[Object], *, namespace: str = NAMESPACE, named: Collection[str] = ()
) -> list[str]:
    """The faults of a rendering, a sentence each.

    Args:
        namespace: of the release.
        named: Secrets and other objects that the user brings.
    """
    rendering = Rendering(tuple(objects), namespace, frozenset(named))
    return [f"{rule.__name__}: {fault}" for rule in RULES for fault in rule(rendering)]
