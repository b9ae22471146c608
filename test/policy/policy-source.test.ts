/** Bundles from disk, good and hostile, and what reloading keeps. */
import { execFileSync } from "node:child_process";
import { createWriteStream, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack } from "tar-stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError } from "../../src/core/errors.ts";
import { loadPolicy } from "../../src/policy/load-policy.ts";
import { openPolicySource } from "../../src/policy/policy-source.ts";
import { readBundle } from "../../src/policy/read-bundle.ts";
import { buildWasm } from "./support/opa.ts";

const root = mkdtempSync(join(tmpdir(), "holdpoint-bundles-"));
const entrypoint = "holdpoint/decision";
let wasm: Buffer;
let other: Buffer;

beforeAll(() => {
  wasm = buildWasm({ "p.rego": 'package holdpoint\ndecision := {"v": 1, "limit": data.limits.max}' }, [
    entrypoint,
  ]).wasm;
  other = buildWasm({ "p.rego": 'package holdpoint\ndecision := {"v": 2, "limit": data.limits.max}' }, [
    entrypoint,
  ]).wasm;
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

let made = 0;
function directory(files: Readonly<Record<string, string | Buffer>>): string {
  const path = join(root, `d${made++}`);
  mkdirSync(path);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return path;
}

async function archive(
  entries: readonly { name: string; content?: string | Buffer; type?: "symlink"; linkname?: string }[],
): Promise<string> {
  const path = join(root, `a${made++}.tar.gz`);
  const tar = pack();
  for (const { content = "", ...header } of entries) tar.entry(header, content);
  tar.finalize();
  await pipeline(tar, createGzip(), createWriteStream(path));
  return path;
}

async function faultOf(load: Promise<unknown>): Promise<ConfigError> {
  const thrown = await load.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof ConfigError)) throw new Error(`expected a ConfigError, got ${String(thrown)}`);
  return thrown;
}

const MANIFEST = '{"revision":"r7","roots":[""],"wasm":[{"entrypoint":"holdpoint/decision","module":"/policy.wasm"}]}';

test("loadPolicy() reads a directory, an archive and a bare module to one and the same policy", async () => {
  const path = directory({ "policy.wasm": wasm, "limits/data.json": '{"max": 5}', ".manifest": MANIFEST });
  const packed = join(root, "b.tar.gz");
  execFileSync("tar", ["-czf", packed, "-C", path, "."]);
  const bare = directory({ "any.wasm": wasm, "data.json": '{"limits":{"max":5.0}}' });
  const policies = await Promise.all(
    [path, packed, join(bare, "any.wasm")].map((one) => loadPolicy({ path: one, entrypoint })),
  );
  expect(new Set(policies.map((policy) => policy.digest)).size).toBe(1);
  expect(policies.map((policy) => policy.revision)).toEqual(["r7", "r7", ""]);
  for (const policy of policies) expect(policy.evaluate("{}")).toEqual({ kind: "result", text: '{"limit":5,"v":1}' });
});

test("readBundle() merges data files by their directories and refuses two values for one key", async () => {
  const files = {
    "policy.wasm": wasm,
    "data.json": '{"a":{"x":1}}',
    "a/data.json": '{"y":2}',
    "a/b/data.yaml": "z: yes\nt: 1\n",
  };
  expect((await readBundle(directory(files))).dataText).toBe('{"a":{"b":{"t":1,"z":true},"x":1,"y":2}}');
  const fault = await faultOf(readBundle(directory({ ...files, "a/data.json": '{"x":2}' })));
  expect(fault.faults).toEqual(
    ['data.json: "x" is also set by another file'].map(() => expect.stringContaining("is also set by another file")),
  );
});

test("readBundle() lists every fault of a bundle at once", async () => {
  const fault = await faultOf(
    readBundle(directory({ "data.json": '{"a":1,"a":2}', "b/data.json": "[1", ".manifest": '{"revision":1}' })),
  );
  expect(fault.code).toBe("bundle_invalid");
  expect(fault.faults.length).toBe(4);
});

test("readBundle() refuses data outside the manifest's roots", async () => {
  const manifest = '{"roots":["limits"]}';
  const fault = await faultOf(
    readBundle(directory({ "policy.wasm": wasm, "data.json": '{"limits":{},"more":1}', ".manifest": manifest })),
  );
  expect(fault.faults).toEqual(["data at more is outside the manifest's roots"]);
});

