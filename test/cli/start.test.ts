/** What happens while a sidecar starts, and when a second one would. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import {
  environmentOf,
  killProcesses,
  type LogLine,
  mainPath,
  runCommand,
  startProcess,
  temporaryDirectory,
  workersOf,
} from "../support/process.ts";
import { writeFile } from "../support/proposals.ts";
import { until } from "../support/redis.ts";
import { API_KEYS, KEYS } from "../support/sidecar.ts";

const started: ChildProcess[] = [];

afterEach(() => {
  killProcesses();
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

/** `serve`, with `act` called when it says that policy is active: its files are open, and nothing listens yet. */
async function startAnd(settings: Record<string, unknown>, act: (child: ChildProcess) => void) {
  const anyPort = { listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0", data_dir: temporaryDirectory() };
  const child = spawn(process.execPath, [mainPath(), "serve"], {
    env: environmentOf({ ...anyPort, api_keys: API_KEYS, bundle: examplesBundle(), ...settings }),
    stdio: ["ignore", "ignore", "pipe"],
  });
  started.push(child);
  const lines: LogLine[] = [];
  const hasEnded = once(child, "exit").then(() => lines.push({ level: 60, msg: "ended" }));
  createInterface({ input: child.stderr! }).on("line", (line) => {
    if (!line.startsWith("{")) return;
    lines.push(JSON.parse(line) as LogLine);
    if (lines.at(-1)!.msg === "Policy is active") act(child);
  });
  const said = (text: string) => lines.find(({ msg }) => msg.startsWith(text))?.msg.slice(text.length);
  await until(() => said("Holdpoint is up") !== undefined || said("ended") !== undefined, "it is up, or over");
  return { child, lines, said, hasEnded };
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.aside`, text);
  renameSync(`${path}.aside`, path);
}

/** Over a connection of its own, and another where that one is not answered: one handed to a dying worker never is. */
async function statusOf(url: string): Promise<number> {
  for (;;) {
    const answer = await fetch(`${url}/v1/decisions`, {
      method: "POST",
      body: JSON.stringify(writeFile("/tmp/a")),
      headers: { "content-type": "application/json", connection: "close" },
      signal: AbortSignal.timeout(5_000),
    }).catch(() => undefined);
    if (answer !== undefined) return answer.status;
  }
}

test("serve takes up a configuration that was changed while it started", async () => {
  const config = join(temporaryDirectory(), "holdpoint.yaml");
  replace(config, "mode: observe\n");
  const sidecar = await startAnd({ config }, () => replace(config, "mode: enforce\n"));
  const response = await fetch(`http://${sidecar.said("Admin on ")}/v1/policy`, {
    headers: { authorization: `Bearer ${KEYS.olivia}` },
  });
  expect(await response.json()).toMatchObject({ mode: "enforce" });
});

test("serve hears a SIGHUP that comes while it starts", async () => {
  const sidecar = await startAnd({}, (child) => child.kill("SIGHUP"));
  expect(sidecar.said("ended")).toBeUndefined();
  await until(() => sidecar.said("Reloading configuration") !== undefined, "it reloads once it is up");
});

test("serve hears a SIGTERM that comes while it starts, and ends with 0", async () => {
  const sidecar = await startAnd({}, (child) => child.kill("SIGTERM"));
  await sidecar.hasEnded;
  expect(sidecar.child.exitCode).toBe(0);
});

test("serve gives a worker that it replaces the configuration in force, whatever lies on disk by then", async () => {
  const config = join(temporaryDirectory(), "holdpoint.yaml");
  replace(config, "auth: api_key\nworkers: 2\n");
  const sidecar = await startProcess({ config, bundle: examplesBundle() });
  const isUp = () => sidecar.lines.filter(({ msg }) => msg === "Worker is up").length;
  for (const text of ["auth: none\nworkers: 2\n", "mode: bogus\n"]) {
    replace(config, text);
    const before = isUp();
    const complaints = () => sidecar.lines.filter(({ msg }) => /need a restart|has faults/.test(msg)).length;
    await until(() => complaints() > 0, "the change is seen");
    process.kill(workersOf(sidecar)[0]!, "SIGKILL");
    await until(() => isUp() > before, "the worker is replaced");
    for (let index = 0; index < 8; index += 1) expect(await statusOf(sidecar.decisionUrl)).toBe(401);
  }
});

test("serve takes workers along when a mode changes", async () => {
  const config = join(temporaryDirectory(), "holdpoint.yaml");
  replace(config, "mode: observe\nworkers: 2\n");
  const sidecar = await startProcess({ config, bundle: examplesBundle() });
  expect((await sidecar.decide(writeFile("/etc/a"))).body).toMatchObject({ outcome: "allow", mode: "observe" });
  replace(config, "mode: enforce\nworkers: 2\n");
  await until(async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => sidecar.decide(writeFile("/etc/a"))));
    return answers.every(({ body }) => body.outcome === "deny" && body.mode === "enforce");
  }, "every worker enforces");
  expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
});

test("serve refuses a data directory that another sidecar has, and takes it when that one is gone", async () => {
  const settings = { data_dir: temporaryDirectory(), bundle: examplesBundle() };
  const first = await startProcess(settings);
  const second = await runCommand(["serve"], { ...settings, listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0" });
  expect(second.code).toBe(2);
  expect(second.stderr).toContain(
    `data_dir: ${settings.data_dir} is in use by the sidecar with pid ${first.child.pid}`,
  );
  await first.stop();
  const third = await startProcess(settings);
  expect(await third.stop()).toEqual({ code: 0, signal: null });
});
