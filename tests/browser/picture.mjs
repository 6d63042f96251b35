// The picture of a report for the README: node picture.mjs PAGE PNG
import { open, withBrowser } from "./browser.mjs";

const [file, picture] = process.argv.slice(2);
await withBrowser(async (context) => {
  const page = await open(context, file, { width: 1100, height: 1400 });
  const end = await page.$eval("#timeline", (timeline) => timeline.getBoundingClientRect().bottom);
  await page.screenshot({ path: picture, clip: { x: 0, y: 0, width: 1100, height: Math.ceil(end) + 12 } });
});
