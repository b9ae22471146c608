import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import { killProcesses, runCommand, startProcess, temporaryDirectory } from "../support/process.ts";
import { writeFile } from "../support/proposals.ts";

afterEach(killProcesses);

/** Runs `serve` with settings that must not start, and returns the faults it lists. */
async function faultsOf(settings: Record<string, unknown>, args: readonly string[] = []): Promise<string[]> {
  const result = await runCommand(["serve", ...args], { data_dir: temporaryDirectory(), ...settings });
  expect(result).toMatchObject({ code: 2, stdout: "" });
  expect(result.stderr).not.toMatch(/\n\s+at /);
  return result.stderr
    .split("\n")
    .filter((line) => line.startsWith("  - "))
    .map((line) => line.slice(4));
}

function fileWith(text: string | Uint8Array): string {
  const path = join(temporaryDirectory(), "holdpoint.yaml");
  writeFileSync(path, text);
  return path;
}

const anyPort = { listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0" };

const canMount = (() => {
  const directory = temporaryDirectory();
  try {
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", directory], { stdio: "ignore" });
    execFileSync("umount", ["-l", directory]);
    return true;
  } catch {
    return false;
  }
})();

describe("serve refuses to start", () => {
  test("and lists every fault of file and variables at once, with the setting that was meant", async () => {
    const path = fileWith(`
modee: observe
mode: loose
workers: many
depth_max: 3
listen: 0.0.0.0:8282
ledger: { durabilty: relaxed, queue_max: 1.5 }
api_keys: [{ id: a, sha256: short, scopes: [rule] }]
`);
    const faults = await faultsOf({ listn: "127.0.0.1:1", batch_max: 0 }, ["--config", path]);
    for (const [setting, part] of [
      ["modee", "did you mean mode?"],
      ["HOLDPOINT_LISTN", "did you mean HOLDPOINT_LISTEN?"],
      ["mode", "observe"],
      ["workers", "expected"],
      ["depth_max", "4"],
      ["ledger.durabilty", "did you mean ledger.durability?"],
      ["ledger.queue_max", ""],
      ["api_keys/0/sha256", "64 hexadecimal digits"],
      ["api_keys/0/scopes/0", "decide"],
      ["HOLDPOINT_BATCH_MAX", "1"],
      ["auth", '"none" is for loopback'],
    ] as const) {
      expect(faults.filter((fault) => fault.startsWith(`${setting}: `) && fault.includes(part))).toHaveLength(1);
    }
    expect(faults).toHaveLength(11);
  });

  test.each([
    ["is absent", "/nowhere/holdpoint.yaml", "does not exist"],
    ["is a directory", temporaryDirectory(), "is a directory, expected a file"],
    ["is empty", fileWith(""), "is empty: expected settings"],
    ["is blank", fileWith(" \n\t\n"), "is empty: expected settings"],
    ["is a list", fileWith("- mode: enforce\n"), "expected a mapping"],
    ["is a word", fileWith("enforce\n"), "expected a mapping"],
    ["has a key twice", fileWith("mode: enforce\nmode: observe\n"), "unique"],
    ["is no YAML", fileWith("mode: [enforce\n"), ""],
    ["has an alias", fileWith("issuer: &a x\npermit_audience: *a\n"), ""],
  ])("with a configuration file that %s", async (_, path, part) => {
    const faults = await faultsOf({ config: path });
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(path);
    expect(faults[0]).toContain(part);
  });

  test.each([
    ["auth", { listen: "0.0.0.0:0" }],
    ["auth", { listen: ":0" }],
    ["auth", { listen: "[::]:0" }],
    ["admin_auth", { admin_listen: "0.0.0.0:0", admin_auth: "none" }],
  ])("with %s none where anybody could connect: %o", async (setting, settings) => {
    const faults = await faultsOf({ ...anyPort, ...settings });
    expect(faults).toEqual([expect.stringMatching(new RegExp(`^${setting}: "none" is for loopback and Unix sockets`))]);
  });

  test.each([1, 2])("on a port that is in use, with %i worker(s)", async (workers) => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const address = `127.0.0.1:${port}`;
    try {
      for (const settings of [{ listen: address }, { admin_listen: address }]) {
        const [setting] = Object.keys(settings);
        const faults = await faultsOf({ ...anyPort, ...settings, workers, bundle: examplesBundle() });
        expect(faults).toEqual([expect.stringMatching(new RegExp(`^${setting}: .*${address}.* in use`))]);
      }
    } finally {
      other.close();
    }
  });

  test("in the place of a file, which it leaves alone", async () => {
    const path = fileWith("precious");
    const faults = await faultsOf({ ...anyPort, listen: `unix:${path}` });
    expect(faults).toEqual([`listen: ${path} exists and is no socket`]);
    expect(readFileSync(path, "utf8")).toBe("precious");
  });

  test.each([
    ["holds half a key", (path: string) => writeFileSync(join(path, "permit-a.json"), '{"kty":"OKP"')],
    ["holds another kind of key", (path: string) => writeFileSync(join(path, "permit-a.json"), '{"kty":"RSA"}')],
  ])("with a keys_dir that %s", async (_, spoil) => {
    const directory = temporaryDirectory();
    spoil(directory);
    const faults = await faultsOf({ ...anyPort, keys_dir: directory });
    expect(faults).toEqual([expect.stringMatching(/^keys_dir: /)]);
  });

  test("with a keys_dir, a data_dir or a ledger key that is something else", async () => {
    const file = fileWith("no directory");
    expect(await faultsOf({ ...anyPort, keys_dir: file })).toEqual([expect.stringMatching(/^keys_dir: /)]);
    const directory = temporaryDirectory();
    mkdirSync(join(directory, "ledger"));
    writeFileSync(join(directory, "ledger", "checkpoint-key.pem"), "no key");
    expect(await faultsOf({ ...anyPort, data_dir: directory })).toEqual([expect.stringMatching(/^data_dir: /)]);
    const under = await runCommand(["serve"], { ...anyPort, data_dir: file });
    expect(under.code).not.toBe(0);
    expect(under.stderr).not.toMatch(/\n\s+at /);
  });

  const disks = [
    ["is read-only", "ro", "the file system is read-only"],
    ["is full", "size=4k", "no space is left on the device"],
  ] as const;
  test.skipIf(!canMount)("on a disk that cannot be written", async () => {
    for (const [what, options, part] of disks) {
      const directory = temporaryDirectory();
      execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", directory]);
      try {
        const faults = await faultsOf({ ...anyPort, data_dir: directory, bundle: examplesBundle() });
        expect(faults[0], what).toContain(`data_dir: ${directory}: ${part}`);
        expect(faults, what).toHaveLength(1);
        const keys = { ...anyPort, keys_dir: join(directory, "deeper"), bundle: examplesBundle() };
        expect((await faultsOf(keys))[0], what).toContain(`keys_dir: ${directory}/deeper: ${part}`);
      } finally {
        execFileSync("umount", ["-l", directory]);
      }
    }
  });

  test("with a store address that cannot be read, without repeating the password in it", async () => {
    const result = await runCommand(["serve"], {
      ...anyPort,
      data_dir: temporaryDirectory(),
      store: "redis://user:hunter2@host:notaport",
    });
    expect(result.code).toBe(2);
    expect(result.stderr).not.toContain("hunter2");
    expect(result.stderr).not.toMatch(/\n\s+at /);
  });
});

