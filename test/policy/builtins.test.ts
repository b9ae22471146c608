/**
 * Every builtin, native and supplied, against the real OPA: one `opa eval` and one module for all calls. Undefined and
 * failing calls are rules without a value in both.
 */
import { expect, test } from "vitest";
import { createWasmHost, type WasmHost } from "../../src/policy/wasm-host.ts";
import { generateCalls } from "./support/generate-calls.ts";
import { buildWasm, checkFiles, opaEval } from "./support/opa.ts";

/** Calls that OPA's compiler refuses are not calls: left out, stage by stage, until it has nothing to say. */
function compilable(calls: readonly string[]): readonly string[] {
  for (;;) {
    const complaint = checkFiles({ "calls.rego": moduleOf(calls) });
    if (complaint === "") return calls;
    const lines = new Set([...complaint.matchAll(/calls\.rego:(\d+)/g)].map((found) => Number(found[1])));
    if (lines.size === 0) throw new Error(complaint);
    calls = calls.filter((_, i) => !lines.has(i + FIRST_LINE));
  }
}

const FIRST_LINE = 3;

function moduleOf(calls: readonly string[]): string {
  return `package calls\n\n${calls.map((call, i) => `r[${i}] := ${call}`).join("\n")}\n`;
}

function groupsOf(calls: readonly string[]): readonly (readonly string[])[] {
  const groups = new Map<string, string[]>();
  for (const call of calls) {
    const name = /^[\w.]+(?=\()/.exec(call)?.[0] ?? "operators";
    groups.set(name, [...(groups.get(name) ?? []), call]);
  }
  return [...groups.values()];
}

/** A module in which each list of calls is a package and an entrypoint of its own. */
function buildGroups(groups: readonly (readonly string[])[]): WasmHost {
  const files = Object.fromEntries(
    groups.map((calls, i) => [`g${i}.rego`, moduleOf(calls).replace("package calls", `package g${i}`)]),
  );
  const { wasm, data } = buildWasm(
    files,
    groups.map((_, i) => `g${i}/r`),
  );
  return createWasmHost(wasm, data);
}

function ask(host: WasmHost, groups: readonly (readonly string[])[]): Map<string, string | undefined> {
  const answers = new Map<string, string | undefined>();
  for (const [i, calls] of groups.entries()) {
    const answer = host.evaluate(host.entrypoints.get(`g${i}/r`)!, "{}");
    const values = answer.kind === "result" ? (JSON.parse(answer.text) as Record<string, unknown>) : {};
    for (const [n, call] of calls.entries())
      answers.set(call, answer.kind === "fault" ? `fault: ${answer.message}` : JSON.stringify(values[n]));
  }
  return answers;
}

/** Where the host says that it cannot know, the evaluation faults, which is a deny; it never answers otherwise than OPA. */
const HONEST_FAULTS =
  /^fault: .*(?:not valid for encoding utf-8|not supported|split characters into bytes|part IPv4, part IPv6|IPv4 with IPv6)/;

test("createWasmHost() answers generated calls of every builtin as OPA does", () => {
  const calls = compilable(generateCalls(20_261_120));
  expect(calls.length).toBeGreaterThan(3000);
  const wanted = opaEval({ "calls.rego": moduleOf(calls) }, "data.calls.r") as Record<string, unknown>;
  const groups = groupsOf(calls);
  const answers = ask(buildGroups(groups), groups);
  const alone = groups
    .filter((group) => answers.get(group[0]!)?.startsWith("fault"))
    .flatMap((group) => group.map((call) => [call]));
  for (const [call, answer] of ask(buildGroups(alone), alone)) answers.set(call, answer);
  const differences = calls.flatMap((call, i) => {
    const [opa, here] = [JSON.stringify(wanted[i]), answers.get(call)];
    return opa === here || HONEST_FAULTS.test(here ?? "") ? [] : [`${call}: OPA ${opa}, here ${here}`];
  });
  if (process.env["SHOW_DIFFERENCES"] !== undefined) console.log(differences.join("\n"));
  expect(differences).toEqual([]);
});
