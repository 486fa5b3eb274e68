"""The page in a browser, where there is one.

The filter, the sign at a table that is cut, and everything open for the printer.
"""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.theory_checks.planting import plant
from theory_checks.engine import html_report, runner
from theory_checks.engine.document import as_document
from theory_checks.engine.registry import Case, Claim, Registry, Setting

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")

# what is asked of the page; the answer becomes its title, which is all that is read
QUESTIONS = """
<script>
const answer = {}, shown = () => all("article:not([hidden])").map(article => article.id);
const ask = text => {
  input.value = text;
  input.dispatchEvent(new Event("input"));
  return [shown(), found.textContent];
};
answer.all = ask("");
answer.one = ask("Second HOLDS");
answer.sections = all("#theorems > section:not([hidden])").length;
answer.rows = all(".index tbody tr:not([hidden])").length;
answer.none = ask("nothing of the kind");
ask("");
const details = all("details");
dispatchEvent(new Event("beforeprint"));
answer.print = details.every(part => part.open);
dispatchEvent(new Event("afterprint"));
answer.after = details.some(part => part.open);
answer.width = [innerWidth, document.documentElement.scrollWidth];
requestAnimationFrame(() => setTimeout(() => {
  answer.cut = all(".scroll.cut").length;
  const signs = all(".scroll.cut caption").map(it => getComputedStyle(it, "::before").content);
  answer.sign = signs[0] || "";
  document.title = JSON.stringify(answer);
}, 50));
</script>
"""


def first(case):
    """It holds."""
    yield Claim(
        "a claim with a name that is not short at all",
        np.full(5, 1 / 3),
        np.full(5, 1 / 3),
        tolerance=1e-7,
    )


def second(case):
    """It holds as well."""
    yield from first(case)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    registry = Registry()
    for function in (first, second):
        registry.paper(function.__name__, f"Paper {function.__name__}")
        cases = [Case(f"case {i}", Setting.INSIDE, {}, build=lambda: None) for i in range(3)]
        plant(registry, f"{function.__name__}/what", function, cases, formula="a")
    text = html_report.render(as_document(runner.run(registry.matching()), registry.papers))
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(text.replace("</body>", f"{QUESTIONS}</body>"), encoding="utf-8")
    return path


def answers(page, width):
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--window-size={width},900",
        "--virtual-time-budget=2000",
    ]
    profile = f"--user-data-dir={page.parent / f'profile-{width}'}"
    done = subprocess.run(
        [BROWSER, *options, profile, "--dump-dom", f"file://{page}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(re.search(r"<title>(.*?)</title>", done.stdout)[1].replace("&quot;", '"'))


def test_on_a_screen(page):
    found = answers(page, 1366)
    assert found["all"] == [["theorem-first-what", "theorem-second-what"], ""]
    assert found["one"] == [["theorem-second-what"], "1 of 2"]
    assert (found["sections"], found["rows"]) == (1, 1)
    assert found["none"] == [[], "0 of 2"]
    assert found["print"]
    assert not found["after"]
    assert found["cut"] == 0


def test_on_a_phone(page):
    """The page does not scroll sideways; a table that does says so."""
    found = answers(page, 390)
    assert found["width"][1] <= found["width"][0]
    assert found["cut"] > 0
    assert "→" in found["sign"]
