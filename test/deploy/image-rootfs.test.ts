/** What the container image holds, and that it runs: as 65532, without capabilities, on a read-only root filesystem. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import { type LogLine, mainPath } from "../support/process.ts";
import { refund } from "../support/proposals.ts";
import { until } from "../support/redis.ts";
import { exchange } from "../support/sidecar.ts";
import { projectRoot } from "../support/tools.ts";

const BYTES_MAX = 180_000_000; // decimal megabytes
const USER = 65_532;
const build = join(projectRoot, ".build");
const root = join(build, "rootfs");
const isLinux = process.platform === "linux";
const canDropRoot =
  isLinux &&
  process.getuid?.() === 0 &&
  spawnSync("unshare", ["-m", "chroot", `--userspec=${USER}:${USER}`, "/", "true"]).status === 0;
if (!isLinux) console.warn("image-rootfs: it is made of Linux libraries, so none of it is tested here");
else if (!canDropRoot) console.warn("image-rootfs: no chroot without being root, so its start is not tested");

const modules = (packages: string): string[] => {
  const folder = join(packages, "node_modules");
  return readdirSync(folder).flatMap((name) =>
    name.startsWith("@") ? readdirSync(join(folder, name)).map((inner) => `${name}/${inner}`) : [name],
  );
};

interface Entry {
  readonly path: string;
  readonly stat: ReturnType<typeof lstatSync> & object;
}

let entries: readonly Entry[] = [];

beforeAll(() => {
  if (!isLinux) return;
  mainPath();
  mkdirSync(build, { recursive: true });
  execFileSync("flock", [join(build, "image.lock"), "make", "-s", "image-rootfs"], {
    cwd: projectRoot,
    stdio: ["ignore", "ignore", "pipe"],
  });
  entries = readdirSync(root, { recursive: true, encoding: "utf8" }).map((path) => ({
    path,
    stat: lstatSync(join(root, path)),
  }));
}, 300_000);

describe.runIf(isLinux)("image-rootfs.sh", () => {
  test("stays within 180 MB", () => {
    const files = entries.filter(({ stat }) => stat.isFile());
    expect(files.reduce((sum, { stat }) => sum + Number(stat.size), 0)).toBeLessThanOrEqual(BYTES_MAX);
  });

  test("fails where the limit is passed, and names the bytes", () => {
    const { status, stderr } = spawnSync(
      "flock",
      [join(build, "image.lock"), ".tools/image-rootfs.sh", ".build/rootfs"],
      { cwd: projectRoot, encoding: "utf8", env: { ...process.env, IMAGE_BYTES_MAX: "1000000" } },
    );
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringMatching(/\d+ bytes are more than 1000000/) });
  });

  test("leaves nothing setuid, nothing writable by others but /tmp, and no links", () => {
    const modeOf = ({ stat }: Entry) => Number(stat.mode) & 0o7777;
    expect(entries.filter((entry) => (modeOf(entry) & 0o6000) !== 0).map(({ path }) => path)).toEqual([]);
    expect(entries.filter((entry) => (modeOf(entry) & 0o002) !== 0).map(({ path }) => path)).toEqual(["tmp"]);
    expect(modeOf(entries.find(({ path }) => path === "tmp")!)).toBe(0o1777);
    expect(entries.filter(({ stat }) => !stat.isFile() && !stat.isDirectory())).toEqual([]);
  });

  test.runIf(process.getuid?.() === 0)("gives all but two folders to root", () => {
    const others = entries.filter(({ stat }) => stat.uid !== 0 || stat.gid !== 0);
    expect(others.map(({ path, stat }) => [path, stat.uid, stat.gid]).sort()).toEqual([
      ["run/holdpoint", USER, USER],
      ["var/lib/holdpoint", USER, USER],
    ]);
  });

  test("holds two programs and no shell, no npm, no package of any other purpose", () => {
    expect(readdirSync(join(root, "usr", "bin")).sort()).toEqual(["holdpoint", "node"]);
    const executable = entries.filter(({ stat }) => stat.isFile() && (Number(stat.mode) & 0o111) !== 0);
    expect(executable.map(({ path }) => path.replace(/ld-linux.*/, "loader")).sort()).toEqual([
      expect.stringMatching(/loader$/),
      "opt/holdpoint/dist/main.js",
      "usr/bin/holdpoint",
      "usr/bin/node",
    ]);
  });

  test("holds the production packages of the lock file and no dev dependency", () => {
    const { packages } = JSON.parse(readFileSync(join(projectRoot, "package-lock.json"), "utf8"));
    const names = (isDev: boolean) =>
      Object.entries<{ dev?: boolean; optional?: boolean }>(packages)
        .filter(([path, entry]) => /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path) && (entry.dev === true) === isDev)
        .filter(([, entry]) => isDev || entry.optional !== true)
        .map(([path]) => path.slice("node_modules/".length));
    const held = new Set(modules(join(root, "opt", "holdpoint")));
    expect(names(true).filter((name) => held.has(name))).toEqual([]);
    expect(names(false).filter((name) => !held.has(name))).toEqual([]);
  });

  test("holds no addon for another platform, no source map, no type, no test", () => {
    const files = entries.filter(({ stat }) => stat.isFile()).map(({ path }) => path);
    const unread = files.filter((path) => /\.(map|ts|md|bare|c|h)$|_test\.rego$/.test(path));
    const template = "opt/holdpoint/dist/cli/project/template"; // `holdpoint new` reads all of it
    expect(files).toContain(`${template}/README.md`);
    expect(unread.filter((path) => !/\/license\.md$/i.test(path) && !path.startsWith(`${template}/`))).toEqual([]);
    const machines = new Set(
      files
        .filter((path) => path.endsWith(".node") || path === "usr/bin/node")
        .map((path) => machineOf(join(root, path))),
    );
    expect([...machines]).toEqual([machineOf(join(root, "usr/bin/node"))]);
    expect(files.filter((path) => path.includes(".musl."))).toEqual([]);
  });

  test("keeps every licence of what it holds", () => {
    const isLicense = (name: string) => /^(licen[cs]e|notice|copying)/i.test(name);
    const missing = modules(join(root, "opt", "holdpoint")).flatMap((name) =>
      readdirSync(join(projectRoot, "node_modules", name))
        .filter(isLicense)
        .map((file) => join("node_modules", name, file))
        .filter((file) => !existsSync(join(root, "opt", "holdpoint", file))),
    );
    expect(missing).toEqual([]);
    expect(existsSync(join(root, "opt", "holdpoint", "LICENSE"))).toBe(true);
  });
});

