"""The labelling sheet as annotators use it: from a blank page to pairs that are trained on."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from modecollapse.labelling.candidates import Scored, candidate_table, sheet_of
from modecollapse.labelling.label_files import check_labels, read_label_files
from modecollapse.labelling.labels import unanimous
from modecollapse.labelling.sheet import sheet_page

HOSTILE = "</script><img src=x onerror=\"document.title='broken'\"> & <b>bold</b>\nsecond line"
NUMBER = 8


def candidates(hostile: str = HOSTILE) -> pa.Table:
    prompts = [f"prompt {row}" for row in range(NUMBER)]
    pairs = [(Scored(f"good {row}", None), Scored(f"bad {row}", None)) for row in range(NUMBER)]
    prompts[3], pairs[3] = hostile, (Scored(f"good {hostile}", None), Scored(f"bad {hostile}", None))
    return candidate_table(range(NUMBER), prompts, pairs, None, 0)


@dataclass
class Page:
    """A sheet in the browser, and the directory where it saves files."""

    browser: Chrome
    file: Path
    downloads: Path

    def open(self) -> None:
        self.browser.get(self.file.resolve().as_uri())

    def begin(self, annotator: str) -> None:
        field = self.browser.find_element(By.ID, "annotator")
        field.send_keys(annotator, Keys.ENTER)
        assert self.browser.find_element(By.ID, "work").is_displayed()

    def text(self, element: str) -> str:
        """What a node holds, white space included."""
        return str(self.browser.execute_script(f"return document.getElementById('{element}').textContent"))

    def click(self, element: str) -> None:
        self.browser.find_element(By.ID, element).click()

    def press(self, key: str) -> None:
        ActionChains(self.browser).send_keys(key).perform()

    def labelled(self) -> str:
        return self.text("counted")

    def choose(self, text: str) -> None:
        """Prefer the answer that begins so."""
        sides = [side for side in ("left", "right") if self.text(side).startswith(text)]
        self.browser.find_element(By.CSS_SELECTOR, f"[data-choice={sides[0]}]").click()

    def shown(self) -> list[tuple[str, bool]]:
        """The prompts in their order, and whether the good answer stands left."""
        found = []
        for place in range(NUMBER):
            found.append((self.text("prompt"), self.text("left").startswith("good")))
            if place < NUMBER - 1:
                self.press("n")
        return found

    def save(self) -> Path:
        before = set(self.downloads.glob("*.csv"))
        self.click("export")
        WebDriverWait(self.browser, 10).until(lambda _: set(self.downloads.glob("*.csv")) - before)
        return (set(self.downloads.glob("*.csv")) - before).pop()


@pytest.fixture
def page(browser: Chrome, tmp_path: Path) -> Page:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads), "eventsEnabled": False}
    )
    file = tmp_path / "sheet.html"
    file.write_text(sheet_page(candidates(), 0), encoding="utf-8")
    opened = Page(browser, file, downloads)
    opened.open()
    browser.execute_script("localStorage.clear(); sessionStorage.clear();")
    browser.get_log("browser")
    opened.open()
    return opened


def test_three_annotators_label_a_sheet_and_what_they_agree_on_is_trained_on(page: Page) -> None:
    table = candidates()
    files = []
    for annotator in ("Anna", "Ben", "Zoë"):
        page.begin(annotator)
        assert page.labelled() == f"{annotator}: 0 of {NUMBER} pairs labelled"
        for place in range(NUMBER):
            if place == NUMBER // 2:
                page.browser.refresh()
                assert page.labelled() == f"{annotator}: {place} of {NUMBER} pairs labelled", "a reload loses nothing"
            if page.text("prompt") == "prompt 5":
                page.press("3")  # all find these equal
            else:
                page.choose("bad" if annotator == "Zoë" and page.text("prompt") == "prompt 6" else "good")
        assert "All pairs are labelled" in page.text("message")
        files.append(page.save())
        page.click("leave")
        assert not page.browser.find_element(By.ID, "work").is_displayed()

    labels = check_labels(read_label_files(files), sheet_of(table), table["pair"].to_pylist(), overlap=3)
    assert {label.annotator for label in labels} == {"Anna", "Ben", "Zoë"}
    assert {label.shown_first for label in labels} == {"a", "b"}
    pairs, counts = unanimous(table, labels)
    assert (counts.taken, counts.disagreed, counts.tied) == (NUMBER - 2, 1, 1)
    assert all(row["chosen"] == row["rejected"].replace("bad", "good") for row in pairs.to_pylist())
    assert HOSTILE in pairs["prompt"].to_pylist()


def test_texts_of_models_are_shown_as_texts_and_nothing_is_fetched(page: Page) -> None:
    page.begin("anna")
    while page.text("prompt") != HOSTILE:
        page.press("n")
    assert {page.text("left"), page.text("right")} == {f"good {HOSTILE}", f"bad {HOSTILE}"}
    assert page.browser.find_elements(By.CSS_SELECTOR, "img, b") == []
    assert page.browser.title == "Labelling sheet"
    assert page.browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_no_script_but_the_sheets_own_would_run_even_if_a_text_became_markup(page: Page) -> None:
    page.begin("anna")
    page.browser.execute_script(
        "document.getElementById('prompt').innerHTML = `<img src=x onerror=\"document.title='broken'\">`"
    )
    WebDriverWait(page.browser, 10).until(lambda browser: browser.get_log("browser"))
    assert page.browser.title == "Labelling sheet"


def test_every_annotator_sees_all_pairs_in_an_order_and_on_sides_of_their_own(page: Page) -> None:
    seen = []
    for annotator in ("anna", "ben", "anna"):
        page.begin(annotator)
        seen.append(page.shown())
        page.click("leave")
    anna, ben, again = seen
    assert anna == again
    assert {prompt for prompt, _ in anna} == {prompt for prompt, _ in ben} == set(candidates()["prompt"].to_pylist())
    assert [prompt for prompt, _ in anna] != [prompt for prompt, _ in ben]
    assert dict(anna) != dict(ben)


def test_the_keys_label_and_move_and_a_label_can_be_changed(page: Page) -> None:
    page.begin("anna")
    first = page.text("prompt")
    good = page.text("left").startswith("good")
    for key in ("1", Keys.ARROW_RIGHT, "3", "4"):
        page.press(key)
    assert page.labelled() == f"anna: 4 of {NUMBER} pairs labelled"
    for _ in range(4):
        page.press("p")
    assert page.text("prompt") == first
    pressed = [
        button.get_attribute("aria-pressed")
        for button in page.browser.find_elements(By.CSS_SELECTOR, "#choices button")
    ]
    assert pressed == ["true", "false", "false", "false"]
    page.press("2")
    page.press("u")
    assert page.labelled() == f"anna: 4 of {NUMBER} pairs labelled", "a changed label is no further one"
    rows = {row.labelled.pair: row.labelled for row in read_label_files([page.save()])}
    table = candidates().to_pylist()
    (changed,) = [row for row in table if row["prompt"] == first]
    assert changed[rows[changed["pair"]].label].startswith("bad" if good else "good")
    assert sorted(row.label for row in rows.values())[-2:] == ["skip", "tie"]


def test_who_lost_the_browsers_memory_goes_on_from_a_saved_file(page: Page) -> None:
    page.begin("anna")
    for _ in range(3):
        page.choose("good")
    saved = page.save()
    page.browser.execute_script("localStorage.clear(); sessionStorage.clear();")
    page.open()
    page.begin("ben")
    restore = page.browser.find_element(By.ID, "import")
    restore.send_keys(str(saved))
    WebDriverWait(page.browser, 10).until(lambda _: page.text("message"))
    assert page.text("message") == "These labels are anna's, not yours."
    page.click("leave")
    page.begin("Anna")
    assert page.labelled().startswith("Anna: 0 of")
    restore.send_keys(str(saved))
    WebDriverWait(page.browser, 10).until(lambda _: page.text("message"))
    assert page.text("message") == "3 labels read."
    assert page.labelled() == f"Anna: 3 of {NUMBER} pairs labelled"
    page.open()
    assert page.labelled() == f"Anna: 3 of {NUMBER} pairs labelled"

    other = page.downloads / "other.csv"
    other.write_text(saved.read_text(encoding="utf-8-sig").replace(sheet_of(candidates()), "sother"))
    page.browser.find_element(By.ID, "import").send_keys(str(other))
    WebDriverWait(page.browser, 10).until(lambda _: page.text("message"))
    assert "is of the sheet sother" in page.text("message")


def test_two_tabs_of_one_annotator_lose_none_of_each_other_s_labels(page: Page) -> None:
    def labels() -> dict[str, str]:
        return {row.labelled.pair: row.labelled.label for row in read_label_files([page.save()])}

    browser = page.browser
    page.begin("anna")
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    # No news reaches this tab: what it writes must not rest on them.
    deaf = "addEventListener('storage', (event) => event.stopImmediatePropagation())"
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": deaf})
    page.open()
    page.begin("Anna")
    page.press("3")
    shown = page.text("prompt")
    page.press("3")
    second = browser.current_window_handle

    browser.switch_to.window(first)
    WebDriverWait(browser, 10).until(lambda _: page.labelled() == f"anna: 2 of {NUMBER} pairs labelled")
    page.press("n")
    assert page.text("prompt") == shown
    page.press("4")  # changes what the other tab said: the label that was given last counts
    page.press("4")
    changed = labels()
    assert sorted(changed.values()) == ["skip", "skip", "tie"]

    browser.switch_to.window(second)
    assert page.labelled() == f"Anna: 2 of {NUMBER} pairs labelled"
    page.press("n")
    page.press("3")
    assert page.labelled() == f"Anna: 4 of {NUMBER} pairs labelled"
    assert labels().items() > changed.items()
    browser.close()
    browser.switch_to.window(first)
    page.open()
    assert page.labelled() == f"anna: 4 of {NUMBER} pairs labelled"


def test_everything_that_can_be_operated_has_a_name(page: Page) -> None:
    assert page.browser.find_element(By.ID, "annotator").accessible_name == "Your name (the same one each time)"
    page.begin("anna")
    operated = page.browser.find_elements(By.CSS_SELECTOR, "#work button, #work input, #work progress")
    assert len(operated) == 11
    assert [element.get_attribute("outerHTML") for element in operated if not element.accessible_name] == []
    assert page.browser.switch_to.active_element.text == f"Request 1 of {NUMBER}", "a screen reader reads on there"


def test_a_sheet_without_pairs_says_so(page: Page) -> None:
    page.file.write_text(sheet_page(candidates().slice(0, 0), 0), encoding="utf-8")
    page.open()
    page.browser.find_element(By.ID, "annotator").send_keys("Anna", Keys.ENTER)
    assert "nothing to label" in page.text("message")
    assert page.browser.get_log("browser") == []
