/**
 * Functions of OPA's WASM runtime whose answer is not always OPA's own, each answered by the host's builtin instead.
 * What is not listed here was compared with OPA and agrees (test/policy/opa-conformance.test.ts). Decision record 0002.
 */
import { HOST_BUILTINS, type HostBuiltin } from "./builtins/registry.ts";

export interface NativeOverride {
  /** Name of the runtime's function. */
  readonly native: string;
  readonly arity: number;
  readonly builtin: HostBuiltin;
}

/** The one function through which compiled rules and the runtime walk collections. */
export const ITERATOR = "opa_value_iter";

/** What a rule's reference and the runtime look a key up with; it takes no number that is kept as text for an index. */
export const LOOKUP = "opa_value_get";

/**
 * How rules ask for an array's length: to match it with a pattern, or to know whether a `walk` whose pairs they do not
 * ask for found any. Such a statement is true once here, and once for each pair in OPA.
 */
export const LENGTH = "opa_value_length";

const NATIVES: Readonly<Record<string, string>> = {
  opa_arith_plus: "plus",
  opa_arith_minus: "minus",
  opa_arith_multiply: "mul",
  opa_arith_divide: "div",
  opa_arith_rem: "rem",
  opa_arith_abs: "abs",
  opa_arith_round: "round",
  opa_arith_ceil: "ceil",
  opa_arith_floor: "floor",
  opa_agg_sum: "sum",
  opa_agg_product: "product",
  opa_numbers_range: "numbers.range",
  opa_bits_or: "bits.or",
  opa_bits_and: "bits.and",
  opa_bits_xor: "bits.xor",
  opa_bits_negate: "bits.negate",
  opa_bits_shiftleft: "bits.lsh",
  opa_bits_shiftright: "bits.rsh",
  opa_to_number: "to_number",
  opa_strings_concat: "concat",
  opa_strings_format_int: "format_int",
  opa_strings_indexof: "indexof",
  opa_strings_substring: "substring",
  opa_strings_lower: "lower",
  opa_strings_upper: "upper",
  opa_strings_reverse: "strings.reverse",
  opa_strings_split: "split",
  opa_strings_replace: "replace",
  opa_strings_replace_n: "strings.replace_n",
  opa_strings_trim: "trim",
  opa_strings_trim_left: "trim_left",
  opa_strings_trim_right: "trim_right",
  opa_strings_trim_prefix: "trim_prefix",
  opa_strings_trim_suffix: "trim_suffix",
  opa_strings_trim_space: "trim_space",
  opa_template_string: "internal.template_string",
  opa_json_marshal: "json.marshal",
  opa_json_unmarshal: "json.unmarshal",
  opa_json_is_valid: "json.is_valid",
  builtin_object_union_n: "object.union_n",
  builtin_json_remove: "json.remove",
  builtin_json_filter: "json.filter",
  opa_regex_is_valid: "regex.is_valid",
  opa_regex_match: "regex.match",
  opa_regex_find_all_string_submatch: "regex.find_all_string_submatch_n",
  opa_glob_match: "glob.match",
  opa_cidr_contains: "net.cidr_contains",
  opa_cidr_intersects: "net.cidr_intersects",
  opa_base64_is_valid: "base64.is_valid",
  opa_base64_decode: "base64.decode",
  opa_base64_encode: "base64.encode",
  opa_base64_url_decode: "base64url.decode",
  opa_base64_url_encode: "base64url.encode",
};

export const NATIVE_OVERRIDES: readonly NativeOverride[] = Object.entries(NATIVES).flatMap(([native, name]) => {
  const builtin = HOST_BUILTINS.get(name);
  return builtin === undefined ? [] : [{ native, arity: builtin.arity, builtin }];
});

/**
 * Natives that answer as OPA does and are left as they are, over the iteration above. The comparison that says so is
 * test/policy/builtins.test.ts.
 */
export const NATIVE_BUILTINS: ReadonlySet<string> = new Set([
  "all",
  "and",
  "any",
  "array.concat",
  "array.flatten",
  "array.reverse",
  "array.slice",
  "contains",
  "count",
  "endswith",
  "equal",
  "graph.reachable",
  "gt",
  "gte",
  "internal.member_2",
  "internal.member_3",
  "intersection",
  "is_array",
  "is_boolean",
  "is_null",
  "is_number",
  "is_object",
  "is_set",
  "is_string",
  "lt",
  "lte",
  "max",
  "min",
  "net.cidr_overlap",
  "neq",
  "object.filter",
  "object.get",
  "object.keys",
  "object.remove",
  "object.union",
  "object.union_n",
  "or",
  "re_match",
  "set_diff",
  "sort",
  "startswith",
  "type_name",
  "union",
  "walk",
]);
