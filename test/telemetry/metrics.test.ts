import { spawnSync } from "node:child_process";
import { afterEach, describe, expect, test } from "vitest";
import { NO_DOMAIN } from "../../src/core/domain.ts";
import type { Mode, Outcome } from "../../src/core/types.ts";
import { aggregate, createMetrics, DECISION_SERIES_MAX, LABEL_VALUES_MAX } from "../../src/telemetry/metrics.ts";
import { examplesBundle } from "../support/bundles.ts";
import { killProcesses, metricOf, randomFrom, type SidecarProcess, startProcess } from "../support/process.ts";
import { refund, useOf, writeFile } from "../support/proposals.ts";
import { until } from "../support/redis.ts";
import { projectRoot } from "../support/tools.ts";

afterEach(killProcesses);

/** What promtool finds wrong: "" for nothing, or where there is no promtool (said in one line by the script). */
function lintOf(text: string): string {
  const found = spawnSync(`${projectRoot}.tools/promtool.sh`, { encoding: "utf8" });
  if (found.status !== 0) {
    console.warn(found.stderr.trim());
    return "";
  }
  const { status, stdout, stderr } = spawnSync(found.stdout.trim(), ["check", "metrics"], {
    input: text,
    encoding: "utf8",
  });
  return status === 0 ? stdout + stderr : `${status}: ${stdout}${stderr}`;
}

test("promtool finds fault with a metric that is misnamed", () => {
  const faults = lintOf("# HELP x_total a gauge\n# TYPE x_total gauge\nx_total 1\n");
  if (faults !== "") expect(faults).toContain("x_total");
});

const decision = (changes: object = {}) => ({
  tenant: "default",
  action: "a",
  outcome: "allow" as Outcome,
  mode: "enforce" as Mode,
  reasonCodes: ["ok"],
  seconds: 0.001,
  evaluationSeconds: 0.0001,
  ...changes,
});

const linesOf = async (metrics: ReturnType<typeof createMetrics>, name: string) =>
  (await metrics.registry.metrics()).split("\n").filter((line) => line.startsWith(`${name}{`));

