/** A sidecar of its own for the demo: a child process on free ports, with a data directory that is thrown away. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../main.js", import.meta.url));
const START_TIMEOUT_MS = 15_000;

export interface DemoSidecar {
  readonly decisions: string;
  readonly admin: string;
  readonly agentKey: string;
  readonly reviewerKey: string;
  /** Of whoever tells events. */
  readonly producerKey: string;
  stop(): Promise<void>;
}

export async function startSidecar(of: {
  readonly mode: "enforce" | "observe";
  readonly bundle: string;
  readonly dataDir: string;
  /** Where refunds are executed. */
  readonly refundsUrl?: string;
}): Promise<DemoSidecar> {
  const agentKey = randomBytes(24).toString("base64url");
  const reviewerKey = randomBytes(24).toString("base64url");
  const producerKey = randomBytes(24).toString("base64url");
  const executors = of.refundsUrl === undefined ? {} : { "refund.issue_refund": { url: of.refundsUrl } };
  const child = spawn(process.execPath, [MAIN, "serve"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      PATH: process.env.PATH,
      HOLDPOINT_LISTEN: "127.0.0.1:0",
      HOLDPOINT_ADMIN_LISTEN: "127.0.0.1:0",
      HOLDPOINT_MODE: of.mode,
      HOLDPOINT_BUNDLE: of.bundle,
      HOLDPOINT_DATA_DIR: of.dataDir,
      HOLDPOINT_AUTH: "api_key",
      HOLDPOINT_EXECUTORS: JSON.stringify(executors),
      HOLDPOINT_API_KEYS: JSON.stringify([
        {
          id: "support-bot",
          sha256: sha256(agentKey),
          scopes: ["decide"],
          actors: ["support-agent", "ops-agent"],
          roles: ["operator"],
          on_behalf_of: ["alice"],
        },
        {
          id: "olivia",
          sha256: sha256(reviewerKey),
          scopes: ["review", "operate"],
          type: "human",
          roles: ["ops_operator"],
        },
        { id: "stripe", sha256: sha256(producerKey), scopes: ["ingest"] },
      ]),
    },
  });
  const ports = await readPorts(child);
  return {
    ...ports,
    agentKey,
    reviewerKey,
    producerKey,
    stop: async () => {
      if (child.exitCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    },
  };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The log says where the two listeners are once they are bound. */
function readPorts(child: ChildProcess): Promise<{ decisions: string; admin: string }> {
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`The sidecar did not start: ${why}\n${lines.join("\n")}`));
    const timer = setTimeout(() => fail(`nothing after ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
    child.once("exit", (code) => fail(`exit code ${code}`));
    const found: { decisions?: string; admin?: string } = {};
    createInterface({ input: child.stderr! }).on("line", (line) => {
      lines.push(line);
      const match = /"msg":"(Decisions|Admin) on ([^"]+)"/.exec(line);
      if (match !== null) found[match[1] === "Admin" ? "admin" : "decisions"] = `http://${match[2]}`;
      if (line.includes('"msg":"Holdpoint is up"')) {
        clearTimeout(timer);
        resolve(found as { decisions: string; admin: string });
      }
    });
  });
}
