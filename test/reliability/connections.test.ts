/** Clients that are slow, rude or many; and the end of a process that serves them. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { listen } from "../../src/cli/listen.ts";
import { examplesBundle } from "../support/bundles.ts";
import { killProcesses, type SidecarProcess, startProcess } from "../support/process.ts";
import { freshId, refund, writeFile } from "../support/proposals.ts";
import { until } from "../support/redis.ts";
import { exchange, KEYS, startSidecar } from "../support/sidecar.ts";

afterEach(killProcesses);

interface Line {
  readonly socket: Socket;
  /** Everything that came back so far. */
  received(): string;
  readonly closed: Promise<unknown>;
}

async function open(url: string): Promise<Line> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let received = "";
  socket.on("data", (data: Buffer) => {
    received += data.toString();
  });
  socket.on("error", () => {});
  const closed = once(socket, "close").catch(() => undefined);
  await once(socket, "connect");
  return { socket, received: () => received, closed };
}

const decisionRequest = (body: string) =>
  `POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

const sizeOf = async (sidecar: SidecarProcess): Promise<number> =>
  (await sidecar.send({ port: "admin", path: "/v1/ledger/entries?limit=1", key: KEYS.olivia })).body.size;

const CONNECTIONS = 10_000;

/** Node raises its own limit to the hard one when it starts. */
function openFilesMax(): number {
  const line = /^Max open files\s+\d+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
  return line === null || line[1] === "unlimited" ? Number.POSITIVE_INFINITY : Number(line[1]);
}

describe("connections", () => {
  test("decide answers a thousand connections at once, each its own proposal", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle() });
    const lines = await Promise.all(Array.from({ length: 1_000 }, () => open(sidecar.decisionUrl)));
    const ids = lines.map(() => freshId("many"));
    for (const [index, { socket }] of lines.entries()) {
      socket.write(decisionRequest(JSON.stringify(writeFile("/tmp/a", { id: ids[index] }))));
    }
    await until(() => lines.every(({ received }) => received().endsWith("}")), "all are answered");
    for (const [index, { received }] of lines.entries()) {
      expect(received()).toMatch(/^HTTP\/1.1 200 OK\r\n/);
      expect(received()).toContain(`"proposal_id":"${ids[index]}"`);
    }
    for (const { socket } of lines) socket.destroy();
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  });

  // Each end of a connection is a file of its process.
  test.skipIf(openFilesMax() < CONNECTIONS + 1_000)(
    `decide is answered beside ${CONNECTIONS} open connections, and they are all still good`,
    async () => {
      const sidecar = await startProcess({ bundle: examplesBundle(), connections_max: CONNECTIONS + 10 });
      const lines: Line[] = [];
      while (lines.length < CONNECTIONS)
        lines.push(...(await Promise.all(Array.from({ length: 500 }, () => open(sidecar.decisionUrl)))));
      expect(await sidecar.decide(writeFile("/tmp/a"))).toMatchObject({ status: 200, body: { outcome: "allow" } });
      expect((await sidecar.send({ port: "admin", path: "/readyz" })).status).toBe(200);
      const some = lines.filter((_, index) => index % 100 === 0);
      for (const { socket } of some) socket.write(decisionRequest(JSON.stringify(writeFile("/tmp/a"))));
      await until(() => some.every(({ received }) => received().endsWith("}")), "the old connections are answered");
      expect(some.every(({ received }) => received().startsWith("HTTP/1.1 200 OK\r\n"))).toBe(true);
      for (const { socket } of lines) socket.destroy();
      expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
    },
  );

  test("half requests, half-open connections and aborted bodies keep nobody else waiting and leave no record", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle(), drain_seconds: 1 });
    const proposal = JSON.stringify(writeFile("/tmp/a"));
    const whole = decisionRequest(proposal);
    await until(async () => (await sizeOf(sidecar)) >= 2, "its start and its policy are recorded");
    const before = await sizeOf(sidecar);
    const cuts = [5, 60, whole.length - proposal.length, whole.length - 1];
    const lines = await Promise.all(Array.from({ length: 400 }, () => open(sidecar.decisionUrl)));
    for (const [index, { socket }] of lines.entries()) {
      socket.write(whole.slice(0, cuts[index % cuts.length]));
      if (index % 4 === 1) socket.end();
      if (index % 4 === 2) socket.destroy();
      if (index % 4 === 3) socket.resetAndDestroy();
    }
    for (let index = 0; index < 50; index += 1) {
      expect(await sidecar.decide(writeFile("/tmp/b"))).toMatchObject({ status: 200, body: { outcome: "allow" } });
    }
    expect(await sizeOf(sidecar)).toBe(before + 50);
    for (const { received } of lines) expect(received()).not.toContain("HTTP/1.1 2");
    // A request that was whole when its client went away is decided all the same, and recorded.
    const gone = await open(sidecar.decisionUrl);
    gone.socket.end(whole);
    await until(async () => (await sizeOf(sidecar)) === before + 51, "it is recorded");
    expect(sidecar.lines.filter(({ level }) => level >= 50)).toEqual([]);
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  });

  test("a server cuts off who takes too long over headers or body", async () => {
    const holdpoint = await startSidecar({ bundle: examplesBundle() });
    const server = holdpoint.sidecar.decisionServer();
    const limits = { headers: server.headersTimeout, request: server.requestTimeout };
    expect(limits).toEqual({ headers: 10_000, request: 30_000 });
    try {
      server.headersTimeout = 100;
      server.requestTimeout = 200;
      const url = `http://${await listen(server, "127.0.0.1:0", "listen")}`;
      const whole = decisionRequest(JSON.stringify(writeFile("/tmp/a")));
      const lines = await Promise.all([open(url), open(url)]);
      lines[0]!.socket.write(whole.slice(0, 40));
      lines[1]!.socket.write(whole.slice(0, -5));
      await Promise.all(lines.map(({ closed }) => closed));
      expect(lines[0]!.received()).toMatch(/^HTTP\/1.1 408 /);
      expect(lines[1]!.received()).not.toContain("HTTP/1.1 200");
    } finally {
      server.closeAllConnections();
      server.close();
      await holdpoint.close();
    }
  });

  test("half of an admin port that others reach is kept from the programs on this machine", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle(), connections_max: 10, admin_listen: "0.0.0.0:0" });
    const url = sidecar.adminUrl.replace("0.0.0.0", "127.0.0.1");
    const lines = await Promise.all(Array.from({ length: 5 }, () => open(url)));
    for (const { socket } of lines) socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await until(() => lines.every(({ received }) => received().includes("200 OK")), "five are served");
    const sixth = await open(url);
    await sixth.closed;
    expect(sixth.received()).toBe("");
    lines[0]!.socket.destroy();
    await until(async () => {
      const next = await open(url);
      next.socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
      await next.closed;
      return next.received().includes("200 OK");
    }, "the place is free again");
  });

  test("connections past connections_max are closed, and the others are served", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle(), connections_max: 5 });
    const lines = await Promise.all(Array.from({ length: 5 }, () => open(sidecar.decisionUrl)));
    for (const { socket } of lines) socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await until(() => lines.every(({ received }) => received().includes("200 OK")), "five are served");
    const sixth = await open(sidecar.decisionUrl);
    await sixth.closed;
    expect(sixth.received()).toBe("");
    lines[0]!.socket.destroy();
    await until(async () => {
      const next = await open(sidecar.decisionUrl);
      next.socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
      await next.closed;
      return next.received().includes("200 OK");
    }, "the place is free again");
  });
});

