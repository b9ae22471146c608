import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";
import { checkDurability } from "../../src/store/redis/check-durability.ts";
import { compileBundle, examplesBundle } from "../support/bundles.ts";
import {
  type Body,
  killProcesses,
  metricOf,
  type SidecarProcess,
  startProcess,
  temporaryDirectory,
} from "../support/process.ts";
import { freshId, refund, useOf, writeFile } from "../support/proposals.ts";
import { freePorts, type RedisServer, startRedis, until } from "../support/redis.ts";
import { KEYS, startSidecar } from "../support/sidecar.ts";

afterEach(killProcesses);

const readiness = (sidecar: SidecarProcess) => sidecar.send({ path: "/readyz" });
const isReady = (sidecar: SidecarProcess) => until(async () => (await readiness(sidecar)).status === 200, "ready");
const isNotReady = (sidecar: SidecarProcess) =>
  until(async () => (await readiness(sidecar)).status === 503, "not ready");
const consume = (sidecar: Pick<SidecarProcess, "send">, use: Body) =>
  sidecar.send({ path: "/v1/permits/consume", body: use });

describe("Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.dispose());

  const outages = [
    ["stopped", () => redis.stop(), () => redis.start()],
    ["killed", () => redis.kill(), () => redis.start()],
    ["silent", async () => redis.freeze(), async () => redis.thaw()],
  ] as const;

  describe("enforce", () => {
    let sidecar: SidecarProcess;
    beforeEach(async () => {
      const settings = { bundle: examplesBundle(), store: redis.url, store_timeout_ms: 300, freeze_age_max_ms: 60_000 };
      sidecar = await startProcess(settings);
    });
    afterEach(() => sidecar.stop());

    test.each(outages)("nothing is allowed that may have been frozen while Redis is %s", async (_, leave, back) => {
      const settings = { bundle: examplesBundle(), store: redis.url, store_timeout_ms: 300, freeze_age_max_ms: 200 };
      const strict = await startProcess(settings);
      await isReady(strict);
      expect((await strict.decide(writeFile("/tmp/a"))).body).toMatchObject({ outcome: "allow" });
      await leave();
      await until(async () => (await strict.decide(writeFile("/tmp/a"))).status === 503, "the list is too old");
      expect((await strict.decide(writeFile("/tmp/a"))).body).toMatchObject({
        code: "store_unavailable",
        outcome: "deny",
      });
      expect(await strict.decide(writeFile("/etc/a"))).toMatchObject({ status: 200, body: { outcome: "deny" } });
      await back();
      await until(async () => (await strict.decide(writeFile("/tmp/a"))).body.outcome === "allow", "it asks again");
      expect(await strict.stop()).toEqual({ code: 0, signal: null });
    });

    test.each(outages)(
      "what needs a %s Redis is refused, plain allows go on while what is frozen is known, and it comes back",
      async (_, leave, back) => {
        const proposal = refund(50);
        const { body: decision } = await sidecar.decide(proposal);
        const { body: escalated } = await sidecar.decide(refund(600));
        const size = async () =>
          (await sidecar.send({ port: "admin", path: "/v1/ledger/entries?limit=1", key: KEYS.olivia })).body.size;
        expect((await sidecar.decide(writeFile("/tmp/a"))).body.outcome).toBe("allow");
        await isReady(sidecar);
        await leave();
        const refusals = await Promise.all([
          sidecar.decide(refund(50)),
          sidecar.decide(refund(700)),
          sidecar.decide(writeFile("/tmp/a", { permit: true })),
          consume(sidecar, useOf(proposal, decision)),
          sidecar.send({ path: "/v1/permits/verify", body: useOf(proposal, decision) }),
          sidecar.send({ path: "/v1/executions", body: { permit_id: decision.permit_id, status: "succeeded" } }),
        ]);
        for (const { status, body, headers } of refusals) {
          expect(status).toBe(503);
          expect(headers["content-type"]).toBe("application/problem+json");
          expect(body).toMatchObject({ code: "store_unavailable", outcome: "deny", mode: "enforce", enforced: true });
        }
        const review = await sidecar.review(escalated.approval.id, "grant");
        expect(review).toMatchObject({ status: 503, body: { code: "store_unavailable" } });
        const before = await size();
        for (let index = 0; index < 5; index += 1) {
          expect(await sidecar.decide(writeFile("/tmp/a"))).toMatchObject({ status: 200, body: { outcome: "allow" } });
          expect(await sidecar.decide(writeFile("/etc/a"))).toMatchObject({ status: 200, body: { outcome: "deny" } });
        }
        expect(await size()).toBe(before + 10);
        await isNotReady(sidecar);
        const { body } = await readiness(sidecar);
        expect(body).toMatchObject({ status: "unavailable", checks: { policy: "ok", ledger: "ok" } });
        expect(body.checks.store).not.toBe("ok");
        expect(await metricOf(sidecar, "holdpoint_store_errors_total")).toBeGreaterThan(0);
        await back();
        await isReady(sidecar);
        expect(await sidecar.decide(refund(50))).toMatchObject({ status: 200, body: { outcome: "allow" } });
        // Whatever the outage did to the permit, it was not used twice, and no answer was a yes that is not in the record.
        const tried = await consume(sidecar, useOf(proposal, decision));
        if (tried.status !== 200) expect(["unknown_permit", "already_consumed"]).toContain(tried.body.code);
        const again = await consume(sidecar, useOf(proposal, decision));
        expect(again.status).not.toBe(200);
      },
    );
  });

  test("an outage is told in two lines: away and why, and back after how long", async () => {
    const [port = 0] = await freePorts(1);
    const server = await startRedis({ port });
    try {
      await server.admin.config("SET", "requirepass", "canary-password");
      const store = server.url.replace("//", "//:canary-password@");
      const sidecar = await startProcess({ bundle: examplesBundle(), store, store_timeout_ms: 300 });
      const about = () => sidecar.lines.filter(({ msg }) => /Store .*(is away|is back)/.test(msg));
      await isReady(sidecar);
      await server.kill();
      await until(async () => {
        await sidecar.decide(refund(50));
        return about().length > 0;
      }, "it says that the store is away");
      for (let count = 0; count < 50; count += 1) expect((await sidecar.decide(refund(50))).status).toBe(503);
      const failed = await metricOf(sidecar, "holdpoint_store_errors_total");
      await server.start();
      await server.admin.config("SET", "requirepass", "canary-password");
      await isReady(sidecar);
      await until(() => about().length > 1, "it says that the store is back");
      expect(about().map(({ msg }) => msg.replace(/\d+ s$/, "N s"))).toEqual([
        `Store redis://127.0.0.1:${port} is away: ECONNREFUSED`,
        "Store is back after N s",
      ]);
      expect(about()[1]!.failed_calls).toBeGreaterThanOrEqual(failed);
      expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
      expect(sidecar.lines.filter((line) => line.err !== undefined)).toEqual([]);
      expect(JSON.stringify(sidecar.lines)).not.toContain("canary");
    } finally {
      await server.dispose();
    }
  });

  test("a Redis that would lose what it acknowledged is warned of, and a library's complaint is a line of the log", async () => {
    const server = await startRedis({ args: ["--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"] });
    try {
      // A password where none is needed: the library writes that to the console.
      const store = server.url.replace("//", "//:needless@");
      const sidecar = await startProcess({ bundle: examplesBundle(), store });
      const warned = () => sidecar.lines.filter(({ msg }) => msg.includes("may lose records")).map(({ msg }) => msg);
      await until(() => warned().length >= 2, "it warns");
      expect(warned()[0]).toMatch(/^Store redis\+unix:\/\S+ may lose records: appendonly is no/);
      expect(warned()[1]).toContain("maxmemory-policy is allkeys-lru");
      expect(sidecar.lines.some(({ msg }) => /password was supplied/.test(msg))).toBe(true);
      expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
    } finally {
      await server.dispose();
    }
  });

  test("one that keeps everything, or does not let itself be asked, is not warned of", async () => {
    const kept = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
    const slow = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "everysec"] });
    try {
      expect(await checkDurability(kept.url, 2_000)).toEqual([]);
      expect(await checkDurability(slow.url, 2_000)).toMatchObject([expect.stringMatching(/^appendfsync is everysec/)]);
      await slow.admin.call("ACL", "SETUSER", "plain", "on", ">p", "+@all", "-config", "-info", "~*");
      expect(await checkDurability(slow.url.replace("//", "//plain:p@"), 2_000)).toEqual([]);
      expect(await checkDurability("redis://127.0.0.1:1", 50)).toBeUndefined();
    } finally {
      await Promise.all([kept.dispose(), slow.dispose()]);
    }
  });

  test.each(outages)("observe answers allow while Redis is %s", async (_, leave, back) => {
    const settings = { bundle: examplesBundle(), store: redis.url, store_timeout_ms: 300, mode: "observe" };
    const sidecar = await startProcess(settings);
    const proposal = refund(50);
    const { body: decision } = await sidecar.decide(proposal);
    await leave();
    // Each of these is answered before Redis is back.
    for (const [amount, observed] of [
      [50, "allow"],
      [600, "escalate"],
      [9000, "deny"],
    ] as const) {
      const { status, body } = await sidecar.decide(refund(amount));
      expect(status).toBe(200);
      expect(body).toMatchObject({ outcome: "allow", enforced: false, mode: "observe", observed_outcome: observed });
    }
    const { status, body } = await consume(sidecar, useOf(proposal, decision));
    expect(status).toBe(200);
    expect(body).toMatchObject({ valid: true, enforced: false, observed: { valid: false, code: "store_unavailable" } });
    await back();
    await isReady(sidecar);
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  });
});

