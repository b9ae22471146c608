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
import { checkEntrypoint, opaProgram, SOURCE_OPTIONS, sourcePaths } from "../opa-sources.ts";
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
  details: `A case is a proposal as POST /v1/decisions takes it, or {name, input, expect}: a whole policy input, and what the
result must be to the letter. A file holds a list of them, one, or {cases: {<table>: [...]}}. Proposals are those of the
tenant default, now. Exit code 3 on any difference.`,
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
    const paths = sourcePaths(words, options["no-library"]);
    const opa = opaProgram(options.opa, environment);
    const compare = async (path: string) => {
      const policy = await loadPolicy({ path, entrypoint });
      return { digest: policy.digest, differences: await verifyPolicy({ opa, paths, policy, cases }) };
    };
    const { digest, differences } =
      options.bundle === undefined
        ? await withBuiltBundle({ opa, entrypoint, paths }, compare)
        : await compare(options.bundle);
    if (options.json) await writeOut(`${jsonPretty(document(cases.length, digest, differences))}\n`);
    else await writeLines(text(cases.length, digest, differences));
    return differences.length === 0 ? EXIT.done : EXIT.differs;
  },
});

/** A proposal becomes policy input as the gate makes it, for both engines alike. */
function verifyCase({ name, given, expect }: PolicyCase, time: Date): VerifyCase {
  if (given.kind === "input") return { name, inputText: given.text, expect };
  try {
    const proposal = parseProposal(given.reading);
    return { name, inputText: policyInputText({ proposal, tenant: "default", time }), expect };
  } catch (thrown) {
    if (!(thrown instanceof HoldpointError)) throw thrown;
    throw new CommandError(thrown.code, `Case ${shown(name)}${thrown.pointer ?? ""}: ${thrown.message}`, {
      exitCode: EXIT.usage,
    });
  }
}

function document(cases: number, digest: string, differences: readonly PolicyDifference[]): Json {
  return {
    cases,
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

function text(cases: number, digest: string, differences: readonly PolicyDifference[]): string[] {
  const engines = differences.filter(({ kind }) => kind === "engines").length;
  const unexpected = differences.length - engines;
  const verdict =
    differences.length === 0
      ? `SAME: ${plural(cases, "case")}, OPA and the compiled policy agree`
      : `DIFFERS: ${engines} of ${plural(cases, "case")} between OPA and the compiled policy, ${unexpected} from what was expected`;
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
