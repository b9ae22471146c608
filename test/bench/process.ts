/** Processes for the benches: the built sidecar, OPA's own server, wrk. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { rootsWithDomains } from "../support/bundles.ts";
import { opaPath, projectRoot } from "../support/tools.ts";

export interface Running {
  readonly url: string;
  readonly admin: string;
  readonly pid: number;
  readonly readyMs: number;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    (response) => response.ok,
    () => false,
  );
}

export async function startHoldpoint(settings: Record<string, string>): Promise<Running> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const startedAt = performance.now();
  const child = spawn(process.execPath, [join(projectRoot, "dist/main.js"), "serve"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      PATH: process.env.PATH,
      HOLDPOINT_LISTEN: `127.0.0.1:${port}`,
      HOLDPOINT_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
      HOLDPOINT_ADMIN_AUTH: "none",
      HOLDPOINT_BUNDLE: join(projectRoot, ".build/bundle.tar.gz"),
      HOLDPOINT_DATA_DIR: mkdtempSync(join(tmpdir(), "holdpoint-bench-")),
      HOLDPOINT_LOG_LEVEL: "error",
      ...settings,
    },
  });
  createInterface({ input: child.stderr! }).on("line", (line) => console.error(line));
  const url = `http://127.0.0.1:${port}`;
  while (!(await answers(`${url}/readyz`))) {
    if (child.exitCode !== null) throw new Error("The sidecar ended");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const readyMs = performance.now() - startedAt;
  return { url, admin: `http://127.0.0.1:${adminPort}`, pid: child.pid!, readyMs, stop: () => stop(child) };
}

/** OPA's own server on the uncompiled policies, as its documentation starts it. */
export async function startOpa(): Promise<Running> {
  const port = await freePort();
  const roots = ["rego/holdpoint", "rego/examples/refunds", "rego/examples/files", "rego/examples/deployments"];
  const loaded = rootsWithDomains(roots, mkdtempSync(join(tmpdir(), "holdpoint-bench-domain-")));
  const flags = ["--addr", `127.0.0.1:${port}`, "--log-level", "error", "--ignore", "domain.yaml"];
  const args = ["run", "--server", ...flags, ...loaded];
  const startedAt = performance.now();
  const child = spawn(opaPath(), args, { cwd: projectRoot, stdio: "ignore" });
  const url = `http://127.0.0.1:${port}`;
  while (!(await answers(`${url}/health`))) await new Promise((resolve) => setTimeout(resolve, 5));
  return { url, admin: url, pid: child.pid!, readyMs: performance.now() - startedAt, stop: () => stop(child) };
}

export interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failures: number;
}

/** @param script Lua for wrk; latencies are read from its own report */
export async function wrk(url: string, script: string, of: { connections: number; seconds: number }): Promise<Load> {
  const path = join(mkdtempSync(join(tmpdir(), "holdpoint-wrk-")), "load.lua");
  writeFileSync(path, script);
  const args = ["-t1", `-c${of.connections}`, `-d${of.seconds}s`, "--latency", "-s", path, url];
  const child = spawn("wrk", args, { stdio: ["ignore", "pipe", "inherit"] });
  let report = "";
  child.stdout.on("data", (chunk: Buffer) => {
    report += chunk.toString();
  });
  await once(child, "close");
  const failed = /Non-2xx or 3xx responses: (\d+)/.exec(report)?.[1] ?? /Socket errors: (.*)/.exec(report)?.[1];
  return {
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(report)?.[1] ?? Number.NaN),
    p50Ms: milliseconds(/50%\s+([\d.]+)(us|ms|s)/.exec(report)),
    p99Ms: milliseconds(/99%\s+([\d.]+)(us|ms|s)/.exec(report)),
    failures: failed === undefined ? 0 : Number.parseInt(failed, 10) || 1,
  };
}

function milliseconds(match: RegExpExecArray | null): number {
  const unit = { us: 0.001, ms: 1, s: 1000 }[match?.[2] ?? "ms"]!;
  return Number(match?.[1]) * unit;
}

/**
 * Megabytes of resident memory: what the process holds, and pages of files it has mapped, which are the kernel's cache of
 * the ledger and go when somebody needs the room.
 */
export function residentMb(pid: number): { readonly held: number; readonly mapped: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
  return { held: of("RssAnon"), mapped: of("RssFile") };
}

export function requireWrk(): void {
  execFileSync(join(projectRoot, ".tools/wrk.sh"), { stdio: ["ignore", "ignore", "inherit"] });
}