describe("createMetrics()", () => {
  test("keeps its label sets bounded under 100,000 actions, tenants and reasons", async () => {
    const metrics = createMetrics(() => {});
    const random = randomFrom(7);
    for (let index = 0; index < 100_000; index += 1) {
      const outcome = (["allow", "escalate", "compute", "deny"] as const)[Math.floor(random() * 4)]!;
      const reasonCodes = [`reason-${Math.floor(random() * 100_000)}`];
      metrics.decided(decision({ tenant: `t-${index}`, action: `action-${index}`, outcome, reasonCodes }));
      metrics.permitChecked({ tenant: `t-${index}`, result: "digest_mismatch", isConsumption: index % 2 === 0 });
      metrics.executionReported({ tenant: `t-${index}`, status: "failed" });
      metrics.approvalChanged({ tenant: `t-${index}`, status: "granted" });
    }
    const lines = await linesOf(metrics, "holdpoint_decisions_total");
    // One more for each outcome that is counted under "other".
    expect(lines.length).toBeLessThanOrEqual(DECISION_SERIES_MAX + 4);
    const valuesOf = (label: string) => new Set(lines.map((line) => new RegExp(`${label}="([^"]*)"`).exec(line)![1]));
    expect(valuesOf("action").size).toBeLessThanOrEqual(LABEL_VALUES_MAX + 1);
    expect(valuesOf("reason").size).toBeLessThanOrEqual(LABEL_VALUES_MAX + 1);
    const sum = lines.reduce((total, line) => total + Number(line.split(" ").at(-1)), 0);
    expect(sum).toBe(100_000);
    expect(await linesOf(metrics, "holdpoint_permit_checks_total")).toHaveLength(2);
    expect((await metrics.registry.metrics()).includes("t-99999")).toBe(false);
  });

  test("holds as many label sets as it says and counts the next under other", async () => {
    const metrics = createMetrics(() => {});
    for (let index = 0; index < LABEL_VALUES_MAX; index += 1) metrics.decided(decision({ action: `a-${index}` }));
    expect(await linesOf(metrics, "holdpoint_decisions_total")).toHaveLength(LABEL_VALUES_MAX);
    metrics.decided(decision({ action: "one-too-many" }));
    const lines = await linesOf(metrics, "holdpoint_decisions_total");
    expect(lines).toHaveLength(LABEL_VALUES_MAX + 1);
    expect(lines.at(-1)).toContain('action="other"');
  });

  test("gives no label to names that were only ever denied, so that nobody can use them up", async () => {
    const metrics = createMetrics(() => {});
    for (let index = 0; index < 10_000; index += 1)
      metrics.decided(decision({ action: `junk-${index}`, outcome: "deny" }));
    metrics.decided(decision({ action: "ISSUE_REFUND" }));
    metrics.decided(decision({ action: "ISSUE_REFUND", outcome: "deny" }));
    const lines = await linesOf(metrics, "holdpoint_decisions_total");
    expect(lines).toHaveLength(3);
    expect(lines.filter((line) => line.includes('action="ISSUE_REFUND"'))).toHaveLength(2);
    expect(lines.find((line) => line.includes('action="other"'))).toMatch(/ 10000$/);
  });

  test("writes names that are markup to others as text", async () => {
    const metrics = createMetrics(() => {});
    metrics.decided(decision({ action: 'a"} 1\nholdpoint_fake_total 5', reasonCodes: ["back\\slash"] }));
    const text = await metrics.registry.metrics();
    expect(text.split("\n").some((line) => line.startsWith("holdpoint_fake_total"))).toBe(false);
  });

  test("names what dashboards and alerts rely on", async () => {
    const metrics = createMetrics(() => {});
    const own = (await metrics.registry.getMetricsAsJSON())
      .filter(({ name }) => name.startsWith("holdpoint_"))
      .map(({ name, type }) => `${name} ${type}`);
    expect(own.sort()).toEqual([
      "holdpoint_approvals_oldest_pending_seconds gauge",
      "holdpoint_approvals_pending gauge",
      "holdpoint_approvals_total counter",
      "holdpoint_background_failures_total counter",
      "holdpoint_configuration_current gauge",
      "holdpoint_configuration_load_errors_total counter",
      "holdpoint_credentials_refused_total counter",
      "holdpoint_decision_duration_seconds histogram",
      "holdpoint_decisions_total counter",
      "holdpoint_evaluation_duration_seconds histogram",
      "holdpoint_events_total counter",
      "holdpoint_executions_total counter",
      "holdpoint_executions_unknown gauge",
      "holdpoint_executor_duration_seconds histogram",
      "holdpoint_ledger_commit_duration_seconds histogram",
      "holdpoint_ledger_committed_entries_total counter",
      "holdpoint_ledger_entries gauge",
      "holdpoint_ledger_lag_seconds histogram",
      "holdpoint_ledger_waiting_entries gauge",
      "holdpoint_permit_checks_total counter",
      "holdpoint_policy_current gauge",
      "holdpoint_policy_info gauge",
      "holdpoint_policy_last_load_timestamp_seconds gauge",
      "holdpoint_policy_load_errors_total counter",
      "holdpoint_problems_total counter",
      "holdpoint_scrape_timestamp_seconds gauge",
      "holdpoint_store_duration_seconds histogram",
      "holdpoint_store_errors_total counter",
    ]);
    metrics.decided(decision());
    metrics.permitChecked({ tenant: "t", result: "valid", isConsumption: true });
    metrics.eventIngested({ tenant: "t", result: "refused" });
    metrics.actionExecuted({ tenant: "t", executor: "payments", result: "unknown", seconds: 2 });
    const text = await metrics.registry.metrics();
    expect(text).toContain('holdpoint_events_total{result="refused"} 1');
    expect(text).toContain('holdpoint_executor_duration_seconds_count{executor="payments",result="unknown"} 1');
    expect(text).toContain('holdpoint_decisions_total{outcome="allow",mode="enforce",action="a",reason="ok"} 1');
    expect(text).toContain('holdpoint_permit_checks_total{result="valid",use="consume"} 1');
  });

  test("says what failed in the background to whoever logs", () => {
    const told: string[] = [];
    const metrics = createMetrics((what, error) => told.push(`${what}: ${error.message}`));
    metrics.failed({ what: "sweep the store", error: new Error("gone") });
    expect(told).toEqual(["sweep the store: gone"]);
  });
});

