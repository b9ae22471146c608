/** The real Chromium, headless, talking to servers on this machine alone. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";
import { projectRoot } from "./tools.ts";

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let found: string | undefined;

/** Undefined where there is none (said in one line by the script), so that the rest of the suite runs without it. */
export function chromiumPath(): string | undefined {
  if (found === undefined) {
    const { stdout, stderr } = spawnSync(`${projectRoot}.tools/chromium.sh`, { encoding: "utf8" });
    found = stdout.trim();
    if (found === "") console.warn(stderr.trim());
  }
  return found === "" ? undefined : found;
}

export interface TestBrowser {
  readonly newContext: (
    options?: Parameters<Awaited<ReturnType<typeof chromium.launch>>["newContext"]>[0],
  ) => Promise<BrowserContext>;
  close(): Promise<void>;
}

export async function startBrowser(): Promise<TestBrowser> {
  // Chromium keeps some files beside its profile, which Playwright removes: both stay in a folder of the test's.
  const home = mkdtempSync(join(tmpdir(), "holdpoint-browser-"));
  const browser = await chromium.launch({
    executablePath: chromiumPath()!,
    args: ARGS,
    env: { PATH: process.env.PATH ?? "", HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
  });
  return {
    newContext: (options) => browser.newContext(options),
    close: async () => {
      await browser.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}
