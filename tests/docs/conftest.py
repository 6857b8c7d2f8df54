"""Says at the end which lines of the pages no test typed."""

from __future__ import annotations

from tests.docs.pages import PAGES, REHEARSED, SAID_ONLY, lines


def pytest_terminal_summary(terminalreporter, config):
    if "slow" in config.getoption("-m").split("not slow")[0]:
        told = [line for page in PAGES for line in lines(page)]
        terminalreporter.section("told in the pages, and not typed here")
        for line in told:
            why = "asked what it would do (-n)" if line.text.startswith(REHEARSED) else line.reason
            if why:
                terminalreporter.line(f"{line.page}: {line.text}\n    {why}")
        for text, why in SAID_ONLY.items():
            terminalreporter.line(f"in a sentence: {text}\n    {why}")
