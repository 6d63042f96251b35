// A Chromium that asks for nothing by itself, and a page that remembers what went wrong on it.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export async function withBrowser(use) {
  const profile = mkdtempSync(join(tmpdir(), "podturn-browser-"));
  const browser = await chromium.launchPersistentContext(profile, { executablePath: "/usr/bin/chromium", headless: true, args });
  try {
    await use(browser.browser() ?? browser);
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

/// Opens a file, or a page by its URL, with these settings; whatever is said or asked for is in `page.troubles`.
export async function open(context, file, { width = 1280, height = 900, colorScheme = "light", media = "screen" } = {}) {
  const page = await context.newPage();
  const url = file.startsWith("http:") ? file : `file://${file}`;
  page.troubles = [];
  page.on("console", (message) => page.troubles.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => page.troubles.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => page.troubles.push(`dialog: ${dialog.message()}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(new URL("/", url)) && request.url() !== "data:,") page.troubles.push(`request: ${request.url()}`);
  });
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme, media });
  await page.goto(url);
  return page;
}
