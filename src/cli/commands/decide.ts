/** `holdpoint decide`: what the gate would say to one proposal, and why. No server, no ledger, no store. */
import type { Config } from "../../config/load-config.ts";
import { InvalidRequestError } from "../../core/errors.ts";
import { parseProposal } from "../../core/proposal.ts";
import { readJson } from "../../core/read-json.ts";
import { TENANT } from "../../core/schema.ts";
import type { Json, Outcome } from "../../core/types.ts";
import { type Explanation, explainDecision } from "../../gate/explain.ts";
import { loadPolicy } from "../../policy/load-policy.ts";
import { argumentChanges } from "../argument-changes.ts";
import { CONFIG_OPTION, CommandError, defineCommand, EXIT, JSON_OPTION, usageError } from "../command.ts";
import { gateOptions } from "../gate-options.ts";
import { nameOf, readInput } from "../read-input.ts";
import { duration, fields, jsonLine, jsonPretty, shown } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

export const decideCommand = defineCommand({
  name: "decide",
  words: { usage: "FILE", min: 1, max: 1 },
  options: {
    bundle: { kind: "text", value: "PATH", meaning: "Policy bundle; the setting bundle where nothing is given" },
    ...CONFIG_OPTION,
    tenant: { kind: "text", value: "NAME", meaning: "Tenant that proposes (default)" },
    ...JSON_OPTION,
  },
  details: `FILE is a proposal as POST /v1/decisions takes it, or - for standard input, and is read as strictly.
The exit code is the outcome that policy gives, also where the mode is observe: 0 allow or compute, 4 deny, 5 escalate.`,
  examples: [
    "holdpoint decide proposal.json --bundle bundle.tar.gz",
    "jq .proposal incident.json | holdpoint decide - --config holdpoint.yaml --json",
    "holdpoint decide proposal.json --tenant payments || echo not allowed",
  ],
  run: async ({ options, words, config }) => {
    const settings = await config();
    const tenant = options.tenant ?? "default";
    if (!TENANT.test(tenant)) throw usageError("--tenant: expected 1 to 63 of a-z, 0-9 and -");
    const path = options.bundle ?? settings.bundle;
    if (path === undefined) throw usageError("No policy: give --bundle PATH, or set bundle in the configuration");
    const proposal = await readProposal(words[0]!, settings);
    const policy = await loadPolicy({ path, entrypoint: settings.entrypoint });
    const explanation = explainDecision(policy, gateOptions(settings), { proposal, tenant, time: new Date() });
    const about = {
      proposalId: proposal.id,
      action: proposal.action,
      tenant,
      policyPath: path,
      revision: policy.revision,
    };
    if (options.json) await writeOut(`${jsonPretty(document(explanation, about))}\n`);
    else await writeLines(text(explanation, about));
    return exitCodeOf(explanation.outcome);
  },
});

interface About {
  readonly proposalId: string;
  readonly action: string;
  readonly tenant: string;
  readonly policyPath: string;
  readonly revision: string;
}

async function readProposal(path: string, { body_bytes_max, depth_max }: Config) {
  const bytes = await readInput(path, body_bytes_max);
  try {
    return parseProposal(readJson(bytes, { bytesMax: body_bytes_max, depthMax: depth_max }));
  } catch (thrown) {
    if (!(thrown instanceof InvalidRequestError)) throw thrown;
    const place = thrown.pointer === undefined || thrown.pointer === "" ? "" : ` at ${thrown.pointer}`;
    throw new CommandError(thrown.code, `${nameOf(path)}${place}: ${thrown.message}`, { exitCode: EXIT.usage });
  }
}

function exitCodeOf(outcome: Outcome) {
  switch (outcome) {
    case "allow":
    case "compute":
      return EXIT.done;
    case "deny":
      return EXIT.denied;
    case "escalate":
      return EXIT.escalated;
  }
}

