/** Other processes on one directory of the embedded store, built once per test file. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "vite";
import { expect } from "vitest";
import { projectRoot } from "../support/tools.ts";

export interface Children {
  /** Resolves when the child has opened the store in this data directory. */
  start(directory: string): Promise<ChildProcess>;
  remove(): void;
}

export async function buildChildren(): Promise<Children> {
  // Inside node_modules, so that the built child finds lmdb.
  const built = join(projectRoot, "node_modules", `.holdpoint-test-${process.pid}-${process.env.VITEST_POOL_ID ?? ""}`);
  mkdirSync(built, { recursive: true });
  await build({
    root: projectRoot,
    configFile: false,
    logLevel: "error",
    build: {
      ssr: join(projectRoot, "test/store/embedded-child.ts"),
      outDir: built,
      target: "es2022",
      rollupOptions: { output: { entryFileNames: "embedded-child.mjs" } },
    },
  });
  // The scripts are read at import, also by a process that has no Redis: they lie beside the bundle.
  const scripts = join(projectRoot, "src/store/redis/scripts");
  cpSync(scripts, built, { recursive: true, filter: (path) => path === scripts || path.endsWith(".lua") });
  return {
    start: async (directory) => {
      const child = fork(join(built, "embedded-child.mjs"), [directory], { stdio: "inherit" });
      expect((await once(child, "message"))[0]).toBe("ready");
      return child;
    },
    remove: () => rmSync(built, { recursive: true, force: true }),
  };
}
