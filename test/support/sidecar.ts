/** A whole sidecar in this process, on free ports and a directory of its own, spoken to over real HTTP. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request as httpRequest, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { listen } from "../../src/cli/listen.ts";
import { openSidecar, type Sidecar } from "../../src/cli/open-sidecar.ts";
import { type Config, loadConfig } from "../../src/config/load-config.ts";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";

// biome-ignore lint/suspicious/noExplicitAny: answers are checked by the tests, member by member
export type Body = any;

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
  readonly body: Body;
}

export interface Send {
  readonly method?: string;
  readonly path: string;
  /** A value is sent as JSON; a string or bytes as they are. */
  readonly body?: unknown;
  readonly key?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly port?: "decision" | "admin";
}

export interface TestSidecar {
  readonly sidecar: Sidecar;
  readonly config: Config;
  readonly decisionUrl: string;
  readonly adminUrl: string;
  send(request: Send): Promise<Answer>;
  /** POST /v1/decisions on the decision port. */
  decide(proposal: unknown, key?: string): Promise<Answer>;
  /** Grant, deny or cancel as the reviewer with this key. */
  review(approvalId: string, verdict: string, body?: unknown, key?: string): Promise<Answer>;
  /** Every entry of the ledger, parsed. */
  entries(): Body[];
  /** Stops, checks that the ledger verifies, and removes the directory. */
  close(): Promise<void>;
}

/** Keys of the reviewers that every test sidecar knows; the caller keys are for sidecars started with auth: api_key. */
export const KEYS = {
  olivia: "test-key-olivia",
  pierre: "test-key-pierre",
  intern: "test-key-intern",
  bot: "test-key-bot",
  other: "test-key-other-tenant",
  otherReviewer: "test-key-other-reviewer",
} as const;

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

export const API_KEYS = [
  { id: "olivia", sha256: sha256(KEYS.olivia), scopes: ["review", "operate"], type: "human", roles: ["ops_operator"] },
  { id: "pierre", sha256: sha256(KEYS.pierre), scopes: ["review"], type: "human", roles: ["ops_operator"] },
  { id: "intern", sha256: sha256(KEYS.intern), scopes: ["review"], type: "human", roles: ["trainee"] },
  {
    id: "bot",
    sha256: sha256(KEYS.bot),
    scopes: ["decide"],
    actors: ["support-agent"],
    roles: ["operator"],
    on_behalf_of: ["alice"],
  },
  {
    id: "other-bot",
    sha256: sha256(KEYS.other),
    tenant: "other",
    scopes: ["decide"],
    actors: "*",
    roles: "*",
    on_behalf_of: "*",
  },
  {
    id: "other-reviewer",
    sha256: sha256(KEYS.otherReviewer),
    tenant: "other",
    scopes: ["review", "operate"],
    roles: ["ops_operator"],
  },
];

export async function startSidecar(settings: Record<string, unknown> = {}): Promise<TestSidecar> {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-test-"));
  const environment: Record<string, string> = {
    HOLDPOINT_LISTEN: "127.0.0.1:0",
    HOLDPOINT_ADMIN_LISTEN: "127.0.0.1:0",
    HOLDPOINT_DATA_DIR: directory,
    HOLDPOINT_API_KEYS: JSON.stringify(API_KEYS),
  };
  for (const [key, value] of Object.entries(settings)) {
    const variable = `HOLDPOINT_${key.toUpperCase().replaceAll(".", "_")}`;
    environment[variable] = typeof value === "string" ? value : JSON.stringify(value);
  }
  const config = loadConfig(undefined, environment);
  const sidecar = await openSidecar(config, pino({ level: "silent" }), { environment });
  const servers = [sidecar.decisionServer(), sidecar.adminServer()];
  const [decisionUrl, adminUrl] = await Promise.all(
    servers.map(async (server) => `http://${await listen(server, "127.0.0.1:0", "listen")}`),
  );
  const agent = new Agent({ keepAlive: true });
  const send = (request: Send) => exchange(agent, request.port === "admin" ? adminUrl! : decisionUrl!, request);
  return {
    sidecar,
    config,
    decisionUrl: decisionUrl!,
    adminUrl: adminUrl!,
    send,
    decide: (proposal, key) => send({ path: "/v1/decisions", body: proposal, ...(key === undefined ? {} : { key }) }),
    review: (approvalId, verdict, body = {}, key = KEYS.olivia) =>
      send({ port: "admin", path: `/v1/approvals/${approvalId}/${verdict}`, body, key }),
    entries: () => sidecar.ledger.entries(0, 100_000).map(({ text }) => JSON.parse(text)),
    close: async () => {
      agent.destroy();
      await Promise.all(servers.map(stop));
      await sidecar.close();
      if (config.data_dir !== directory) return;
      const { fault } = verifyLedger({ directory: join(directory, "ledger") });
      rmSync(directory, { recursive: true, force: true });
      if (fault !== undefined) throw new Error(`The ledger does not verify: ${JSON.stringify(fault)}`);
    },
  };
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

export function exchange(agent: Agent, base: string, request: Send): Promise<Answer> {
  const { path, body, key, headers = {} } = request;
  const method = request.method ?? (body === undefined ? "GET" : "POST");
  const isRaw = typeof body === "string" || body instanceof Uint8Array;
  const bytes = body === undefined ? undefined : isRaw ? (body as string) : JSON.stringify(body);
  const all: Record<string, string | string[]> = {
    ...(bytes === undefined ? {} : { "content-type": "application/json" }),
    ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    ...headers,
  };
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(base + path, { method, agent, headers: all }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        const isJson = /json/.test(String(response.headers["content-type"]));
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          text,
          body: isJson ? JSON.parse(text) : text,
        });
      });
    });
    outgoing.on("error", reject);
    outgoing.end(bytes);
  });
}
