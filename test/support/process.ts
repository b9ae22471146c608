/** The real thing: `dist/main.js` as a child process, on free ports, told everything by HOLDPOINT_* variables. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll } from "vitest";
import { until } from "./redis.ts";
import { type Answer, API_KEYS, type Body, exchange, KEYS, type Send } from "./sidecar.ts";
import { projectRoot } from "./tools.ts";

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [member: string]: unknown;
}

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface SidecarProcess {
  readonly child: ChildProcess;
  readonly dataDir: string;
  readonly decisionUrl: string;
  readonly adminUrl: string;
  readonly lines: readonly LogLine[];
  readonly ended: Promise<Ending>;
  send(request: Send): Promise<Answer>;
  decide(proposal: unknown): Promise<Answer>;
  review(approvalId: string, verdict: string, body?: unknown, key?: string): Promise<Answer>;
  /** Sends the signal and resolves when the process is gone. */
  stop(signal?: NodeJS.Signals): Promise<Ending>;
}

export interface CommandResult extends Ending {
  readonly stdout: string;
  readonly stderr: string;
}

const alive = new Set<ChildProcess>();

let isBuilt = false;

/** Path of the compiled command line, compiled anew where a source changed; one builder at a time. */
export function mainPath(): string {
  if (!isBuilt) {
    execFileSync("mkdir", ["-p", join(projectRoot, ".build")]);
    const lock = join(projectRoot, ".build", "build.lock");
    execFileSync("flock", [lock, "make", "-s", "build"], { cwd: projectRoot, stdio: ["ignore", "ignore", "inherit"] });
    isBuilt = true;
  }
  return join(projectRoot, "dist", "main.js");
}

const directories: string[] = [];

/** Gone when the tests of this file are over. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-process-"));
  directories.push(directory);
  return directory;
}

afterAll(async () => {
  killProcesses();
  await until(() => alive.size === 0, "every sidecar is gone");
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** Settings as the YAML file has them, as variables; nothing of the test's own environment but PATH. */
export function environmentOf(settings: Readonly<Record<string, unknown>>): Record<string, string> {
  const variables = Object.entries(settings)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => [
      `HOLDPOINT_${key.toUpperCase().replaceAll(".", "_")}`,
      typeof value === "string" ? value : JSON.stringify(value),
    ]);
  return { PATH: process.env.PATH ?? "", ...Object.fromEntries(variables) };
}

/** Runs a command to its end. */
export async function runCommand(
  args: readonly string[],
  settings: Readonly<Record<string, unknown>> = {},
  cwd = tmpdir(),
): Promise<CommandResult> {
  const child = spawn(process.execPath, [mainPath(), ...args], { env: environmentOf(settings), cwd });
  alive.add(child); // one that serves where it should have refused must not outlive its test
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  alive.delete(child);
  return { code, signal, stdout, stderr };
}

/** Ends whatever a failed test left running. */
export function killProcesses(): void {
  for (const child of alive) child.kill("SIGKILL");
}

/** Resolves once it says that it is up. */
export async function startProcess(
  settings: Readonly<Record<string, unknown>> = {},
  args: readonly string[] = ["serve"],
): Promise<SidecarProcess> {
  const dataDir = String(settings.data_dir ?? temporaryDirectory());
  const all = {
    listen: "127.0.0.1:0",
    admin_listen: "127.0.0.1:0",
    api_keys: API_KEYS,
    ...settings,
    data_dir: dataDir,
  };
  const child = spawn(process.execPath, [mainPath(), ...args], {
    env: environmentOf(all),
    stdio: ["ignore", "ignore", "pipe"],
    detached: true, // a process group of its own, to be signalled as one
  });
  alive.add(child);
  const lines: LogLine[] = [];
  const others: string[] = [];
  const input = createInterface({ input: child.stderr! });
  input.on("line", (line) => {
    if (line.startsWith("{")) lines.push(JSON.parse(line) as LogLine);
    else others.push(line);
  });
  const closed = once(child, "close").then(([code, signal]) => {
    alive.delete(child);
    return { code, signal } as Ending;
  });
  let isOver = false;
  void closed.then(() => {
    isOver = true;
  });
  const said = (text: string) => lines.find(({ msg }) => msg.startsWith(text))?.msg.slice(text.length);
  await until(() => {
    if (isOver)
      throw new Error(`The sidecar ended instead of starting:\n${others.join("\n")}\n${JSON.stringify(lines)}`);
    return said("Holdpoint is up") !== undefined && said("Decisions on ") !== undefined;
  }, "the sidecar is up");
  const agent = new Agent({ keepAlive: true });
  const urlOf = (address: string) => (address.startsWith("unix:") ? address : `http://${address}`);
  const decisionUrl = urlOf(said("Decisions on ")!);
  const adminUrl = urlOf(said("Admin on ")!);
  const send = (request: Send) => exchange(agent, request.port === "admin" ? adminUrl : decisionUrl, request);
  return {
    child,
    dataDir,
    decisionUrl,
    adminUrl,
    lines,
    ended: closed,
    send,
    decide: (proposal) => send({ path: "/v1/decisions", body: proposal }),
    review: (approvalId, verdict, body = {}, key = KEYS.olivia) =>
      send({ port: "admin", path: `/v1/approvals/${approvalId}/${verdict}`, body, key }),
    stop: async (signal = "SIGTERM") => {
      child.kill(signal);
      const ending = await closed;
      agent.destroy();
      return ending;
    },
  };
}

/** One counter of `/metrics`, summed over its label sets that carry `labels`; 0 where there is none. */
export async function metricOf(sidecar: Pick<SidecarProcess, "send">, name: string, labels = ""): Promise<number> {
  const asked = Date.now() / 1000;
  let text = "";
  await until(async () => {
    text = (await sidecar.send({ port: "admin", path: "/metrics" })).text;
    return Number(/^holdpoint_scrape_timestamp_seconds (\S+)$/m.exec(text)?.[1] ?? 0) >= asked;
  }, "the figures are of now");
  return text
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => line.includes(labels))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

export type { Answer, Body };

/** A generator of numbers that is the same in every run (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function workersOf(sidecar: SidecarProcess): number[] {
  try {
    const children = execFileSync("pgrep", ["-P", String(sidecar.child.pid)], { encoding: "utf8" });
    return children.trim().split("\n").map(Number);
  } catch {
    return []; // pgrep says that there are none by failing
  }
}
