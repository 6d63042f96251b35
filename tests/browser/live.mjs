// A live page follows its run. Called by tests/browser.rs: node live.mjs URL GATE
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { open, withBrowser } from "./browser.mjs";

const [url, gate] = process.argv.slice(2);
await withBrowser(async (context) => {
  const page = await open(context, url);
  const phase = (step) => page.locator(`#s${step} td`).first();
  await page.waitForFunction(() => document.querySelector("#live").textContent.startsWith("live"));
  await page.waitForFunction(() => document.querySelector("#s0 td").textContent.includes("Running"));
  assert.match(await phase(1).textContent(), /Pending/);

  // What a person has opened, found and looked at stays as it is.
  await page.evaluate(() => (window.isTheSamePage = true));
  await page.focus("#timeline li[tabindex='0']");
  await page.keyboard.press("ArrowDown");
  const grows = () => page.$eval("#timeline", (timeline) => parseFloat(timeline.style.getPropertyValue("--t")));
  const before = await grows();
  await page.waitForFunction((before) => parseFloat(document.querySelector("#timeline").style.getPropertyValue("--t")) > before, before);

  writeFileSync(gate, "");
  await page.waitForFunction(() => document.querySelector("#s1 td").textContent.includes("Succeeded"));
  await page.waitForFunction(() => document.querySelector("#live").textContent === "the run has ended");
  assert.match(await page.textContent("h1"), /Succeeded/);
  assert.match(await page.title(), /^Succeeded - /);
  assert.match(await page.textContent("#keys"), /an attempt that succeeded.*the end waited for this/, "what bars mean goes with the bars");
  assert.equal(await page.evaluate(() => window.isTheSamePage), true);
  assert.equal(await page.evaluate(() => document.activeElement.id), "t1");
  assert.equal(await page.$$eval("#timeline li", (rows) => rows.length), 2);
  assert.equal(await page.$$eval(".p-Succeeded.node", (nodes) => nodes.length), 2);
  assert.deepEqual(page.troubles, []);
});