describe("serve starts", () => {
  test("with a configuration file that sets nothing, and with an empty HOLDPOINT_CONFIG", async () => {
    for (const config of [fileWith("{}\n"), fileWith("# nothing\n"), fileWith("---\n"), ""]) {
      const sidecar = await startProcess({ config });
      expect((await sidecar.send({ path: "/healthz" })).status).toBe(200);
      expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
    }
  });

  test("and says loudly what is open", async () => {
    const sidecar = await startProcess({ admin_auth: "none", mode: "observe", api_keys: [] });
    const warnings = sidecar.lines.filter(({ level }) => level === 40).map(({ msg }) => msg);
    expect(warnings.join("\n")).toMatch(/Callers are NOT authenticated/);
    expect(warnings.join("\n")).toMatch(/Reviewers are NOT authenticated/);
    expect(warnings.join("\n")).toMatch(/Mode is observe/);
    expect(warnings.join("\n")).toMatch(/No policy is configured/);
  });

  test.each([1, 2])(
    "on a Unix socket, over one that a killed process left, and not over a live one (%i worker(s))",
    async (workers) => {
      const path = join(temporaryDirectory(), "decisions.sock");
      const settings = { bundle: examplesBundle(), listen: `unix:${path}`, workers };
      const first = await startProcess(settings);
      expect(await postOver(path, writeFile("/tmp/a"))).toMatchObject({ outcome: "allow" });
      expect(await faultsOf({ ...settings, admin_listen: "127.0.0.1:0" })).toEqual([
        `listen: another process listens on ${path}`,
      ]);
      expect(await postOver(path, writeFile("/tmp/a"))).toMatchObject({ outcome: "allow" });
      await first.stop("SIGKILL");
      expect(existsSync(path)).toBe(true);
      const second = await startProcess(settings);
      expect(await postOver(path, writeFile("/tmp/a"))).toMatchObject({ outcome: "allow" });
      expect(await second.stop()).toEqual({ code: 0, signal: null });
      expect(existsSync(path)).toBe(false);
    },
  );
});

function postOver(socketPath: string, body: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", connection: "close" };
    const outgoing = request({ socketPath, path: "/v1/decisions", method: "POST", headers }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on("end", () => resolve(JSON.parse(text)));
    });
    outgoing.on("error", reject);
    outgoing.end(JSON.stringify(body));
  });
}