/** e_ident and e_machine: class, byte order and processor. */
function machineOf(path: string): string {
  const bytes = readFileSync(path).subarray(0, 20);
  return `${bytes.subarray(0, 6).toString("latin1")} ${bytes.readUInt16LE(18)}`;
}

/**
 * As a container engine would: a mount namespace of its own, the root read-only, the volumes writable, then down to the user.
 * Every step replaces the one before, so that the signal goes to Holdpoint itself.
 */
const ENTER = `
set -e
mount --bind "$ROOT" "$ROOT"
mount -t tmpfs -o uid=${USER},gid=${USER},mode=0700 tmpfs "$ROOT/var/lib/holdpoint"
mount -t tmpfs -o mode=0755 tmpfs "$ROOT/etc/holdpoint"
cp "$BUNDLE" "$ROOT/etc/holdpoint/bundle.tar.gz"
mount -t proc proc "$ROOT/proc"
mount -o remount,ro,bind "$ROOT"
exec chroot --userspec=${USER}:${USER} --groups=${USER} "$ROOT" /usr/bin/holdpoint serve
`;

let child: ChildProcess | undefined;
afterAll(() => void child?.kill("SIGKILL"));

describe.runIf(canDropRoot)("the image's root filesystem", () => {
  test("starts read-only as 65532, decides, and ends with 0 on SIGTERM", async () => {
    const running = spawn("unshare", ["-m", "sh", "-c", ENTER], {
      env: {
        PATH: process.env.PATH,
        ROOT: root,
        BUNDLE: examplesBundle(),
        NODE_ENV: "production",
        HOLDPOINT_LISTEN: "127.0.0.1:0",
        HOLDPOINT_ADMIN_LISTEN: "127.0.0.1:0",
        HOLDPOINT_BUNDLE: "/etc/holdpoint/bundle.tar.gz",
        HOLDPOINT_DATA_DIR: "/var/lib/holdpoint",
      },
      stdio: ["ignore", "ignore", "pipe"],
    });
    child = running;
    const output: string[] = [];
    createInterface({ input: running.stderr }).on("line", (line) => output.push(line));
    const closed = once(running, "close");
    const said = (text: string) =>
      output
        .filter((line) => line.startsWith("{"))
        .map((line) => (JSON.parse(line) as LogLine).msg)
        .find((msg) => msg.startsWith(text))
        ?.slice(text.length);
    await until(() => {
      if (running.exitCode !== null) throw new Error(`It ended instead of starting:\n${output.join("\n")}`);
      return said("Holdpoint is up") !== undefined;
    }, "Holdpoint is up");

    const status = readFileSync(`/proc/${running.pid}/status`, "utf8");
    expect(status).toMatch(/^Uid:\t65532\t65532\t65532\t65532$/m);
    expect(status).toMatch(/^Gid:\t65532\t65532\t65532\t65532$/m);
    expect(status).toMatch(/^CapEff:\t0+$/m);
    const mounts = readFileSync(`/proc/${running.pid}/mountinfo`, "utf8").split("\n");
    expect(mounts.filter((line) => line.split(" ")[4] === "/").map((line) => line.split(" ")[5])).toEqual([
      expect.stringMatching(/^ro\b/),
    ]);

    const agent = new Agent();
    const ready = await exchange(agent, `http://${said("Admin on ")}`, { path: "/readyz" });
    expect(ready).toMatchObject({ status: 200, body: { status: "ok" } });
    const decided = await exchange(agent, `http://${said("Decisions on ")}`, {
      path: "/v1/decisions",
      body: refund(50),
    });
    expect(decided).toMatchObject({ status: 200, body: { outcome: "allow" } });
    expect(decided.body.permit).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    agent.destroy();

    running.kill("SIGTERM");
    expect(await closed).toEqual([0, null]);
  });
});
