"""Every public name documents all that it takes and returns; the form of docstrings is checked by numpydoc lint.

A method whose one line says "Return ..." needs no section for it.
"""

import inspect
from collections.abc import Iterator

import pytest
from numpydoc.validate import validate

import tiltz

WANTED = {
    "GL03", "GL06", "GL07", "GL08", "GL10",
    "SS01", "SS03", "SS04",
    "PR01", "PR02", "PR03", "PR06", "PR07", "PR09", "PR10",
    "RT01", "RT03", "RT05", "YD01",
}  # fmt: skip


def public_functions() -> Iterator[str]:
    for name in tiltz.__all__:
        thing = getattr(tiltz, name)
        if inspect.isfunction(thing):
            yield f"{thing.__module__}.{name}"
        elif inspect.isclass(thing):
            members = (member for member in vars(thing) if not member.startswith("_"))
            yield from (
                f"{thing.__module__}.{name}.{member}"
                for member in members
                if inspect.isroutine(inspect.unwrap(getattr(thing, member)))
            )


@pytest.mark.parametrize("name", sorted(set(public_functions())))
def test_public_functions_are_documented(name: str):
    report = validate(name)
    wanted = WANTED - ({"RT01"} if report["docstring"].startswith("Return") else set())
    found = [f"{code}: {text}" for code, text in report["errors"] if code in wanted]
    assert not found


@pytest.mark.parametrize("name", [name for name in tiltz.__all__ if inspect.isclass(getattr(tiltz, name))])
def test_public_classes_are_documented(name: str):
    assert (inspect.getdoc(getattr(tiltz, name)) or "").strip().partition("\n")[0].endswith(".")
