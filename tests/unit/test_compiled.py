"""Compiled loops work where no cache can be kept."""

import numba
import pytest

from tiltz.kernels import compiled as module


def test_without_a_place_for_a_cache_loops_are_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def njit(*signature, **options):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(*signature, **options)

    monkeypatch.setattr(module, "njit", njit)

    @module.compiled(numba.float64(numba.float64), fastmath={"contract"})
    def twice(x):
        return 2 * x

    assert twice(1.5) == 3.0
    assert asked == [True, False]
