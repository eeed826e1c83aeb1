from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

LOADED_WIDTHS = """
const done = arguments[arguments.length - 1];
const pictures = Object.entries(results).filter(([, result]) => result.mime_type.startsWith("image/"));
Promise.all(pictures.map(([path, result]) => new Promise(resolve => {
    const image = new Image();
    image.onload = () => resolve([path, image.naturalWidth]);
    image.onerror = () => resolve([path, 0]);
    image.src = result.data_uri;
}))).then(done);
"""

CAPTIONS = """
return Object.fromEntries(Object.entries(results).map(([path, result]) => {
    const element = document.createElement("div");
    element.innerHTML = result.caption || "";
    return [path, element.textContent];
}));
"""


def follow(browser: Chrome, selector: str) -> None:
    """Click the first element that matches a CSS selector, once it is there."""
    WebDriverWait(browser, 10).until(lambda page: page.find_elements(By.CSS_SELECTOR, selector))[0].click()


def test_every_picture_in_the_report_loads(report: Chrome) -> None:
    widths = dict(report.execute_async_script(LOADED_WIDTHS))
    assert widths
    assert min(widths.values()) > 0, widths


def test_every_result_in_the_report_has_a_caption(report: Chrome) -> None:
    captions = report.execute_script(CAPTIONS)
    assert captions
    assert [path for path, caption in captions.items() if len(caption.split()) < 5] == []


def test_a_reader_finds_a_figure_and_its_caption_by_clicking(report: Chrome) -> None:
    category = report.execute_script("return Object.keys(categories)[0]")
    WebDriverWait(report, 10).until(lambda page: page.find_elements(By.XPATH, f"//nav//*[text()='{category}']"))[
        0
    ].click()
    if not report.find_elements(By.CSS_SELECTOR, "a[iconname='eye']"):  # the category is divided once more
        subcategory = report.execute_script("return Object.keys(categories[arguments[0]])[0]", category)
        report.find_element(By.XPATH, f"//nav//*[text()='{subcategory}']").click()
    follow(report, "a[iconname='information-circle']")
    shown = WebDriverWait(report, 10).until(lambda page: page.find_elements(By.CSS_SELECTOR, "li.prose"))[0].text
    assert shown.split() in [caption.split() for caption in report.execute_script(CAPTIONS).values()]
    follow(report, "a[iconname='eye']")
    picture = WebDriverWait(report, 10).until(lambda page: page.find_elements(By.CSS_SELECTOR, "img[src*=filename]"))[
        -1
    ]
    WebDriverWait(report, 10).until(lambda page: page.execute_script("return arguments[0].naturalWidth", picture) > 0)
    assert picture.is_displayed()


def test_the_report_needs_no_network_and_logs_no_error(report: Chrome) -> None:
    WebDriverWait(report, 10).until(lambda page: page.find_elements(By.CSS_SELECTOR, "nav a"))
    fetched = report.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in fetched if not name.startswith(("data:", "file:"))] == []
    assert [entry for entry in report.get_log("browser") if entry["level"] == "SEVERE"] == []