function document(explanation: Explanation, about: About): Json {
  const { approval, permit, digests, mode } = explanation;
  return {
    recorded: false,
    outcome: explanation.outcome,
    mode,
    answered: mode === "observe" ? "allow" : explanation.outcome,
    tenant: about.tenant,
    proposal_id: about.proposalId,
    action: { name: about.action, arguments: explanation.arguments },
    reasons: explanation.reasons.map(({ code, message }) => ({ code, message })),
    contract: explanation.contract ?? null,
    rules: explanation.rules,
    risk: explanation.risk ?? null,
    argument_changes: changesOf(explanation) as unknown as Json,
    approval:
      approval === undefined
        ? null
        : {
            roles: approval.roles,
            quorum: approval.quorum,
            ttl_seconds: approval.ttlSeconds,
            grant_ttl_seconds: approval.grantTtlSeconds,
            uses: approval.uses,
            ...(approval.envelope === undefined ? {} : { envelope: approval.envelope }),
          },
    permit: permit === undefined ? null : { audience: permit.audience, ttl_seconds: permit.ttlSeconds },
    obligations: JSON.parse(explanation.obligationsText) as Json,
    argument_digest: digests.argument,
    original_argument_digest: digests.originalArgument,
    binding_digest: digests.binding,
    input_hash: digests.input,
    output_hash: digests.output ?? null,
    policy: { digest: digests.policy ?? null, revision: about.revision },
  };
}

function changesOf({ proposedArguments, arguments: effective }: Explanation) {
  return argumentChanges(proposedArguments, effective);
}

function text(explanation: Explanation, about: About): string[] {
  const { outcome, reasons, rules, digests } = explanation;
  return [
    `${outcome.toUpperCase()}  ${shown(about.action)}`,
    ...reasons.map(({ code, message }) => `  ${shown(code)}: ${shown(message)}`),
    "",
    ...fields([
      ["mode", modeText(explanation)],
      ["tenant", about.tenant],
      ["contract", explanation.contract === undefined ? "none spoke" : shown(explanation.contract)],
      ["rules", rules.length === 0 ? undefined : rules.map(shown).join(", ")],
      ["risk", explanation.risk === undefined ? undefined : shown(explanation.risk)],
      ["approval", approvalText(explanation)],
      ["permit", permitText(explanation)],
      [
        "obligations",
        explanation.obligationsText === "{}" ? undefined : jsonLine(JSON.parse(explanation.obligationsText)),
      ],
    ]),
    ...argumentLines(explanation),
    "",
    ...fields([
      ["argument digest", digests.argument],
      ["binding digest", digests.binding],
      ["input hash", digests.input],
      ["output hash", digests.output ?? "none: policy gave no valid result"],
      ["policy digest", digests.policy],
      ["policy", `${shown(about.policyPath)}${about.revision === "" ? "" : `, revision ${shown(about.revision)}`}`],
    ]),
    "",
    "Nothing was recorded, and nobody was asked.",
  ];
}

function modeText({ mode, outcome }: Explanation): string {
  if (mode === "enforce" || outcome === "allow") return mode;
  return "observe: the sidecar would answer allow, and record this";
}

function approvalText({ approval }: Explanation): string | undefined {
  if (approval === undefined) return undefined;
  const { roles, quorum, ttlSeconds, grantTtlSeconds, uses, envelope } = approval;
  const who = roles.length === 0 ? "any reviewer" : `role ${roles.map(shown).join(" or ")}`;
  const what = envelope === undefined ? "these exact arguments" : `${uses} uses within ${jsonLine(envelope)}`;
  return `${quorum} of ${who}, within ${duration(ttlSeconds)}; a grant holds ${duration(grantTtlSeconds)}, for ${what}`;
}

function permitText({ permit, outcome }: Explanation): string | undefined {
  if (permit === undefined) return undefined;
  const when = outcome === "escalate" ? ", once granted" : "";
  return `for ${shown(permit.audience)}, ${duration(permit.ttlSeconds)}${when}`;
}

function argumentLines(explanation: Explanation): string[] {
  const changes = changesOf(explanation);
  if (changes.length === 0) return ["", "arguments, as proposed", ...block(explanation.arguments)];
  const lines = changes.flatMap(({ pointer, from, to }) => [
    `  ${shown(pointer)}`,
    ...(from === undefined ? [] : [`    - ${jsonLine(from)}`]),
    ...(to === undefined ? [] : [`    + ${jsonLine(to)}`]),
  ]);
  return ["", "arguments, rewritten by policy", ...lines];
}

function block(value: Json): string[] {
  return jsonPretty(value)
    .split("\n")
    .map((line) => `  ${line}`);
}
