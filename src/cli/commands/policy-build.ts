/** `holdpoint policy build`: Rego and data become a bundle that is known to load. */
import { randomUUID } from "node:crypto";
import { accessSync, constants, existsSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { toError } from "../../core/errors.ts";
import { type Build, buildAndLoad } from "../build-and-load.ts";
import { defineCommand, EXIT, JSON_OPTION, usageError } from "../command.ts";
import { checkEntrypoint, opaProgram, SOURCE_OPTIONS, sourcePaths } from "../opa-sources.ts";
import { jsonPretty, plural, shown } from "../terminal.ts";
import { writeError, writeOut } from "../write-out.ts";

export const policyBuildCommand = defineCommand({
  name: "policy build",
  words: { usage: "PATH...", min: 1, max: 1_000 },
  options: {
    output: { kind: "text", value: "FILE", short: "o", meaning: "The bundle to write, a .tar.gz (bundle.tar.gz)" },
    revision: { kind: "text", value: "TEXT", meaning: "Revision for the bundle's manifest, such as a commit" },
    ...SOURCE_OPTIONS,
    ...JSON_OPTION,
  },
  details: `Each PATH is a file, or a directory that is a root of its own: its data.yaml begins at the root of data.
*_test.rego is left out. Builtins whose answer would not be OPA's own, or that are not deterministic, fail the build by
name; what was built is then loaded as the sidecar loads it, and only then put in place of FILE.`,
  examples: [
    "holdpoint policy build policies/ -o bundle.tar.gz --revision $(git rev-parse HEAD)",
    "holdpoint policy build rego/examples/refunds rego/examples/files -o bundle.tar.gz",
    "holdpoint policy build own/ --no-library --entrypoint acme/decision -o bundle.tar.gz",
  ],
  run: async ({ options, words, environment }) => {
    const out = resolve(options.output ?? "bundle.tar.gz");
    checkOutput(out);
    const entrypoint = checkEntrypoint(options.entrypoint);
    const paths = sourcePaths(words, options["no-library"]);
    const opa = opaProgram(options.opa, environment);
    const { revision } = options;
    const built = await buildAside(out, { opa, entrypoint, paths, ...(revision === undefined ? {} : { revision }) });
    if (options.json) await writeOut(`${jsonPretty({ bundle: out, entrypoint, ...built })}\n`);
    else await writeOut(`${shown(out)}: ${plural(built.contracts, "contract")}, digest ${built.digest}\n`);
    if (built.contracts === 0 && !options["no-library"])
      await writeError(
        "holdpoint: no contracts in its data (holdpoint.contracts): every action is denied. Is each PATH a root of its own?\n",
      );
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

/** A sidecar that watches FILE never sees half of it, nor one that does not load. */
async function buildAside(out: string, build: Build) {
  const aside = join(dirname(out), `.holdpoint-build-${randomUUID()}.tar.gz`);
  try {
    const facts = await buildAndLoad(aside, build);
    renameSync(aside, out);
    return facts;
  } finally {
    rmSync(aside, { force: true });
  }
}