describe.each([1, 2])("shutdown with %i worker(s)", (workers) => {
  const isDraining = (sidecar: SidecarProcess) =>
    until(() => {
      const draining = sidecar.lines.filter(({ msg }) => msg.startsWith("Draining"));
      return draining.length === (workers === 1 ? 1 : 1 + workers);
    }, "it drains");

  test("SIGTERM answers what is in flight, closes what is idle, and ends with 0", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle(), workers, drain_seconds: 600 });
    const whole = decisionRequest(JSON.stringify(writeFile("/tmp/a")));
    const idle = await open(sidecar.decisionUrl);
    idle.socket.write(whole);
    await until(() => idle.received().endsWith("}"), "the idle connection was used");
    const inFlight = await Promise.all(Array.from({ length: 4 }, () => open(sidecar.decisionUrl)));
    for (const { socket } of inFlight) socket.write(whole.slice(0, -10));
    // Answered behind them on the same loop: so theirs have arrived, too.
    for (let index = 0; index < 8; index += 1) await sidecar.decide(writeFile("/tmp/b"));
    sidecar.child.kill("SIGTERM");
    await isDraining(sidecar);
    await idle.closed;
    for (const { socket } of inFlight) socket.write(whole.slice(-10));
    await Promise.all(inFlight.map(({ closed }) => closed));
    for (const { received } of inFlight) {
      expect(received()).toMatch(/^HTTP\/1.1 200 OK\r\n/);
      expect(received()).toContain('"outcome":"allow"');
    }
    expect(await sidecar.ended).toEqual({ code: 0, signal: null });
    expect(sidecar.lines.at(-1)?.msg).toBe("Stopped");
  });

  test("a draining sidecar answers probes and a last scrape on the admin port until its decisions are done", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle(), workers, drain_seconds: 600 });
    const whole = decisionRequest(JSON.stringify(writeFile("/tmp/a")));
    const inFlight = await open(sidecar.decisionUrl);
    inFlight.socket.write(whole.slice(0, -10));
    for (let index = 0; index < 8; index += 1) await sidecar.decide(writeFile("/tmp/b"));
    sidecar.child.kill("SIGTERM");
    await isDraining(sidecar);
    const agent = new Agent({ keepAlive: false });
    const fresh = (path: string) => exchange(agent, sidecar.adminUrl, { path });
    expect(await fresh("/readyz")).toMatchObject({ status: 503, body: { checks: { shutdown: "draining" } } });
    const scrape = await fresh("/metrics");
    expect(scrape.status).toBe(200);
    expect(scrape.text).toContain("holdpoint_decisions_total");
    inFlight.socket.write(whole.slice(-10));
    await inFlight.closed;
    expect(inFlight.received()).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(await sidecar.ended).toEqual({ code: 0, signal: null });
  });

  test("SIGTERM answers a long-poll with what is", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle(), workers, drain_seconds: 600 });
    const { body } = await sidecar.decide(refund(900));
    const polls = [
      sidecar.send({ path: `/v1/approvals/${body.approval.id}?wait=60s` }),
      sidecar.send({ port: "admin", path: `/v1/approvals/${body.approval.id}?wait=60s`, key: KEYS.olivia }),
    ];
    for (let index = 0; index < 4; index += 1) await sidecar.decide(writeFile("/tmp/a"));
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
    for (const { status, body: seen } of await Promise.all(polls)) {
      expect(status).toBe(200);
      expect(seen.status).toBe("pending");
    }
  });

  test("a signal to the whole group drains once, and a second one ends at once", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle(), workers, drain_seconds: 600 });
    const whole = decisionRequest(JSON.stringify(writeFile("/tmp/a")));
    const slow = await open(sidecar.decisionUrl);
    slow.socket.write(whole.slice(0, -10));
    for (let index = 0; index < 4; index += 1) await sidecar.decide(writeFile("/tmp/b"));
    process.kill(-sidecar.child.pid!, "SIGINT");
    await isDraining(sidecar);
    slow.socket.write(whole.slice(-10));
    await slow.closed;
    expect(slow.received()).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(await sidecar.ended).toEqual({ code: 0, signal: null });

    const other = await startProcess({ bundle: examplesBundle(), workers, drain_seconds: 600 });
    const never = await open(other.decisionUrl);
    never.socket.write(whole.slice(0, -10));
    for (let index = 0; index < 4; index += 1) await other.decide(writeFile("/tmp/b"));
    other.child.kill("SIGTERM");
    await isDraining(other);
    other.child.kill("SIGTERM");
    expect(await other.ended).toEqual({ code: null, signal: "SIGKILL" });
    await never.closed;
    expect(never.received()).toBe("");
  });
});
