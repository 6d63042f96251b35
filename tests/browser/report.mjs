// What a person sees of a report, and does with it. Called by tests/browser.rs with the directory of its pages.
import assert from "node:assert/strict";
import { join } from "node:path";
import { open, withBrowser } from "./browser.mjs";

const directory = process.argv[2];
const story = join(directory, "story.html");

const tests = {
  async "every part is there, under a heading, in an order without gaps"(context) {
    const page = await open(context, story);
    assert.match(await page.title(), /^Failed - podturn run 0000000000005eed$/);
    const levels = await page.$$eval("h1, h2, h3", (all) => all.map((heading) => +heading.tagName[1]));
    levels.reduce((before, level) => (assert.ok(level <= before + 1, `h${before} then h${level}`), level), 0);
    for (const part of ["summary", "troubles", "graph", "timeline", "path", "steps", "usage", "plan"]) {
      assert.ok(await page.$(`#${part}`), part);
    }
    assert.equal(await page.$$eval("#steps tbody tr", (rows) => rows.length), 12);
    assert.equal(await page.$$eval("#timeline li", (rows) => rows.length), 12);
    assert.equal(await page.$$eval("#graph .node", (nodes) => nodes.length), 12);
    assert.match(await page.textContent("#troubles"), /deploy: Failed \(ExitCode\): its command ended with code 7/);
    return page;
  },

  async "what a run brings is text"(context) {
    const page = await open(context, story);
    assert.equal(await page.$$eval("img", (all) => all.length), 0);
    await page.click("#steps details summary");
    assert.match(await page.innerText("#steps .outputs"), /<img src=x onerror=alert\(1\)> 1\.4\.2/);
    return page;
  },

  async "the keyboard reaches everything"(context) {
    const page = await open(context, story);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the table of steps");
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "filter");
    await page.keyboard.type("unit");
    assert.deepEqual(await page.$$eval("#timeline li:not([hidden]) .name", (all) => all.map((name) => name.textContent.trim().slice(2))), ["unit"]);
    assert.equal(await page.$$eval("#steps tbody tr:not([hidden])", (rows) => rows.length), 1);
    assert.deepEqual(await page.$$eval("#usage tbody tr:not([hidden]) th", (all) => all.map((name) => name.textContent)), ["unit"]);
    await page.fill("#filter", "");
    const focused = () => page.evaluate(() => document.activeElement.id);
    await page.focus("#timeline li[tabindex='0']");
    assert.equal(await focused(), "t3", "the row that was found is where the tab key goes");
    await page.keyboard.press("ArrowDown");
    assert.equal(await focused(), "t4");
    await page.keyboard.press("End");
    assert.equal(await focused(), "t11");
    await page.keyboard.press("Home");
    assert.equal(await focused(), "t0");
    assert.ok(await page.$("#g0.is-on"), "the graph shows it too");
    await page.keyboard.press("Enter");
    assert.equal(await focused(), "s0");
    assert.equal(await page.$$eval("#timeline li[tabindex='0']", (rows) => rows.length), 1, "one stop of the tab key for all rows");
    return page;
  },

  async "rows can be put in another order, and the timeline zoomed"(context) {
    const page = await open(context, story);
    await page.selectOption("#order", "r");
    const first = await page.$eval("#timeline li .name", (name) => name.textContent.trim().slice(2));
    assert.equal(first, "db", "the service ran longest");
    const width = () => page.$eval("#timeline .rows", (rows) => rows.getBoundingClientRect().width);
    const before = await width();
    await page.$eval("#zoom", (zoom) => ((zoom.value = 4), zoom.dispatchEvent(new Event("input"))));
    assert.ok((await width()) > 2.5 * before, `${before} to ${await width()}`);
    return page;
  },

  async "who does not see it is told the same"(context) {
    const page = await open(context, story);
    const row = await page.textContent("#t3 .vh");
    assert.match(row, /^Succeeded, waited for its dependencies .*attempt 1 ran 11\.0s, backed off .*attempt 3 ran 14\.0s/);
    assert.equal(await page.$$eval("table", (tables) => tables.filter((table) => !table.querySelector("th[scope=col]")).length), 0);
    assert.equal(await page.$$eval("svg[role=img] > title", (all) => all.length), 1);
    assert.equal(await page.getAttribute("html", "lang"), "en");
    return page;
  },

  async "what was used is drawn beside what was asked for"(context) {
    const page = await open(context, story);
    const row = (name) => page.locator("#usage tr", { has: page.locator(`th:text-is("${name}")`) });
    assert.equal(await row("build").locator("svg .u-request").count(), 2);
    assert.equal(await row("build").locator("svg .u-limit").count(), 2);
    assert.equal(await row("db").locator("svg .u-limit").count(), 0, "far above what was used: told, and not drawn");
    assert.match(await row("db").innerText(), /16\.00/);
    const attempts = await row("unit").locator("svg .u-line").first().getAttribute("d");
    assert.equal(attempts.match(/M/g).length, 3, "a line for each attempt");
    return page;
  },

  async "text can be read, in the light and in the dark"(context) {
    let page;
    for (const colorScheme of ["light", "dark"]) {
      page = await open(context, story, { colorScheme });
      const bad = await page.evaluate(lowContrast);
      assert.deepEqual(bad, [], colorScheme);
    }
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(dark, "rgb(21, 22, 27)");
    return page;
  },

  async "a narrow screen does not scroll sideways"(context) {
    const page = await open(context, story, { width: 360, height: 700 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 360, `${wide} px`);
    return page;
  },

  async "paper has everything and no controls"(context) {
    const page = await open(context, story, { media: "print", width: 800 });
    assert.equal(await page.isVisible("#filter"), false);
    const pdf = await page.pdf({ format: "A4" });
    assert.ok(pdf.length > 20_000, `${pdf.length} bytes`);
    return page;
  },

  async "a thousand steps open and filter without a stall"(context) {
    const page = await open(context, join(directory, "thousand.html"));
    assert.equal(await page.$$eval("#steps tbody tr", (rows) => rows.length), 1000);
    const longest = await page.evaluate(async () => {
      const began = performance.now();
      document.querySelector("#filter").value = "s19-";
      document.querySelector("#filter").dispatchEvent(new Event("input"));
      await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
      return performance.now() - began;
    });
    console.log(`filtering a thousand steps: ${Math.round(longest)} ms; load: ${await page.evaluate(() =>
      Math.round(performance.getEntriesByType("navigation")[0].loadEventEnd))} ms`);
    assert.equal(await page.$$eval("#timeline li:not([hidden])", (rows) => rows.length), 50);
    return page;
  },
};