test("readBundle() refuses archives that leave the bundle, link, repeat a file, or unpack to too much", async () => {
  const cases = [
    await archive([{ name: "../policy.wasm", content: "x" }]),
    await archive([{ name: "a/../../policy.wasm", content: "x" }]),
    await archive([{ name: "policy.wasm", type: "symlink", linkname: "/etc/passwd" }]),
    await archive([
      { name: "policy.wasm", content: wasm },
      { name: "./policy.wasm", content: wasm },
    ]),
    directory({ "policy.wasm": "not wasm at all" }),
    join(root, "absent"),
    "https://example.com/bundle.tar.gz",
  ];
  for (const path of cases) expect((await faultOf(loadPolicy({ path, entrypoint }))).code).toBe("bundle_invalid");
  const big = await archive([{ name: "policy.wasm", content: Buffer.alloc(2_000_000) }]);
  expect((await faultOf(readBundle(big, { fileBytesMax: 1_000_000 }))).message).toMatch(/over 1000000 bytes/);
  expect((await faultOf(readBundle(big, { totalBytesMax: 1_000_000 }))).message).toMatch(/together/);
  const many = await archive(Array.from({ length: 11 }, (_, i) => ({ name: `f${i}` })));
  expect((await faultOf(readBundle(many, { entriesMax: 10 }))).message).toMatch(/more than 10 files/);
});

test("readBundle() refuses a link out of a directory", async () => {
  const path = directory({ "data.json": "{}" });
  symlinkSync("/etc/hostname", join(path, "policy.wasm"));
  expect((await faultOf(readBundle(path))).message).toMatch(/leads out of the bundle/);
});

test("loadPolicy() names the entrypoints there are, and each refused builtin", async () => {
  const path = directory({ "policy.wasm": wasm });
  expect((await faultOf(loadPolicy({ path, entrypoint: "x/y" }))).message).toMatch(/has holdpoint\/decision/);
  const wild = buildWasm({ "p.rego": "package holdpoint\ndecision := time.now_ns()" }, [entrypoint], null).wasm;
  const fault = await faultOf(loadPolicy({ path: directory({ "policy.wasm": wild }), entrypoint }));
  expect([fault.code, fault.faults]).toEqual([
    "bundle_builtin_refused",
    ["policy.wasm calls time.now_ns, which is refused"],
  ]);
});

test("reload() swaps a whole policy in, keeps the last good one, and says what was wrong", async () => {
  const path = directory({ "policy.wasm": wasm, "data.json": '{"limits":{"max":1}}' });
  const seen: string[] = [];
  const source = await openPolicySource({
    path,
    entrypoint,
    watch: false,
    onLoaded: () => seen.push("loaded"),
    onFailed: (error) => seen.push(error.code),
  });
  const first = source.status().active!;
  writeFileSync(join(path, "data.json"), "{");
  await source.reload();
  expect(source.status().active).toBe(first);
  expect(source.status().lastError).toMatchObject({ code: "bundle_invalid" });
  writeFileSync(join(path, "data.json"), '{"limits":{"max":2}}');
  writeFileSync(join(path, "policy.wasm"), other);
  await Promise.all([source.reload(), source.reload(), source.reload()]);
  expect(source.status().lastError).toBeUndefined();
  expect(source.status().active!.evaluate("{}")).toEqual({ kind: "result", text: '{"limit":2,"v":2}' });
  expect(first.evaluate("{}")).toEqual({ kind: "result", text: '{"limit":1,"v":1}' });
  expect(seen).toEqual(["loaded", "bundle_invalid", "loaded"]);
  await source.close();
});

test("openPolicySource() opens without a policy and takes one that appears", async () => {
  const path = join(root, "later");
  const source = await openPolicySource({ path, entrypoint, watch: false });
  expect(source.status()).toMatchObject({ active: undefined, lastError: { code: "bundle_invalid" } });
  renameSync(directory({ "policy.wasm": wasm }), path);
  await source.reload();
  expect(source.status().active?.entrypoint).toBe(entrypoint);
  await source.close();
});

test("openPolicySource() follows a mounted directory whose ..data link is swapped", async () => {
  const mount = directory({
    "v1/policy.wasm": wasm,
    "v1/data.json": '{"limits":{"max":1}}',
    "v2/policy.wasm": other,
    "v2/data.json": '{"limits":{"max":2}}',
  });
  symlinkSync("v1", join(mount, "..data"));
  symlinkSync("..data/policy.wasm", join(mount, "policy.wasm"));
  symlinkSync("..data/data.json", join(mount, "data.json"));
  let changed = (): void => undefined;
  const change = new Promise<void>((resolve) => {
    changed = resolve;
  });
  let loads = 0;
  const source = await openPolicySource({
    path: mount,
    entrypoint,
    watch: true,
    onLoaded: () => ++loads === 2 && changed(),
  });
  expect(source.status().active!.evaluate("{}")).toEqual({ kind: "result", text: '{"limit":1,"v":1}' });
  symlinkSync("v2", join(mount, "..data_tmp"));
  renameSync(join(mount, "..data_tmp"), join(mount, "..data"));
  await change;
  expect(source.status().active!.evaluate("{}")).toEqual({ kind: "result", text: '{"limit":2,"v":2}' });
  await source.close();
});
