/** `holdpoint policy test`: the tests beside the sources, by `opa test`, with the shipped library. */
import { DOMAINS_IGNORED } from "../../policy/build-bundle.ts";
import { runOpa } from "../../policy/run-opa.ts";
import { defineCommand, EXIT } from "../command.ts";
import { withDomainData } from "../domain-data.ts";
import { opaProgram, SOURCE_OPTIONS, testPaths } from "../opa-sources.ts";
import { shownLines } from "../terminal.ts";
import { writeError, writeOut } from "../write-out.ts";

export const policyTestCommand = defineCommand({
  name: "policy test",
  words: { usage: "PATH...", min: 1, max: 1_000 },
  options: {
    run: { kind: "text", value: "PATTERN", meaning: "Only tests whose name matches this regular expression" },
    verbose: { kind: "flag", meaning: "Name every test, not only those that fail" },
    opa: SOURCE_OPTIONS.opa,
    "no-library": SOURCE_OPTIONS["no-library"],
    json: { kind: "flag", meaning: "The document that opa test writes" },
  },
  details: `Runs opa test on the sources, the *_test.rego among them, and the shipped library without its own tests. Each PATH
is a file, or a directory that is a root of its own, as for policy build. Exit code 1 where a test fails, nothing
compiles, or there is no test.`,
  examples: [
    "holdpoint policy test policies/",
    "holdpoint policy test policies/ --run 'refunds.*above' --verbose",
    "holdpoint policy test policies/ --json | jq -r '.[] | select(.fail) | .name'",
  ],
  run: async ({ options, words, environment }) => {
    const paths = testPaths(words, options["no-library"]);
    const asked = [
      ...(options.run === undefined ? [] : ["--run", options.run]),
      ...(options.verbose ? ["--verbose"] : []),
      ...(options.json ? ["--format", "json"] : []),
    ];
    const opa = opaProgram(options.opa, environment);
    const { status, stdout, stderr } = await withDomainData(paths, (sources) =>
      runOpa(opa, ["test", "--fail-on-empty", ...DOMAINS_IGNORED, ...asked, "--", ...sources.paths]),
    );
    await writeOut(shownLines(stdout));
    await writeError(shownLines(stderr));
    return status === 0 ? EXIT.done : EXIT.failed;
  },
});
