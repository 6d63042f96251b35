// A picture of a page, from its head to the end of its timeline: node picture.mjs PAGE PNG
// With a palette of 64 colours it is a third as large (pngquant).
import { execFileSync } from "node:child_process";
import { open, withBrowser } from "./browser.mjs";

const [file, picture] = process.argv.slice(2);
const width = 1100;
await withBrowser(async (context) => {
  const page = await open(context, file, { width, height: 1600 });
  if (file.startsWith("http:")) await page.waitForFunction(() => document.querySelector("#live").textContent.startsWith("live"));
  const end = await page.$eval("#timeline", (timeline) => timeline.getBoundingClientRect().bottom);
  await page.screenshot({ path: picture, clip: { x: 0, y: 0, width, height: Math.ceil(end) + 12 } });
});
execFileSync("pngquant", ["--force", "--strip", "--speed", "1", "--nofs", "--output", picture, "64", "--", picture]);
