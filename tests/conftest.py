"""What all tests share: one thread, reproducible examples, golden files, no silent skips."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when NumPy or torch is first imported

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
EXTRAS = ("altair", "httpx2", "hypothesis", "pandas", "pyarrow", "torch", "vl_convert")

if importlib.util.find_spec("hypothesis") is not None:
    from hypothesis import settings

    settings.register_profile("tiltz", deadline=None, print_blob=True)
    settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
    settings.load_profile("ci" if os.environ.get("CI") else "tiltz")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tiltz")
    group.addoption("--slow", action="store_true", help="run the slow tests too")
    group.addoption("--minimal", action="store_true", help="insist that no extra is installed")
    group.addoption(
        "--fail-on-skip", action="store_true", help="a skip that does not begin with 'machine:' fails"
    )
    group.addoption(
        "--regenerate-golden", action="store_true", help="write the golden files, compare nothing"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--minimal"):
        installed = [name for name in EXTRAS if importlib.util.find_spec(name) is not None]
        if installed:
            raise pytest.UsageError(
                f"--minimal is for the base alone, but these are installed: {', '.join(installed)}"
            )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow") or "slow" in config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in set(slow)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not session.config.getoption("--fail-on-skip") or reporter is None:
        return
    reasons = [_reason(report) for report in reporter.stats.get("skipped", [])]
    wrong = [reason for reason in reasons if not reason.startswith("machine:")]
    if wrong and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_sep(
            "!", f"--fail-on-skip: {len(wrong)} skipped, the first because: {wrong[0]}", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the golden file of that name, or write it under ``--regenerate-golden``."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--regenerate-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        else:
            assert path.exists(), (
                f"{path} is missing: run pytest with --regenerate-golden and review the file"
            )
            assert text == path.read_text(encoding="utf-8")

    return compare
