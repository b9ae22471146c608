/** `holdpoint policy inspect`: what a bundle holds, and whether the sidecar would take it. */
import { existsSync, statSync } from "node:fs";
import type { EntityType } from "../../core/domain.ts";
import { ConfigError } from "../../core/errors.ts";
import type { Json } from "../../core/types.ts";
import { type BundleFacts, type ContractFacts, inspectBundle } from "../../policy/inspect-bundle.ts";
import { loadPolicy } from "../../policy/load-policy.ts";
import { defineCommand, EXIT, JSON_OPTION, usageError } from "../command.ts";
import { type PolicyReport, policyReport } from "../contract-faults.ts";
import { checkEntrypoint } from "../opa-sources.ts";
import { duration, fields, jsonPretty, plural, shown, table } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

export const policyInspectCommand = defineCommand({
  name: "policy inspect",
  words: { usage: "BUNDLE", min: 1, max: 1 },
  options: {
    entrypoint: { kind: "text", value: "RULE", meaning: "Rule that decides, slash-separated (holdpoint/decision)" },
    ...JSON_OPTION,
  },
  details: `BUNDLE is a .tar.gz, a directory, or a .wasm with data.json beside it. Exit code 3 where it does not load,
or where contracts have members or keywords that make them deny everything.`,
  examples: ["holdpoint policy inspect bundle.tar.gz", "holdpoint policy inspect bundle.tar.gz --json | jq -r .digest"],
  run: async ({ options, words }) => {
    const path = words[0]!;
    if (!existsSync(path)) throw usageError(`There is no ${shown(path)}`);
    const entrypoint = checkEntrypoint(options.entrypoint);
    const loading = await load(path, entrypoint);
    const facts = await inspectBundle(path).catch((thrown: unknown) => {
      if (thrown instanceof ConfigError) return undefined; // as loading says
      throw thrown;
    });
    const { size } = statSync(path);
    const report = loading.refusal === undefined ? await policyReport(path, entrypoint) : NOTHING_KNOWN;
    const inspected: Inspected = { path, bytes: size, loading, facts, report };
    if (options.json) await writeOut(`${jsonPretty(document(inspected))}\n`);
    else await writeLines(text(inspected));
    return loading.refusal === undefined && report.faults.length === 0 ? EXIT.done : EXIT.differs;
  },
});

const NOTHING_KNOWN: PolicyReport = { faults: [], rules: [], unconsulted: [] };

interface Inspected {
  readonly path: string;
  readonly bytes: number;
  readonly loading: Loading;
  readonly facts: BundleFacts | undefined;
  readonly report: PolicyReport;
}

interface Loading {
  readonly digest: string | undefined;
  readonly refusal: { readonly code: string; readonly faults: readonly string[] } | undefined;
}

async function load(path: string, entrypoint: string): Promise<Loading> {
  try {
    const { digest } = await loadPolicy({ path, entrypoint });
    return { digest, refusal: undefined };
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    const { code, message, faults } = thrown;
    return { digest: undefined, refusal: { code, faults: faults.length === 0 ? [message] : faults } };
  }
}

function document({ path, bytes, loading, facts, report }: Inspected): Json {
  const { digest, refusal } = loading;
  return {
    bundle: path,
    bytes,
    loads: refusal === undefined,
    digest: digest ?? null,
    refusal: (refusal ?? null) as Json,
    revision: facts?.revision ?? null,
    entrypoints: facts?.module?.entrypoints ?? null,
    builtins: facts?.module?.builtins ?? null,
    wasm_bytes: facts?.wasmBytes ?? null,
    data_chars: facts?.dataChars ?? null,
    faults: report.faults,
    rules: report.rules,
    unconsulted: report.unconsulted,
    contracts: (facts?.contracts ?? []).map(contractDocument),
    entities: (facts?.entities ?? []).map(entityDocument),
    roles: (facts?.roles ?? []).map(({ name, permissions }) => ({ name, permissions })),
  };
}

function entityDocument({ name, states, events, transitions, attributes }: EntityType): Json {
  return { type: name, states, events, transitions: transitions.length, attributes: [...attributes.keys()] };
}

