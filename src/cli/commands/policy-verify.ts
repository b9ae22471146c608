/** `holdpoint policy verify`: the compiled policy against OPA itself, case by case. */
import { HoldpointError } from "../../core/errors.ts";
import { parseProposal } from "../../core/proposal.ts";
import type { Json } from "../../core/types.ts";
import { policyInputText } from "../../gate/explain.ts";
import { loadPolicy } from "../../policy/load-policy.ts";
import { type PolicyCase, readCases } from "../../policy/read-cases.ts";
import { type EngineAnswer, type PolicyDifference, type VerifyCase, verifyPolicy } from "../../policy/verify-policy.ts";
import { withBuiltBundle } from "../build-and-load.ts";
import { CommandError, defineCommand, EXIT, JSON_OPTION, usageError } from "../command.ts";
import { withDomainData } from "../domain-data.ts";
import { CAPABILITIES, checkEntrypoint, opaProgram, SOURCE_OPTIONS, sourcePaths } from "../opa-sources.ts";
import { jsonPretty, plural, shown, shownLines } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

export const policyVerifyCommand = defineCommand({
  name: "policy verify",
  words: { usage: "PATH...", min: 1, max: 1_000 },
  options: {
    cases: { kind: "text", value: "FILE_OR_DIR", meaning: "Cases, JSON or YAML (required)" },
    bundle: { kind: "text", value: "PATH", meaning: "Hold this bundle against the sources, instead of building one" },
    ...SOURCE_OPTIONS,
    ...JSON_OPTION,
  },
  details: `A file of cases is a list of them, one, or {cases: {<table>: [...]}}, in JSON or YAML. A case is a proposal as POST
/v1/decisions takes it, or has a name and an expectation beside it:

  - name: a refund above 100 waits for a reviewer
    proposal:
      id: refund-1
      actor: { id: bot, type: agent, roles: [operator] }
      entity: { type: order, id: A-1 }
      action: { name: ISSUE_REFUND, arguments: { amount: 500, reason: damaged } }
    expect: { outcome: escalate, approval: { roles: [ops_operator] } }

Of expect only the members given are compared; exact: true compares the whole result. In place of a proposal (which is
one of the tenant default, now) input is a whole policy input. In a directory every JSON and YAML file must be cases,
but for data.json, data.yaml and domain.yaml, which are the policy's. Exit code 3 on any difference.`,
  examples: [
    "holdpoint policy verify policies/ --cases policies/cases",
    "holdpoint policy verify rego/examples/* --cases rego/cases",
    "holdpoint policy verify policies/ --cases incident.json --bundle /etc/holdpoint/bundle.tar.gz",
  ],
  run: async ({ options, words, environment }) => {
    if (options.cases === undefined) throw usageError("Expected --cases FILE_OR_DIR");
    const now = new Date();
    const cases = readCases(options.cases).map((one) => verifyCase(one, now));
    const entrypoint = checkEntrypoint(options.entrypoint);
    const opa = opaProgram(options.opa, environment);
    const verified = await withDomainData(sourcePaths(words, options["no-library"]), ({ paths }) => {
      const compare = async (path: string) => {
        const policy = await loadPolicy({ path, entrypoint });
        const differences = await verifyPolicy({ opa, paths, policy, cases, capabilities: CAPABILITIES });
        return { digest: policy.digest, differences, counts: countsOf(cases, differences) };
      };
      return options.bundle === undefined
        ? withBuiltBundle({ opa, entrypoint, paths }, compare)
        : compare(options.bundle);
    });
    if (options.json) await writeOut(`${jsonPretty(document(verified))}\n`);
    else await writeLines(text(verified));
    return verified.differences.length === 0 ? EXIT.done : EXIT.differs;
  },
});

/** A proposal becomes policy input as the gate makes it, for both engines alike. */
function verifyCase({ name, given, expect, isExact }: PolicyCase, time: Date): VerifyCase {
  if (given.kind === "input") return { name, inputText: given.text, expect, isExact };
  try {
    const proposal = parseProposal(given.reading);
    return { name, inputText: policyInputText({ proposal, tenant: "default", time }), expect, isExact };
  } catch (thrown) {
    if (!(thrown instanceof HoldpointError)) throw thrown;
    throw new CommandError(thrown.code, `Case ${shown(name)}${thrown.pointer ?? ""}: ${thrown.message}`, {
      exitCode: EXIT.usage,
    });
  }
}

interface Counts {
  readonly cases: number;
  /** OPA and the compiled policy agree. */
  readonly same: number;
  readonly expectations: number;
  readonly met: number;
}

interface Verified {
  readonly digest: string;
  readonly differences: readonly PolicyDifference[];
  readonly counts: Counts;
}

function countsOf(cases: readonly VerifyCase[], differences: readonly PolicyDifference[]): Counts {
  const expectations = cases.filter(({ expect }) => expect !== undefined).length;
  return {
    cases: cases.length,
    same: cases.length - differences.filter(({ kind }) => kind === "engines").length,
    expectations,
    met: expectations - differences.filter(({ expect }) => expect !== undefined).length,
  };
}

function document({ digest, differences, counts }: Verified): Json {
  return {
    ...counts,
    policy_digest: digest,
    differences: differences.map(({ name, kind, opa, wasm, expect }) => ({
      name,
      kind,
      opa: opa as unknown as Json,
      wasm: wasm as unknown as Json,
      ...(expect === undefined ? {} : { expect }),
    })),
  };
}

function text({ digest, differences, counts }: Verified): string[] {
  const { cases, same, expectations, met } = counts;
  const verdict = `${plural(cases, "case")}: ${same} the same, ${expectations} with an expectation, ${met} met`;
  return [...differences.flatMap(differenceLines), `${verdict} (policy ${digest})`];
}

function differenceLines({ name, kind, opa, wasm, expect }: PolicyDifference): string[] {
  const answers =
    kind === "engines"
      ? [`  opa       ${answerText(opa)}`, `  compiled  ${answerText(wasm)}`]
      : [`  both      ${answerText(wasm)}`];
  const expected = expect === undefined ? [] : [`  expected  ${shownLines(expect)}`];
  return [shown(name), ...answers, ...expected];
}

function answerText(answer: EngineAnswer): string {
  switch (answer.kind) {
    case "result":
      return shownLines(answer.text);
    case "undefined":
      return "undefined";
    case "fault":
      return `fault: ${shownLines(answer.message)}`;
  }
}