describe("aggregate()", () => {
  test("adds counters up, and takes shared gauges once", async () => {
    const processes = [0, 1, 2].map(() => createMetrics(() => {}));
    for (const metrics of processes) {
      metrics.decided(decision());
      metrics.ledgerMeasured({ entries: 41, waiting: 0 });
      metrics.approvalsCounted({ pending: 5, oldestPendingMs: 2_000, unknownExecutions: 3 });
      metrics.policyLoaded({
        digest: "sha256:0",
        revision: "r",
        entrypoint: "e",
        loadedAt: new Date(5_000),
        domain: NO_DOMAIN,
        evaluate: () => ({ kind: "undefined" }),
      });
    }
    processes[1]!.policyFailed();
    const text = await aggregate(await Promise.all(processes.map(({ registry }) => registry.getMetricsAsJSON())));
    const lines = text.split("\n");
    expect(lines).toContain('holdpoint_decisions_total{outcome="allow",mode="enforce",action="a",reason="ok"} 3');
    expect(lines).toContain("holdpoint_decision_duration_seconds_count 3");
    expect(lines).toContain("holdpoint_ledger_entries 41");
    expect(lines).toContain("holdpoint_approvals_pending 5");
    expect(lines).toContain("holdpoint_approvals_oldest_pending_seconds 2");
    expect(lines).toContain("holdpoint_executions_unknown 3");
    expect(lines).toContain("holdpoint_configuration_current 1");
    expect(lines).toContain("holdpoint_policy_current 0");
    expect(lines).toContain("holdpoint_policy_last_load_timestamp_seconds 5");
    expect(lines).toContain('holdpoint_policy_info{digest="sha256:0",revision="r",entrypoint="e"} 1');
  });
});

describe.each([1, 2])("GET /metrics with %i worker(s)", (workers) => {
  test("sums up what was sent, whoever answered it", async () => {
    const sidecar: SidecarProcess = await startProcess({ bundle: examplesBundle(), workers });
    const count = (name: string, labels?: string) => metricOf(sidecar, name, labels);
    const proposals = Array.from({ length: 60 }, () => refund(50));
    const decided = await Promise.all(proposals.map((proposal) => sidecar.decide(proposal)));
    await Promise.all(Array.from({ length: 40 }, () => sidecar.decide(writeFile("/etc/a"))));
    const escalated = await Promise.all(Array.from({ length: 7 }, () => sidecar.decide(refund(600))));
    for (const [index, proposal] of proposals.entries()) {
      if (index >= 20) break;
      const use = useOf(proposal, decided[index]!.body);
      await sidecar.send({ path: "/v1/permits/consume", body: use });
      await sidecar.send({ path: "/v1/permits/consume", body: use });
    }
    const permitId = decided[0]!.body.permit_id;
    await sidecar.send({ path: "/v1/executions", body: { permit_id: permitId, status: "failed" } });
    await sidecar.review(escalated[0]!.body.approval.id, "deny");
    expect(await count("holdpoint_decisions_total")).toBe(107);
    expect(await count("holdpoint_decisions_total", 'outcome="allow"')).toBe(60);
    expect(await count("holdpoint_decisions_total", 'outcome="deny"')).toBe(40);
    expect(await count("holdpoint_decisions_total", 'outcome="escalate"')).toBe(7);
    expect(await count("holdpoint_decision_duration_seconds_count")).toBe(107);
    expect(await count("holdpoint_permit_checks_total", 'result="valid"')).toBe(20);
    expect(await count("holdpoint_permit_checks_total", 'result="already_consumed"')).toBe(20);
    expect(await count("holdpoint_executions_total", 'status="failed"')).toBe(1);
    expect(await count("holdpoint_approvals_total", 'status="pending"')).toBe(7);
    expect(await count("holdpoint_approvals_total", 'status="denied"')).toBe(1);
    expect(await count("holdpoint_policy_info")).toBe(1);
    await until(async () => (await count("holdpoint_approvals_pending")) === 6, "the pending ones are counted");
    await until(async () => (await count("holdpoint_executions_unknown")) === 19, "the unreported ones are counted");
    const { body } = await sidecar.send({ port: "admin", path: "/v1/ledger/entries?limit=1", key: "test-key-olivia" });
    await until(async () => (await count("holdpoint_ledger_entries")) === body.size, "the ledger is counted once");
    expect(await count("holdpoint_ledger_committed_entries_total")).toBe(body.size);
    const { text } = await sidecar.send({ port: "admin", path: "/metrics" });
    expect(lintOf(text)).toBe("");
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  });
});
