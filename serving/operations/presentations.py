"""Photos for a test of presentation attack detection: bona fide, and attacks by species.

    DIR/bona-fide/[PERSON/]photo
    DIR/attacks/SPECIES/[INSTRUMENT/]photo

A source is what the photos of one sub-folder have in common: a person, or the one print or screen
that was held before the camera. A photo that lies beside such folders is a source of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.operations.folders import folders_in, passed_over_sentence, photos_in
from serving.operations.names import NotPeople

BONA_FIDE, ATTACKS = "bona-fide", "attacks"


@dataclass(frozen=True)
class Presentations:
    """The photos of a test; each list of photos is one source.

    Attributes:
        bona_fide: the people who were there.
        attacks: the instruments of each attack instrument species, by its name.
        passed_over: a sentence on the files that are none of these photos; None: there are none.
    """

    bona_fide: Sequence[Sequence[Path]]
    attacks: Mapping[str, Sequence[Sequence[Path]]]
    passed_over: str | None


def presentations_in(folder: Path) -> Presentations:
    """The photos below ``folder``, which is laid out as above.

    Raises:
        NotPeople: it is laid out otherwise, or one of the folders holds no photos.
    """
    folder = folder.resolve()
    bona_fide, attacks = folder / BONA_FIDE, folder / ATTACKS
    for needed in (bona_fide, attacks):
        if not needed.is_dir():
            raise NotPeople(
                f"There is no folder {needed}; photos of people who are there go to {BONA_FIDE}, "
                f"and those of attacks to {ATTACKS}/SPECIES."
            )
    species = folders_in(attacks)
    if not species:
        raise NotPeople(
            f"There are no folders in {attacks}; give each kind of attack one, such as prints."
        )
    if loose := photos_in(attacks):
        raise NotPeople(f"{loose[0]} is of no species: move it into a folder of {attacks}.")
    found_bona_fide = _sources(bona_fide)
    found_attacks = {kind.name: _sources(kind) for kind in species}
    sources = [*found_bona_fide, *(source for of in found_attacks.values() for source in of)]
    levels = [bona_fide, attacks, *species]
    levels += [below for level in (bona_fide, *species) for below in folders_in(level)]
    taken = {photo for source in sources for photo in source}
    return Presentations(
        found_bona_fide, found_attacks, passed_over_sentence(folder, levels, taken, None)
    )


def _sources(folder: Path) -> list[list[Path]]:
    """The photos of each source. Raises NotPeople: there are none."""
    of_folders = [photos_in(below) for below in folders_in(folder)]
    sources = [*([photo] for photo in photos_in(folder)), *filter(None, of_folders)]
    if not sources:
        raise NotPeople(f"There are no photos in {folder} or in its folders.")
    return sources
