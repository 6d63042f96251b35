// A person acts on a live page. Called by tests/browser.rs: node act.mjs URL TOKEN
import assert from "node:assert/strict";
import { open, withBrowser } from "./browser.mjs";

const [url, token] = process.argv.slice(2);
await withBrowser(async (context) => {
  const page = await open(context, url);
  await page.waitForFunction(() => document.querySelector("#s0 td").textContent.includes("Awaiting"));
  const approve = page.getByRole("button", { name: "Approve first" });
  const said = (words) => page.waitForFunction((words) => document.querySelector("#answer").textContent.includes(words), words);
  assert.equal(await approve.isVisible(), false, "no button before there is a token");

  // A wrong token is refused, and a question can be answered with no.
  await page.getByLabel("Token").fill("not-the-right-token");
  await approve.click();
  assert.equal(await page.textContent("#question"), "Approve first?");
  assert.equal(await page.evaluate(() => document.activeElement.id), "no", "what is pressed by chance does nothing");
  await page.keyboard.press("Enter");
  assert.equal(await page.textContent("#answer"), "");
  await approve.click();
  await page.getByRole("button", { name: "Yes" }).click();
  await said("this needs the token");
  assert.deepEqual(page.troubles.splice(0), ["console: Failed to load resource: the server responded with a status of 401 (Unauthorized)"]);

  // With the right one: the first step runs on, the second is skipped, the rest is cancelled. By the keyboard alone.
  await page.getByLabel("Token").fill(token);
  await approve.focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Shift+Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "yes");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#s0 td").textContent.includes("Running"));
  await page.getByRole("button", { name: "Skip second" }).click();
  await page.getByRole("button", { name: "Yes" }).click();
  await page.waitForFunction(() => document.querySelector("#s1 td").textContent.includes("Skipped"));
  await page.getByRole("button", { name: "Cancel the plan" }).click();
  await page.getByRole("button", { name: "Yes" }).click();
  await page.waitForFunction(() => document.querySelector("#live").textContent === "the run has ended");
  assert.equal(await page.locator("#actions").isVisible(), false, "nothing is left to do");
  assert.match(await page.textContent("h1"), /Cancelled/);

  // The token is nowhere but in its field.
  const kept = await page.evaluate(() => [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie, location.href].join(" "));
  assert.ok(!kept.includes(token), kept);
  assert.deepEqual(page.troubles, []);
});
