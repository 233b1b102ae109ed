"""Frozen data whose methods are written once, not generated for each class."""

import dataclasses
from typing import Any, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")


class Plain:
    """What plain_data() gives its classes: built by keyword, compared by value, never changed.

    dataclasses generates and compiles these methods for each class, which takes half a
    millisecond on a PC: for classes that are many and seldom built that is most of their cost.
    """

    def __init__(self, **values: Any) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type] # plain_data() makes it one
            if field.name in values:
                value = values.pop(field.name)
            elif field.default is not dataclasses.MISSING:
                value = field.default
            elif field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            else:
                raise TypeError(f"{type(self).__name__} needs {field.name}")
            object.__setattr__(self, field.name, value)
        if values:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(values)}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the values; raises ValueError."""

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        shown = (each.name for each in dataclasses.fields(self) if each.repr)  # type: ignore[arg-type] # as above
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__name__}({fields})"


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,)
)
def plain_data(cls: type[T]) -> type[T]:
    """Make a subclass of Plain a dataclass: frozen, and built by keyword alone."""
    return dataclasses.dataclass(init=False, repr=False, eq=False, match_args=False)(cls)
