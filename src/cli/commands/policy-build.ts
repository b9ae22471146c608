/** `holdpoint policy build`: Rego and data become a bundle that is known to load. */
import { randomUUID } from "node:crypto";
import { accessSync, constants, existsSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { toError } from "../../core/errors.ts";
import { type Build, buildAndLoad } from "../build-and-load.ts";
import { CommandError, defineCommand, EXIT, JSON_OPTION, usageError } from "../command.ts";
import { policyReport, unconsultedWarning } from "../contract-faults.ts";
import { type DomainSources, withDomainData } from "../domain-data.ts";
import { checkEntrypoint, opaProgram, SOURCE_OPTIONS, sourcePaths } from "../opa-sources.ts";
import { jsonPretty, plural, shown } from "../terminal.ts";
import { writeError, writeOut } from "../write-out.ts";

export const policyBuildCommand = defineCommand({
  name: "policy build",
  words: { usage: "PATH...", min: 1, max: 1_000 },
  options: {
    output: { kind: "text", value: "FILE", short: "o", meaning: "The bundle to write, a .tar.gz (required)" },
    revision: { kind: "text", value: "TEXT", meaning: "Revision for the bundle's manifest, such as a commit" },
    ...SOURCE_OPTIONS,
    ...JSON_OPTION,
  },
  details: `Each PATH is a file, or a directory that is a root of its own: its data.yaml begins at the root of data.
*_test.rego is left out. A domain.yaml anywhere below becomes contracts, roles and entity types, and the build fails on
what domain check calls an error. Builtins whose answer would not be OPA's own, or that are not deterministic, fail the
build by name, and so do contracts that would deny everything: with a member or keyword that is misspelt or ill-typed.
What was built is then loaded as the sidecar loads it, and only then put in place of FILE.`,
  examples: [
    "holdpoint policy build policies/ -o bundle.tar.gz --revision $(git rev-parse HEAD)",
    "holdpoint policy build rego/examples/refunds rego/examples/files -o bundle.tar.gz",
    "holdpoint policy build own/ --no-library --entrypoint acme/decision -o bundle.tar.gz",
  ],
  run: async ({ options, words, environment }) => {
    if (options.output === undefined) throw usageError("Expected --output FILE (-o): the bundle to write");
    const out = resolve(options.output);
    checkOutput(out);
    const entrypoint = checkEntrypoint(options.entrypoint);
    const paths = sourcePaths(words, options["no-library"]);
    const opa = opaProgram(options.opa, environment);
    const { revision } = options;
    const settings = { opa, entrypoint, ...(revision === undefined ? {} : { revision }) };
    const { built, warning } = await withDomainData(paths, (sources) =>
      buildAside(out, { ...settings, paths: sources.paths }, sources),
    );
    if (options.json) await writeOut(`${jsonPretty({ bundle: out, entrypoint, ...built })}\n`);
    else await writeOut(`${shown(out)}: ${plural(built.contracts, "contract")}, digest ${built.digest}\n`);
    if (built.contracts === 0 && !options["no-library"])
      await writeError(
        "holdpoint: no contracts in its data (holdpoint.contracts): every action is denied. Is each PATH a root of its own?\n",
      );
    if (warning !== undefined) await writeError(`holdpoint: ${warning}\n`);
    return EXIT.done;
  },
});

/** Before anything is compiled. @throws CommandError */
function checkOutput(out: string): void {
  if (out.endsWith(".wasm")) throw usageError("--output: a bundle is an archive, name it .tar.gz");
  if (existsSync(out) && !statSync(out).isFile()) throw usageError(`--output: ${shown(out)} is no file`);
  try {
    accessSync(dirname(out), constants.W_OK | constants.X_OK);
    if (!statSync(dirname(out)).isDirectory()) throw new Error(`${dirname(out)} is no directory`);
  } catch (thrown) {
    throw usageError(`--output: cannot write there: ${toError(thrown).message}`);
  }
}

/** A sidecar that watches FILE never sees half of it, nor one that does not load. @throws CommandError */
async function buildAside(out: string, build: Build, { placeOf }: DomainSources) {
  const aside = join(dirname(out), `.holdpoint-build-${randomUUID()}.tar.gz`);
  try {
    const built = await buildAndLoad(aside, build);
    const report = await policyReport(aside, build.entrypoint, placeOf);
    if (report.faults.length > 0)
      throw new CommandError("contract_invalid", "Cannot build the bundle: its contracts would deny everything", {
        faults: report.faults,
      });
    renameSync(aside, out);
    return { built, warning: unconsultedWarning(report) };
  } finally {
    rmSync(aside, { force: true });
  }
}
