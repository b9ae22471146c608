import { expect, test } from "vitest";
import { type Capabilities, deriveCapabilities } from "../../src/policy/derive-capabilities.ts";
import { CAPABILITIES, readText, runOpa } from "./support/opa.ts";

test("rego/capabilities.json is what deriveCapabilities() makes of the pinned OPA's own", () => {
  const current = JSON.parse(runOpa(["capabilities", "--current"]).stdout) as Capabilities;
  expect(JSON.parse(readText(CAPABILITIES))).toEqual(deriveCapabilities(current));
});

test("deriveCapabilities() leaves out everything that is not deterministic", () => {
  const { builtins } = JSON.parse(readText(CAPABILITIES)) as Capabilities;
  const names = builtins.map((builtin) => builtin.name);
  for (const name of [
    "time.now_ns",
    "rand.intn",
    "uuid.rfc4122",
    "http.send",
    "opa.runtime",
    "net.lookup_ip_addr",
    "io.jwt.encode_sign",
    "io.jwt.decode_verify",
  ]) {
    expect(names).not.toContain(name);
  }
});