/// The texts whose contrast with what is behind them is below what WCAG 2 AA asks (4.5; 3 for large ones).
function lowContrast() {
  const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((part, index) => part * a + under[index] * (1 - a));
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const svg = element.closest("g.node")?.querySelector("rect");
    if (svg) return parse(getComputedStyle(svg).fill);
    return over(parse(getComputedStyle(element).backgroundColor), behind(element.parentElement));
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => ((part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const bad = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text || !element.checkVisibility() || element.closest("script, style, title, .skip")) continue;
    const style = getComputedStyle(element);
    const colour = parse(element instanceof SVGElement ? style.fill : style.color);
    const back = behind(element);
    const [high, low] = [luminance(over(colour, back)), luminance(back)].sort((one, other) => other - one);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if ((high + 0.05) / (low + 0.05) < (large ? 3 : 4.5)) {
      bad.add(`${element.tagName}.${element.getAttribute("class")}: ${colour} on ${back}`);
    }
  }
  return [...bad];
}

let failed = 0;
await withBrowser(async (context) => {
  for (const [name, test] of Object.entries(tests)) {
    try {
      const page = await test(context);
      assert.deepEqual(page.troubles, [], "nothing was asked for, nothing was complained about");
      console.log(`ok   ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name}\n     ${error.stack}`);
    }
  }
});
process.exitCode = failed ? 1 : 0;
