/** Who may import whom: the table in ARCHITECTURE.md, held against the imports. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "./support/tools.ts";

const src = join(projectRoot, "src");

/** Folder of src → folders it may import, itself aside. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  gate: ["core"],
  policy: ["core"],
  store: ["core"],
  ledger: ["core"],
  signing: ["core"],
  telemetry: ["core"],
  executor: ["core"],
  config: ["core"],
  http: ["core", "gate"],
  compat: ["core", "gate", "http"],
  cli: ["core", "gate", "policy", "store", "ledger", "signing", "telemetry", "executor", "config", "http", "compat"],
  demo: ["core", "ledger"],
  "main.ts": ["cli"],
};

/** Package or built-in → the only folders that may touch it. */
const ONLY_IN: Readonly<Record<string, readonly string[]>> = {
  ioredis: ["store"],
  lmdb: ["store", "ledger"],
  jose: ["signing"],
  express: ["http", "compat"],
  "prom-client": ["telemetry"],
  pino: ["cli"],
  yaml: ["config", "policy"],
  ajv: ["gate"],
  "node:http": ["http", "compat", "cli", "executor", "demo"],
};

const IMPORT = /^\s*(?:import|export)\b[^"';]*?from\s+"([^"]+)"|^\s*import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm;

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));

const folderOf = (path: string) => relative(src, path).split("/")[0]!;

function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), "utf8");
  return [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]!);
}

test("every folder of src is in the table", () => {
  expect([...new Set(files.map((file) => file.split("/")[0]!))].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
});

test.each(files)("%s imports only what its layer may", (file) => {
  const folder = file.split("/")[0]!;
  for (const name of importsOf(file)) {
    if (name.startsWith(".")) {
      const target = folderOf(resolve(dirname(join(src, file)), name));
      if (target !== folder) expect(MAY_IMPORT[folder], `${file} imports ${name}`).toContain(target);
    } else {
      const owners =
        ONLY_IN[
          name
            .split("/")
            .slice(0, name.startsWith("@") ? 2 : 1)
            .join("/")
        ] ?? ONLY_IN[name];
      if (owners !== undefined) expect(owners, `${file} imports ${name}`).toContain(folder);
    }
  }
});

test("core has no clock, no randomness, no I/O and no await", () => {
  for (const file of files.filter((name) => name.startsWith("core/"))) {
    const text = readFileSync(join(src, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    expect(text, file).not.toMatch(
      /Date\.now|new Date\(\)|Math\.random|randomBytes|randomUUID|\bawait\b|node:(fs|net|http|child_process)|process\.env/,
    );
  }
});

test("only the command line reads the environment", () => {
  for (const file of files.filter((name) => name !== "main.ts" && !name.startsWith("demo/"))) {
    expect(readFileSync(join(src, file), "utf8"), file).not.toContain("process.env");
  }
});
