/** Where the libraries behind OPA and ours part: generated operands, each answered as OPA answers, or a fault. */
import { beforeAll, expect, test } from "vitest";
import { createWasmHost, type WasmHost } from "../../src/policy/wasm-host.ts";
import { type OddFamily, oddFamilies } from "./support/generate-odd-cases.ts";
import { buildWasm, opaEval } from "./support/opa.ts";

const families = oddFamilies(20_261_121);
const files = Object.fromEntries(
  families.map(({ name, call }) => [
    `${name}.rego`,
    `package odd.${name}\n\none := v if {\n\tc := input\n\tv := ${call}\n}\n\nall[i] := v if {\n\tsome i, c in input.cases\n\tv := ${call}\n}\n`,
  ]),
);
let host: WasmHost;

beforeAll(() => {
  const { wasm, data } = buildWasm(
    files,
    families.map(({ name }) => `odd/${name}/one`),
  );
  host = createWasmHost(wasm, data);
});

function answer({ name }: OddFamily, input: unknown): string | undefined {
  const given = host.evaluate(host.entrypoints.get(`odd/${name}/one`)!, JSON.stringify(input));
  if (given.kind === "fault") return `fault: ${given.message}`;
  return given.kind === "result" ? JSON.stringify(JSON.parse(given.text)) : undefined;
}

test.each(families)("$name: generated operands are answered as OPA does, or fault", (family) => {
  const given = family.cases.map((one) => ({ one, here: answer(family, one) }));
  const faults = given.filter(({ here }) => here?.startsWith("fault: "));
  expect(faults.filter(({ here }) => !here!.includes("not supported")).slice(0, 20)).toEqual([]);
  // OPA is asked for what is answered here only: some of the other globs make it panic.
  const answered = given.filter(({ here }) => here?.startsWith("fault: ") !== true);
  const cases = answered.map(({ one }) => one);
  const wanted = (opaEval(files, `data.odd.${family.name}.all`, { cases }) ?? {}) as Record<string, unknown>;
  const differences = answered.flatMap(({ one, here }, i) => {
    const opa = JSON.stringify(wanted[i]);
    return opa === here ? [] : [`${JSON.stringify(one)}: OPA ${opa}, here ${here}`];
  });
  expect(differences.slice(0, 20)).toEqual([]);
  expect(answered.length).toBeGreaterThanOrEqual(family.answeredMin);
});