function contractDocument(contract: ContractFacts): Json {
  const { action, risk, mode, approval, permit, thresholds, executor, event } = contract;
  return {
    action,
    risk: risk ?? null,
    mode: mode ?? null,
    approval: approval ?? null,
    permit: permit ?? null,
    thresholds,
    ...(executor === undefined ? {} : { executor }),
    ...(event === undefined ? {} : { event }),
  };
}

function text({ path, bytes, loading, facts, report }: Inspected): string[] {
  const { digest, refusal } = loading;
  const head = fields([
    ["bundle", `${shown(path)}, ${plural(bytes, "byte")}`],
    ["loads", refusal === undefined ? "yes" : `NO: ${refusal.code}`],
    ["digest", digest],
    ["revision", facts === undefined ? undefined : facts.revision === "" ? "none" : shown(facts.revision)],
    [
      "module",
      facts === undefined
        ? undefined
        : `${plural(facts.wasmBytes, "byte")}, data ${plural(facts.dataChars, "character")}`,
    ],
    ["entrypoints", names(facts?.module?.entrypoints)],
    ["builtins", names(facts?.module?.builtins)],
    ["rules", report.rules.length === 0 ? undefined : names(report.rules)],
    ["unconsulted", report.unconsulted.length === 0 ? undefined : names(report.unconsulted)],
    ["contracts", report.faults.length === 0 ? undefined : `NOT VALID: ${plural(report.faults.length, "fault")}`],
  ]);
  const found = refusal?.faults ?? report.faults;
  const faults = found.length === 0 ? [] : ["", ...found.map((fault) => `  - ${fault}`)];
  return [
    ...head,
    ...faults,
    ...(facts === undefined ? [] : [...contractLines(facts), ...entityLines(facts), ...roleLines(facts)]),
  ];
}

function names(list: readonly string[] | undefined): string | undefined {
  if (list === undefined) return undefined;
  return list.length === 0 ? "none" : list.map(shown).join(", ");
}

function contractLines({ contracts }: BundleFacts): string[] {
  if (contracts.length === 0)
    return ["", "No contracts in its data (holdpoint.contracts): with the policy library every action is denied."];
  const rows = contracts.map((one) => [
    shown(one.action),
    shown(one.risk ?? "-"),
    one.mode ?? "-",
    approvalText(one),
    permitText(one),
  ]);
  return ["", ...table(["ACTION", "RISK", "MODE", "APPROVAL", "PERMIT"], rows)];
}

function approvalText({ approval, thresholds }: ContractFacts): string {
  const by = thresholds === 0 ? "" : `, ${plural(thresholds, "threshold")}`;
  if (approval === undefined) return thresholds === 0 ? "-" : plural(thresholds, "threshold");
  const roles = Array.isArray(approval.roles) ? approval.roles.map(String).map(shown).join(" or ") : "any reviewer";
  return `${shown(String(approval.when ?? "asked"))}: ${String(approval.quorum ?? 1)} of ${roles}${by}`;
}

function permitText({ permit }: ContractFacts): string {
  if (permit?.required !== true) return "-";
  const ttl = typeof permit.ttl_seconds === "number" ? `, ${duration(permit.ttl_seconds)}` : "";
  return `required${typeof permit.audience === "string" ? ` for ${shown(permit.audience)}` : ""}${ttl}`;
}

function entityLines({ entities }: BundleFacts): string[] {
  if (entities.length === 0) return [];
  const rows = entities.map(({ name, states, events, transitions, attributes }) => [
    shown(name),
    ...[states.length, events.length, transitions.length, attributes.size].map(String),
  ]);
  return ["", ...table(["ENTITY", "STATES", "EVENTS", "TRANSITIONS", "ATTRIBUTES"], rows)];
}

function roleLines({ roles }: BundleFacts): string[] {
  if (roles.length === 0) return [];
  const rows = roles.map(({ name, permissions }) => [shown(name), permissions.map(shown).join(", ")]);
  return ["", ...table(["ROLE", "PERMISSIONS"], rows)];
}
