"""tiltz.mbar against pymbar on the same rows in the same run: 16 states, 1,000 rows of each, with errors and overlap.

Prints seconds (best of five for tiltz, of three for pymbar), the ratio, and the largest differences of the answers.
"""

import importlib
import logging
import time
import warnings

import numpy as np

import tiltz

N_STATES, N_ROWS = 16, 1000


def seconds(work, repeats):
    times, result = [], None
    for _ in range(repeats):
        begin = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begin)
    assert result is not None
    return min(times), result


def main():
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    pymbar = importlib.import_module("pymbar")

    rng = np.random.default_rng(0)
    n = np.full(N_STATES, N_ROWS)
    print(f"{N_STATES} states x {N_ROWS:,} rows")
    for step in (0.5, 1.0, 2.0):
        mean, sd = step * np.arange(N_STATES), 1 + 0.1 * np.arange(N_STATES)
        rows = np.concatenate([rng.normal(m, s, N_ROWS) for m, s in zip(mean, sd, strict=True)])
        log_density = -0.5 * ((rows - mean[:, None]) / sd[:, None]) ** 2

        def theirs(protocol, log_density=log_density):
            solved = pymbar.MBAR(-log_density, n, solver_protocol=protocol)
            return solved.compute_free_energy_differences(), solved.compute_overlap()["matrix"]

        ours, found = seconds(lambda log_density=log_density: tiltz.mbar(log_density, n), 5)
        print(f"means {step:g} apart: tiltz {ours * 1e3:7.1f} ms")
        for protocol in ("default", "robust"):
            taken, (free, overlap) = seconds(lambda protocol=protocol, theirs=theirs: theirs(protocol), 3)
            worst = max(
                np.abs(found.log_z + free["Delta_f"][0]).max(),
                np.abs(found.standard_error - free["dDelta_f"][0]).max(),
                np.abs(found.overlap - overlap).max(),
            )
            print(
                f"    pymbar {pymbar.__version__} {protocol:8s} {taken * 1e3:7.1f} ms, {taken / ours:5.1f} times as "
                f"long; largest difference {worst:.1e}"
            )


if __name__ == "__main__":
    main()
