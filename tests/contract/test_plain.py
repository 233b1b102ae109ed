"""Plain data behaves as the frozen dataclass that it is written as."""

import copy
import dataclasses
import pickle

import pytest

from edgeclassifier.contract.plain import Plain, plain_data


@plain_data
class Inner(Plain):
    name: str = "a"


@plain_data
class Outer(Plain):
    needed: int
    inner: Inner = dataclasses.field(default_factory=Inner)
    secret: str = dataclasses.field(default="", repr=False)


@plain_data
class Positive(Plain):
    value: int

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise ValueError(f"value is {self.value}")


def test_it_is_built_by_keyword_with_its_defaults() -> None:
    outer = Outer(needed=1)
    assert (outer.needed, outer.inner, outer.secret) == (1, Inner(name="a"), "")
    with pytest.raises(TypeError, match="Outer needs needed"):
        Outer()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Outer takes no other"):
        Outer(needed=1, other=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Outer(1)  # type: ignore[call-arg]


def test_it_does_not_change() -> None:
    outer = Outer(needed=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        outer.needed = 2  # type: ignore[misc]
    assert outer.needed == 1


def test_it_is_compared_by_value_and_by_kind() -> None:
    assert Outer(needed=1) == Outer(needed=1)
    assert Outer(needed=1) != Outer(needed=2)
    assert Inner(name="1") != Positive(value=1)
    assert len({Inner(name="b"), Inner(name="b"), Inner()}) == 2


def test_a_secret_is_not_shown() -> None:
    assert repr(Outer(needed=1, secret="x")) == "Outer(needed=1, inner=Inner(name='a'))"


def test_what_works_with_dataclasses_works_with_it() -> None:
    outer = Outer(needed=1)
    assert dataclasses.replace(outer, needed=2) == Outer(needed=2)
    assert dataclasses.asdict(outer) == {"needed": 1, "inner": {"name": "a"}, "secret": ""}
    assert copy.deepcopy(outer) == outer
    assert pickle.loads(pickle.dumps(outer)) == outer


def test_values_can_be_checked() -> None:
    with pytest.raises(ValueError, match="value is 0"):
        Positive(value=0)
