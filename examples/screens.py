"""Pictures of the pages of `synth view`, taken in Chromium: `make screens`.

Two runs, two students and their answers are made on the spot (a minute), and each page is opened
as somebody with a browser sees it. Needs Chromium and its driver on the path (Debian's packages
chromium and chromium-driver), and `pip install '.[screens]'`.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

import synth
from synth.inputs.seeds import write_jsonl
from synth.teachers.simulation.word_problems import make_problems

WIDE = 1200, 900
PHONE = 390, 844
# Chromium looks for updates and names of hosts by itself, unless it is told not to.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """Somebody who looks at pages.

    Args:
        address: what `synth view` printed, with its token.
        size: of the window, in pixels.
        is_dark: whether dark pages are wanted.
        script: is run in each page before anything of the page.
    """

    def __init__(
        self,
        address: str,
        *,
        size: tuple[int, int] = WIDE,
        is_dark: bool = False,
        script: str = "",
    ) -> None:
        options = webdriver.ChromeOptions()
        for word in OPTIONS:
            options.add_argument(word)
        options.binary_location = str(shutil.which("chromium"))
        service = Service(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options, service)
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )
        scheme = "dark" if is_dark else "light"
        wanted = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[wanted])
        if script:
            self.command("Page.addScriptToEvaluateOnNewDocument", source=script)
        self.home = address.partition("/?")[0]
        self.driver.get(address)

    def command(self, name: str, **words: object) -> None:
        """Gives the browser a command of its own protocol."""
        self.driver.execute_cdp_cmd(name, words)

    def open(self, path: str) -> None:
        """Goes to a page by its path."""
        self.driver.get(self.home + path)

    def click(self, text: str) -> None:
        """Follows the first link that says so, or part of it."""
        self.driver.find_element(By.PARTIAL_LINK_TEXT, text).click()

    def click_row(self) -> None:
        """Follows the first link of a table."""
        self.driver.find_element(By.CSS_SELECTOR, "tbody a").click()

    def press(self, key: str) -> None:
        """Presses a key on the page."""
        self.body().send_keys(key)

    def body(self) -> WebElement:
        """What stands on the page."""
        return self.driver.find_element(By.TAG_NAME, "body")

    def run(self, script: str) -> object:
        """What a script says of the page."""
        result: object = self.driver.execute_script(script)
        return result

    def take(self, file: Path) -> None:
        """A picture of the page as it stands in the window."""
        file.parent.mkdir(parents=True, exist_ok=True)
        if not self.driver.save_screenshot(str(file)):
            raise OSError(f"{file}: the picture was not written")

    def close(self) -> None:
        """Ends the browser."""
        self.driver.quit()


@contextmanager
def viewing(*words: object) -> Iterator[str]:
    """The address that `synth view` prints, while it serves."""
    command = [sys.executable, "-m", "synth.cli", "view"]
    command += [str(word) for word in words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - our own words
        try:
            assert server.stdout is not None  # noqa: S101 - it is a pipe
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def make_runs(folder: Path) -> list[Path]:
    """Two runs of the same questions, three draws each: one keeps right answers, the other those
    that two draws of three agree on.
    """
    rows = list(make_problems(120, seed=3))
    chosen = {"gold": "answer_match", "vote": "self_consistency"}
    for name, judge in chosen.items():
        synth.run(
            "cot",
            rows,
            teacher="simulated/mixed",
            output=folder / name,
            draws=3,
            price="0.15,0.6",
            overrides={"rationale.filters": ["finish_reason", judge]},
        )
    return [folder / name for name in chosen]


def make_students(folder: Path, run: Path) -> list[Path]:
    """A trained student, the answers of an earlier and of a later one, in folders."""
    problems = folder / "problems.jsonl"
    write_jsonl(problems, make_problems(40, seed=9))
    folders = []
    for name, steps in (("early", 40), ("late", 160)):
        student = folder / name
        finetune(
            *("sft", "--input", run, "--model", "scratch:tiny"),
            *("--output", student, "--max-steps", steps),
            *("--learning-rate", "5e-3", "--logging-steps", 5),
            *("--save-strategy", "steps", "--save-steps", steps),
        )
        answers = folder / f"answers-{name}"
        finetune(
            *("evaluate", "--input", problems, "--model", student),
            *("--output", answers, "--max-new-tokens", 60),
        )
        folders.append(answers)
    return [*folders, folder / "late"]


def finetune(*words: object) -> None:
    """Runs the command."""
    line = [sys.executable, "-m", "finetune.cli", *map(str, words)]
    subprocess.run(line, check=True, stdout=sys.stderr)  # noqa: S603 - our own words


def shoot(address: str, output: Path) -> list[str]:
    """Takes the pictures of all pages; their names."""
    pages = {
        "funnel": "/0/",
        "rows": "/0/rows/dropped?reason=wrong_answer",
        "row": "/0/row/dropped/0",
        "beside": "/0/beside?reason=wrong_answer",
        "course": "/0/course",
        "labels": "/0/label",
        "against": "/0/against/1",
        "students": "/answers/0/beside/1?fate=gained",
        "training": "/training/0",
    }
    browser = Browser(address)
    for name, path in pages.items():
        browser.open(path)
        browser.take(output / f"{name}.png")
    browser.close()
    return list(pages)


def main() -> None:
    """Reads the command line, makes what is looked at, and takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/screens"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        output = options.output.absolute()
        with contextlib.chdir(name):
            folder = Path("runs")
            runs = make_runs(folder)
            students = make_students(folder, runs[0])
            labels = ("--labels", folder / "labels.jsonl")
            with viewing(*runs, *students, *labels) as address:
                names = shoot(address, output)
    print(f"{', '.join(names)} -> {options.output}")


if __name__ == "__main__":
    main()
