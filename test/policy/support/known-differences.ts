/** OPA's conformance cases that this host does not answer as OPA's interpreter does, each with its reason. */
export const KNOWN_DIFFERENCES: Readonly<Record<string, string>> = {
  "aggregates/count with invalid utf-8 chars (0xFFFD)": "bytes that are not UTF-8 fault",
  "baseandvirtualdocs/enumerate virtual errors":
    "wants strict builtin errors; a division by zero is undefined here, as in opa eval",
  "data/nested integer":
    "OPA's own exception for WASM: a number for a key of base data that is a string (decision record 0002)",
  "data/toplevel integer":
    "OPA's own exception for WASM: a number for a key of base data that is a string (decision record 0002)",
  "every/domain undefined (input)": "wants no input at all; a decision always has one",
  "globmatch/glob match with pattern-alternatives list (bat)":
    "a character class within alternatives faults (decision record 0002)",
  "globmatch/glob match with pattern-alternatives list (cat)":
    "a character class within alternatives faults (decision record 0002)",
  "globmatch/glob match with pattern-alternatives list (fat)":
    "a character class within alternatives faults (decision record 0002)",
  "globmatch/glob match with pattern-alternatives list (rat)":
    "a character class within alternatives faults (decision record 0002)",
  "globmatch/glob no match with pattern-alternatives list":
    "a character class within alternatives faults (decision record 0002)",
  "inputvalues/loopback undefined": "wants no input at all; a decision always has one",
  "netcidrmerge/cidr IPv4 and IPv6": "IPv4 and IPv6 together fault",
  "reachable_paths/arrays": "input is not JSON but a Rego term; the same graphs are in builtins.test.ts",
  "reachable_paths/components": "input is not JSON but a Rego term; the same graphs are in builtins.test.ts",
  "reachable_paths/cycle": "input is not JSON but a Rego term; the same graphs are in builtins.test.ts",
  "reachable_paths/cycle_1022_1": "input is not JSON but a Rego term; the same graphs are in builtins.test.ts",
  "reachable_paths/cycle_1022_2": "input is not JSON but a Rego term; the same graphs are in builtins.test.ts",
  "reachable_paths/cycle_1022_3": "input is not JSON but a Rego term; the same graphs are in builtins.test.ts",
  "reachable_paths/invalid_end": "input is not JSON but a Rego term; the same graphs are in builtins.test.ts",
  "reachable_paths/multiple_paths": "input is not JSON but a Rego term; the same graphs are in builtins.test.ts",
  "regometadatachain/package spanning modules": "the answer shows the package, which this test renames",
  "regometadatachain/rule mixed scope": "the answer shows the package, which this test renames",
  "regometadatachain/simple": "the answer shows the package, which this test renames",
  "virtualdocs/undefined: in array coprehension body": "wants no input at all; a decision always has one",
  "virtualdocs/undefined: in array literal": "wants no input at all; a decision always has one",
  "virtualdocs/undefined: in set coprehension body": "wants no input at all; a decision always has one",
  "virtualdocs/undefined: in set literal": "wants no input at all; a decision always has one",
  "withkeyword/builtin-builtin: arity 0": "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin-value: arity-0": "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin-value: arity-0, captured output":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin-value: arity-0, false":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin-value: arity-0, var": "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin-value: arity-1, input must still be defined": "wants no input at all; a decision always has one",
  "withkeyword/builtin: direct call, arity 0":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin: direct call, arity 0, rule replacement":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin: http.send example": "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin: indirect call through function":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin: indirect call through function, query package":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin: indirect call through function, rule with and without mock":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin: indirect call, arity 0":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin: indirect call, arity 0, query package":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin: indirect call, arity 0, rule queried with and without mock":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
  "withkeyword/builtin: nested, multiple mocks":
    "replaces a builtin that is refused (opa.runtime, time.now_ns, http.send)",
};
