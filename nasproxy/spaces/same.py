"""Whether two studies, or a network and a space, are of the same space.

A space is known by two digests: ``space_sha256`` of the bytes of its files, which all versions have
written down, and ``space_code`` of what of them builds networks; see `meaning_of`. And a user may
have said of a study that another code builds the same networks.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from nasproxy.spaces.space import Space

# Begins an attribute of a study that names another space's digests; as all that studies were
# "also made with", reports say it.
_ACCEPTED = "also made with space "
_UNKNOWN = "-"  # stands for the code's digest in studies of older versions


def digests_of(space: Space) -> dict[str, str]:
    """What a study, or another thing that depends on a space's code, says of it."""
    return {"space_sha256": space.sha256, "space_code": space.code_sha256}


def is_same_space(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both attributes name a space, and it is the same.

    The same bytes are the same space. Else its code decides, where both say it.
    """
    return any(
        a == b or code == code_b != _UNKNOWN
        for a, code in _spaces(one)
        for b, code_b in _spaces(other)
    )


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """In words, that attributes are of different spaces; empty if they aren't, as far as known."""
    if "space_sha256" not in one or "space_sha256" not in other or is_same_space(one, other):
        return ""
    key = "space_code" if "space_code" in one and "space_code" in other else "space_sha256"
    return f"{key} is {one[key]} and {other[key]}"


def accepted(study: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """The attribute by which a study takes another space for its own; none if it is its own.

    Args:
        study: attributes of the study.
        now: digests of the other space; see `digests_of`.
    """
    if not difference(study, now):
        return {}
    new, old = (about.get("space_code", about["space_sha256"]) for about in (now, study))
    key = f"{_ACCEPTED}{now['space_sha256']} {now['space_code']}"
    return {key: f"space code {new} instead of {old}, which the user took for the same"}


def _spaces(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The digests, of the bytes and of the code, of all spaces that something is of."""
    if "space_sha256" in about:
        yield str(about["space_sha256"]), str(about.get("space_code", _UNKNOWN))
    for key in about:
        if key.startswith(_ACCEPTED):
            sha256, _, code = key.removeprefix(_ACCEPTED).partition(" ")
            yield sha256, code
