import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  createRefusalLog,
  REFUSAL_INTERVAL_MS,
  type Refusal,
  type RefusalSummary,
} from "../../src/telemetry/refusal-log.ts";

const START = Date.UTC(2026, 0, 1);
const SOON_MS = 250;

beforeEach(() => {
  vi.useFakeTimers({ now: START });
});
afterEach(() => {
  vi.useRealTimers();
});

function start() {
  const written: { readonly summary: RefusalSummary; readonly tenant: string; readonly atMs: number }[] = [];
  const log = createRefusalLog(
    () => new Date(),
    (summary, tenant) => written.push({ summary, tenant, atMs: Date.now() - START }),
    SOON_MS,
  );
  return { log, written, counts: () => written.reduce((sum, { summary }) => sum + summary.count, 0) };
}

const refusal = (changes: Partial<Refusal> = {}): Refusal => ({
  port: "decision",
  reason: "unknown_token",
  source: "127.0.0.1",
  tenant: undefined,
  credentialId: undefined,
  ...changes,
});

describe("createRefusalLog()", () => {
  test("writes the first soon, and what follows once per interval, whatever its number", () => {
    const { log, written, counts } = start();
    for (let ms = 0; ms < 25_000; ms += 5) {
      log.add(refusal());
      vi.advanceTimersByTime(5);
    }
    expect(written.map(({ atMs }) => atMs)).toEqual([
      SOON_MS,
      SOON_MS + REFUSAL_INTERVAL_MS,
      SOON_MS + 2 * REFUSAL_INTERVAL_MS,
    ]);
    log.flush();
    expect(counts()).toBe(5_000);
  });

  test("writes nothing where nothing was refused, and a quiet time makes the next one soon again", () => {
    const { log, written } = start();
    log.flush();
    vi.advanceTimersByTime(60_000);
    expect(written).toEqual([]);
    log.add(refusal());
    vi.advanceTimersByTime(SOON_MS);
    expect(written).toHaveLength(1);
    vi.advanceTimersByTime(60_000);
    log.add(refusal());
    vi.advanceTimersByTime(SOON_MS);
    expect(written).toHaveLength(2);
  });

  test("counts by reason and by port, and says since when", () => {
    const { log, written } = start();
    log.add(refusal());
    vi.advanceTimersByTime(100);
    log.add(refusal({ reason: "expired", port: "admin" }));
    log.add(refusal({ port: "admin" }));
    log.flush();
    expect(written).toEqual([
      {
        tenant: "",
        atMs: 100,
        summary: {
          since: new Date(START).toISOString(),
          count: 3,
          by_reason: { unknown_token: 2, expired: 1 },
          by_port: { decision: 1, admin: 2 },
          sources: ["127.0.0.1"],
          credentials: [],
        },
      },
    ]);
  });

  test("keeps the first ten sources and credentials and counts the others", () => {
    const { log, written } = start();
    for (let index = 0; index < 1_000; index += 1)
      log.add(refusal({ source: `10.0.0.${index}`, tenant: "default", credentialId: `key-${index}` }));
    log.flush();
    const [{ summary }] = written as [(typeof written)[0]];
    expect(summary.count).toBe(1_000);
    expect(summary.sources).toHaveLength(10);
    expect(summary.credentials).toEqual(Array.from({ length: 10 }, (_, index) => `key-${index}`));
  });

  test("names a credential to its own tenant alone", () => {
    const { log, written } = start();
    log.add(refusal());
    log.add(refusal({ reason: "scope_missing", tenant: "acme", credentialId: "bot" }));
    log.add(refusal({ reason: "scope_missing", tenant: "other", credentialId: "spy" }));
    log.flush();
    const byTenant = Object.fromEntries(written.map(({ tenant, summary }) => [tenant, summary]));
    expect(Object.keys(byTenant).sort()).toEqual(["", "acme", "other"]);
    expect(byTenant[""]!.credentials).toEqual([]);
    expect(byTenant["acme"]!.credentials).toEqual(["bot"]);
    expect(byTenant["other"]!.credentials).toEqual(["spy"]);
  });

  test.each(["__proto__", "constructor", "toString"])("counts the tenant or source %s like any other", (name) => {
    const { log, written } = start();
    log.add(refusal({ tenant: name, source: name, credentialId: name }));
    log.add(refusal({ tenant: name, source: name, credentialId: name }));
    log.flush();
    expect(written).toMatchObject([{ tenant: name, summary: { count: 2, sources: [name], credentials: [name] } }]);
  });

  test.each([-3_600_000, 3_600_000])("a clock that jumps by %i ms delays no summary beyond an interval", (ms) => {
    const { log, written, counts } = start();
    log.add(refusal());
    vi.advanceTimersByTime(SOON_MS);
    vi.setSystemTime(Date.now() + ms);
    log.add(refusal());
    vi.advanceTimersByTime(REFUSAL_INTERVAL_MS);
    expect(written).toHaveLength(2);
    expect(counts()).toBe(2);
  });

  test("does not write twice what a flush has written", () => {
    const { log, counts } = start();
    log.add(refusal());
    log.flush();
    log.flush();
    vi.advanceTimersByTime(60_000);
    expect(counts()).toBe(1);
  });
});