// ---------------------------------------------------------------------------------------------------------- ledger

const SMALL_DISK_BYTES = 3 * 1024 * 1024;

/** A file system of a few megabytes for the ledger alone; undefined where this user may not mount one. */
function smallDisk(dataDir: string): { fill(): void; free(): void; remove(): void } | undefined {
  const path = join(dataDir, "ledger");
  mkdirSync(path, { recursive: true });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${SMALL_DISK_BYTES}`, "tmpfs", path], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  const filler = join(path, "filler");
  return {
    fill: () => {
      for (let bytes = SMALL_DISK_BYTES; bytes >= 512; bytes /= 2) {
        try {
          writeFileSync(filler, Buffer.alloc(bytes), { flag: "a" });
        } catch {} // full, as it should be
      }
    },
    free: () => rmSync(filler),
    remove: () => execFileSync("umount", ["-l", path]),
  };
}

const canMount = (() => {
  const dataDir = temporaryDirectory();
  const disk = smallDisk(dataDir);
  disk?.remove();
  return disk !== undefined;
})();

/** Free pages inside the file take a few entries yet: sends until one is refused, or answers that it never was. */
async function exhaust(sidecar: SidecarProcess) {
  for (let count = 0; count < 200; count += 1) {
    const proposal = writeFile("/tmp/a");
    proposal.action.arguments.content = "x".repeat(60_000);
    const answer = await sidecar.decide(proposal);
    if (answer.status !== 200) return answer;
  }
  return undefined;
}

describe.skipIf(!canMount)("full disk", () => {
  test("enforce refuses what it cannot record, says so, and recovers without being asked", async () => {
    const dataDir = temporaryDirectory();
    const disk = smallDisk(dataDir)!;
    try {
      const sidecar = await startProcess({ bundle: examplesBundle(), data_dir: dataDir });
      const permitted = refund(50);
      const { body: decision } = await sidecar.decide(permitted);
      await isReady(sidecar);
      disk.fill();
      const refused = await exhaust(sidecar);
      expect(refused).toMatchObject({
        status: 503,
        body: { code: "ledger_unavailable", outcome: "deny", mode: "enforce", enforced: true },
      });
      const plain = await sidecar.decide(writeFile("/tmp/a"));
      if (plain.status !== 200) expect(plain.body).toMatchObject({ code: "ledger_unavailable", outcome: "deny" });
      await exhaust(sidecar);
      await isNotReady(sidecar);
      expect((await readiness(sidecar)).body.checks).toMatchObject({ ledger: "not writable", policy: "ok" });
      expect(sidecar.lines.map(({ msg }) => msg).join("\n")).toMatch(/Cannot write the ledger \(.*no space is left/);
      disk.free();
      // Nobody sends anything to a sidecar that is not ready: it must find out by itself.
      await isReady(sidecar);
      expect(await sidecar.decide(writeFile("/tmp/a"))).toMatchObject({ status: 200, body: { outcome: "allow" } });
      expect((await consume(sidecar, useOf(permitted, decision))).status).toBe(200);
      expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
      expect(verifyLedger({ directory: join(dataDir, "ledger") }).fault).toBeUndefined();
    } finally {
      killProcesses();
      disk.remove();
    }
  });

  test("observe answers allow, and tells the operator what it could not record", async () => {
    const dataDir = temporaryDirectory();
    const disk = smallDisk(dataDir)!;
    try {
      const sidecar = await startProcess({ bundle: examplesBundle(), data_dir: dataDir, mode: "observe" });
      await isReady(sidecar);
      disk.fill();
      expect(await exhaust(sidecar)).toBeUndefined();
      await until(
        async () => (await metricOf(sidecar, "holdpoint_background_failures_total")) > 0,
        "failures are told",
      );
      expect((await sidecar.decide(refund(9000))).body).toMatchObject({ outcome: "allow", observed_outcome: "deny" });
      disk.free();
      await isReady(sidecar);
      expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
      expect(verifyLedger({ directory: join(dataDir, "ledger") }).fault).toBeUndefined();
    } finally {
      killProcesses();
      disk.remove();
    }
  });
});

// ---------------------------------------------------------------------------------------------------------- policy

const ALLOW_ALL =
  'decision := {"outcome": "allow", "reasons": [{"code": "anything", "message": "goes"}], "rules": ["r"]}';

const policyOf = async (sidecar: SidecarProcess): Promise<Body> =>
  (await sidecar.send({ port: "admin", path: "/v1/policy", key: KEYS.olivia })).body;

describe("policy", () => {
  test("a broken bundle leaves the last good one; a change is picked up; SIGHUP looks again", async () => {
    const bundle = join(temporaryDirectory(), "bundle.tar.gz");
    const replace = (source: string) => {
      copyFileSync(source, `${bundle}.new`);
      renameSync(`${bundle}.new`, bundle);
    };
    replace(examplesBundle());
    const sidecar = await startProcess({ bundle });
    const { active } = await policyOf(sidecar);
    expect(active.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    writeFileSync(bundle, "this is no bundle");
    await until(async () => (await policyOf(sidecar)).last_error !== null, "the refusal shows");
    expect(await policyOf(sidecar)).toMatchObject({ active, last_error: { code: "bundle_invalid" } });
    expect((await sidecar.decide(writeFile("/tmp/a"))).body.policy.digest).toBe(active.digest);
    expect((await readiness(sidecar)).status).toBe(200);
    expect(sidecar.lines.some(({ msg, level }) => level === 50 && msg.startsWith("Policy refused"))).toBe(true);
    const errors = await metricOf(sidecar, "holdpoint_policy_load_errors_total");
    expect(errors).toBeGreaterThan(0);
    sidecar.child.kill("SIGHUP");
    await until(async () => (await metricOf(sidecar, "holdpoint_policy_load_errors_total")) > errors, "looked again");
    expect(await metricOf(sidecar, "holdpoint_policy_current")).toBe(0);
    replace(examplesBundle());
    await until(async () => (await policyOf(sidecar)).last_error === null, "the one in force is there again");
    await until(
      () => sidecar.lines.some(({ msg }) => msg.startsWith("Policy on disk is the one in force")),
      "it says so",
    );
    expect(await metricOf(sidecar, "holdpoint_policy_current")).toBe(1);
    expect((await policyOf(sidecar)).active).toEqual(active);
    replace(compileBundle(ALLOW_ALL));
    await until(async () => (await policyOf(sidecar)).active.digest !== active.digest, "the new policy is active");
    expect((await policyOf(sidecar)).last_error).toBeNull();
    const { body } = await sidecar.decide(writeFile("/etc/passwd"));
    expect(body).toMatchObject({ outcome: "allow", reasons: [{ code: "anything" }] });
    expect(await metricOf(sidecar, "holdpoint_policy_info")).toBe(1);
    const { body: page } = await sidecar.send({ port: "admin", path: "/v1/ledger/entries", key: KEYS.olivia });
    const kinds = page.entries.map(({ entry }: Body) => entry.kind);
    expect(kinds).toEqual(
      expect.arrayContaining(["sidecar_started", "policy_activated", "policy_refused", "policy_restored"]),
    );
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  });

  test("without a policy it is not ready and denies; one that appears makes it ready", async () => {
    const bundle = join(temporaryDirectory(), "bundle.tar.gz");
    const sidecar = await startProcess({ bundle });
    expect((await readiness(sidecar)).body).toMatchObject({ status: "unavailable", checks: { policy: "not loaded" } });
    const { status, body } = await sidecar.decide(writeFile("/tmp/a"));
    expect(status).toBe(200);
    expect(body).toMatchObject({
      outcome: "deny",
      enforced: true,
      policy: null,
      reasons: [{ code: "policy_not_loaded" }],
    });
    expect((await policyOf(sidecar)).active).toBeNull();
    copyFileSync(examplesBundle(), `${bundle}.new`);
    renameSync(`${bundle}.new`, bundle);
    await isReady(sidecar);
    expect((await sidecar.decide(writeFile("/tmp/a"))).body.outcome).toBe("allow");
  });

  test("observe without policy and store answers allow, and records what would have happened", async () => {
    const sidecar = await startProcess({ mode: "observe", store: "redis://127.0.0.1:1", store_timeout_ms: 100 });
    const { status, body } = await sidecar.decide(refund(50));
    expect(status).toBe(200);
    expect(body).toMatchObject({ outcome: "allow", enforced: false, observed_outcome: "deny" });
    expect(body.reasons[0].code).toBe("policy_not_loaded");
  });

  test("an evaluation that traps denies, and the next one is evaluated by a new instance", async () => {
    const bundle = compileBundle(`
default decision := {"outcome": "deny", "reasons": []}
decision := {"outcome": "allow", "reasons": [{"code": "counted", "message": "fine"}]} if {
	count(numbers.range(1, input.action.arguments.n)) > 0
}`);
    const sidecar = await startProcess({ bundle });
    const counting = (n: number) => ({
      id: freshId(),
      action: { name: "count", arguments: { n } },
      actor: { id: "support-agent", roles: ["operator"] },
    });
    for (let round = 0; round < 3; round += 1) {
      const { status, body } = await sidecar.decide(counting(1_000_000_000));
      expect(status).toBe(200);
      expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "policy_fault" }] });
      expect((await sidecar.decide(counting(10))).body.outcome).toBe("allow");
    }
    expect((await readiness(sidecar)).status).toBe(200);
  });
});

// ----------------------------------------------------------------------------------------------------------- clock

describe("a clock that steps", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
  afterEach(() => void vi.useRealTimers());

  test("back by an hour makes permits not yet valid, and brings no approval back to life", async () => {
    const holdpoint = await startSidecar({ bundle: examplesBundle(), approval_ttl_seconds: 3_600 });
    try {
      const proposal = refund(50);
      const { body: decision } = await holdpoint.decide(proposal);
      const start = Date.now();
      vi.setSystemTime(start - 3_600_000);
      const early = await consume(holdpoint, useOf(proposal, decision));
      expect(early).toMatchObject({ status: 403, body: { code: "not_yet_valid", outcome: "deny" } });
      const waiting = refund(800);
      const { body: escalated } = await holdpoint.decide(waiting);
      // Forward past the deadline, by the store's clock, and back again: expired stays expired.
      vi.setSystemTime(start + 3_601_000);
      const { body: late } = await holdpoint.decide(waiting);
      expect(late.reasons[0].code).toBe("approval_expired");
      vi.setSystemTime(start);
      const review = await holdpoint.review(escalated.approval.id, "grant");
      expect(review).toMatchObject({ status: 409, body: { code: "approval_not_pending", status: 409 } });
      const expired = await consume(holdpoint, useOf(proposal, decision));
      expect(["expired", "unknown_permit"]).toContain(expired.body.code);
    } finally {
      await holdpoint.close();
    }
  });
});
