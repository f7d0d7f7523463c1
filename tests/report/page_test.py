#!/usr/bin/env python3
"""Opens report pages in Chromium: phone and desktop, light and dark.

    tests/report/page_test.py [--screenshots FOLDER] PAGE.html...

Each page must open without a message on the console, without a request, and no wider than the
window; axe-core must find nothing serious in it. tests/report/install.sh installs what this needs;
where that is missing the test is skipped: it says so and its exit status is 77.
"""
import argparse
import os
import pathlib
import sys

SKIPPED = 77
SIZES = {"phone": (360, 800), "desktop": (1280, 900)}
SCHEMES = ("light", "dark")
SERIOUS = ("serious", "critical")


def skip(why):
    print(f"skipped: {why}; tests/report/install.sh installs it")
    sys.exit(SKIPPED)


def axe_script():
    cache = pathlib.Path(os.environ.get("NWC_CACHE", pathlib.Path.home() / ".cache/nwc"))
    found = sorted((cache / "axe").rglob("axe.min.js"))
    if not found:
        skip("axe-core is missing")
    return found[0].read_text()


def open_browser(webdriver):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                     "--force-device-scale-factor=1", "--disable-background-networking"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        return webdriver.Chrome(options=options)
    except Exception as error:  # no browser, or no driver
        skip(f"Chromium does not start ({str(error).splitlines()[0]})")


def set_window(browser, size, scheme):
    width, height = size
    # The window itself has a least width; the device's does not.
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                            {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


def too_wide(browser, width):
    """What reaches beyond the window and is in no box of its own that scrolls."""
    return browser.execute_script("""
        const width = arguments[0];
        const root = document.documentElement;
        if (root.clientWidth <= width && root.scrollWidth <= width) return [];
        return [...document.body.querySelectorAll('*')]
            .filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > width)
            .map(e => e.outerHTML.slice(0, 120))
            .concat([`${root.scrollWidth} pixels for a window of ${width}`]);""", width)


def requests_of(browser):
    """Addresses asked for, but for the page's own."""
    text = [entry["message"] for entry in browser.get_log("performance")]
    return [line for line in text if '"Network.requestWillBeSent"' in line and '"url":"http' in line]


def accessibility(browser, axe):
    browser.execute_script(axe)
    found = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations), e => done(String(e)));")
    if isinstance(found, str):
        return [found]
    return [f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:160]}" for v in found if v["impact"] in SERIOUS]


def check(browser, axe, page, name, scheme):
    set_window(browser, SIZES[name], scheme)
    browser.get(page.resolve().as_uri())
    problems = [f"console: {entry['message']}" for entry in browser.get_log("browser")]
    problems += [f"request: {line[:200]}" for line in requests_of(browser)]
    problems += [f"too wide: {element}" for element in too_wide(browser, SIZES[name][0])]
    ink, paper = browser.execute_script(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor];")
    if ("255, 255, 255" in paper) != (scheme == "light"):
        problems.append(f"colours do not follow the scheme: {ink} on {paper}")
    # Texts that only a click shows are looked at, too.
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true);")
    problems += [f"too wide: {element}" for element in too_wide(browser, SIZES[name][0])]
    return problems + accessibility(browser, axe)


def save_screenshot(browser, path):
    """The whole page, not the window alone."""
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = false);")
    width = browser.execute_script("return document.documentElement.clientWidth")
    height = min(browser.execute_script("return document.documentElement.scrollHeight"), 4000)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
    browser.save_screenshot(str(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=pathlib.Path)
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    missing = [str(page) for page in arguments.pages if not page.is_file()]
    if missing:  # Chromium's own error page would pass
        parser.error("no such page: " + ", ".join(missing))
    try:
        from selenium import webdriver
    except ImportError:
        skip("python3-selenium is missing")
    axe = axe_script()
    browser = open_browser(webdriver)
    failed = False
    try:
        for page in arguments.pages:
            for name in SIZES:
                for scheme in SCHEMES:
                    problems = check(browser, axe, page, name, scheme)
                    failed = failed or bool(problems)
                    print(f"{page.name}, {name}, {scheme}: {'failed' if problems else 'ok'}", *problems, sep="\n  ")
                    if arguments.screenshots:
                        arguments.screenshots.mkdir(parents=True, exist_ok=True)
                        save_screenshot(browser, arguments.screenshots / f"{page.stem}-{name}-{scheme}.png")
    finally:
        browser.quit()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
