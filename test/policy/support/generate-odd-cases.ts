/** Operands from grammars that favour odd constructs, as JSON for `input`; the same for the same seed. */
import { seeded } from "./generate-calls.ts";

export interface OddFamily {
  readonly name: string;
  /** A call whose operands are members of `c`. */
  readonly call: string;
  readonly cases: readonly Readonly<Record<string, unknown>>[];
  /** At least this many of the cases are answered, not faults. */
  readonly answeredMin: number;
}

type Random = () => number;

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)]!;
}

function join(random: Random, from: readonly string[], max: number): string {
  return Array.from({ length: Math.floor(random() * (max + 1)) }, () => pick(random, from)).join("");
}

function many<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}

const GLOB_PARTS = "a b c / . ab ba - , * * ** ** ? [ab] [!a] [a-c] [!/] {a,b} {ab,ba} {a*,b} {,a} {a} ** é 日".split(
  " ",
);
const GLOB_ODD = [
  ...GLOB_PARTS,
  ..."*** [ [] [!] [^a] [a-] [b-a] [a-cx] { } ] \\ \\* \\a {a,{b,c}} {é,b} \u0000 \ufffd".split(" "),
];
const GLOB_DELIMITERS = [null, [], ["/"], ["/"], ["."], [":"], ["/", "."], [".", "/"], ["ab"], ["é"], "x"];

function globs(random: Random): OddFamily["cases"] {
  return [
    ...many(12_000, () => ({
      p: join(random, random() < 0.7 ? GLOB_PARTS : GLOB_ODD, 5),
      d: pick(random, GLOB_DELIMITERS),
      t: join(random, ["a", "a", "b", "b", "ab", "/", "/", ".", "c", ...(random() < 0.1 ? ["é", "日", "*"] : [])], 7),
    })),
    { p: "/**/secret", d: ["/"], t: "/secret" },
    { p: "/etc/**/x", d: ["/"], t: "/etc/x" },
    { p: "a/**/b", d: ["/"], t: "a/b" },
    { p: "[!a]", d: ["/"], t: "" },
    { p: "***", d: ["/"], t: "" },
  ];
}

const REGEX_ATOMS =
  "a b c é . ^ $ \\d \\W \\s \\b \\B \\A \\z \\Z \\C \\pL \\PN \\p{L} \\p{^Lu} \\p{Greek} \\p{Letter} \\p{lu} \\p{ASCII} \\p{Script=Greek} \\p{Hex_Digit} \\p{Latn} \\p{Any} \\p{Lt} \\P{Han} \\p \\p{ \\p{} \\x41 \\x{1F600} \\x{110000} \\101 \\1 \\8 \\n \\- \\_ \\é \\E \\Qa.b\\E \\Q* [a-c] [^a-c] [[:alpha:]] [[:^digit:]] [[:nope:]] [\\d-] [a-\\d] [] []a] [^] [b-a] [\\p{Lu}\\pN] [\\b] [\\Qa\\E] ( ) (?: (?i) (?i: (?s-m) (?x) (?=a) (?<=a) (?!a) (?>a) (?P<n> (?<n> (?P<m> (?P<1a> (?P<é> (?P=n) (?P>n) (?# ( ( ) ) ) ) K k ſ s ß İ I \u01c5".split(
    " ",
  );
const REGEX_REPEATS = [
  "",
  "",
  "",
  "",
  "*",
  "+",
  "?",
  "*?",
  "+?",
  "??",
  "{2}",
  "{1,}",
  "{0,2}?",
  "{2,1}",
  "{1001}",
  "{,2}",
  "**",
  "{",
  "}",
  "|",
  "|",
  "++",
];
const REGEX_TEXTS = [
  "a",
  "b",
  "c",
  "ab",
  "é",
  "1",
  " ",
  "\n",
  "A",
  "B",
  "K",
  "k",
  "\u212a",
  "s",
  "\u017f",
  "Ω",
  "ω",
  "日",
  "😀",
  "_",
  "-",
  ".",
  "*",
  "İ",
  "\u01c5",
  "\u019b",
  "\u1c89",
  "\ua7cb",
];

function regexes(random: Random, count: number): OddFamily["cases"] {
  return many(count, () => {
    const parts = many(1 + Math.floor(random() * 4), () => pick(random, REGEX_ATOMS) + pick(random, REGEX_REPEATS));
    const body = parts.join("");
    return { p: random() < 0.4 ? `(${body})` : body, t: join(random, REGEX_TEXTS, 8) };
  });
}

const NAMED = ["Letter", "lu", "ASCII", "Uppercase_Letter", "Script=Greek", "Hex_Digit", "Latn", "Greek", "L", "^Nd"];

function classes(): OddFamily["cases"] {
  const texts = ["a", "A", "1", "α", "\u0295", "\u1c89", ""];
  return [
    ...NAMED.flatMap((name) => texts.map((t) => ({ p: `\\p{${name}}`, t }))),
    ...["a", "b"].map((t) => ({ p: "(?P<n>a)|(?P<n>b)", t })),
  ];
}

const TEMPLATES =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: Go's way to name a group
  "$ $$ $0 $1 $2 $3 $02 $01 $00 $1x $x $n $n1 ${n} ${1} ${01} ${2}x ${ ${} ${n $é ${é} $_ $999999999 $1000000000 $constructor ${toString} a - } é $1\u0661 $\u0661".split(
    " ",
  );

function replacements(random: Random): OddFamily["cases"] {
  const patterns = [
    "(a)(b)?",
    "(?P<n>[ab])",
    "(\\d+)-(\\d+)",
    "(?P<n>a)|(?P<x>b)",
    "x*",
    "(?P<constructor>b)",
    "(?P<_>.)",
  ];
  return many(3000, () => ({
    p: pick(random, patterns),
    t: join(random, ["a", "b", "ab", "12", "-", "é"], 6),
    by: join(random, TEMPLATES, 4),
  }));
}

const LAYOUTS = [
  "RFC822",
  "RFC822Z",
  "RFC850",
  "RFC1123",
  "UnixDate",
  "RubyDate",
  "ANSIC",
  "RFC3339",
  "15:04 MST",
  "MST 2006",
  "2006-01-02MST-07",
];
const ZONES = [
  "UTC",
  "GMT",
  "GMT+3",
  "GMT-12",
  "GMT+24",
  "GMT+003",
  "GMT-0530",
  "MST",
  "CEST",
  "ABCD",
  "ABCDE",
  "ABCDT",
  "ABCDEF",
  "AB",
  "WITA",
  "WITAX",
  "ChST",
  "MeST",
  "Chst",
  "+03",
  "-0700",
  "+5",
  "+23",
  "+24",
  "-00",
  "+0003",
  "+",
  "utc",
  "UTC+1",
  "Z",
  "+07:00",
];

function times(random: Random): OddFamily["cases"] {
  return many(9000, () => {
    const [zone, day, clock] = [
      pick(random, ZONES),
      pick(random, ["3", "03", " 3", "29", "31"]),
      pick(random, ["15:04", "15:04:05", "15:04:05.5", "24:00", "5:04:05"]),
    ];
    const month = pick(random, ["Feb", "feb", "Jun", "02"]);
    const year = pick(random, ["26", "2026", "2024"]);
    const text = pick(random, [
      `${day} ${month} ${year} ${clock} ${zone}`,
      `Tuesday, ${day}-${month}-${year} ${clock} ${zone}`,
      `Tue, ${day} ${month} ${year} ${clock} ${zone}`,
      `Tue ${month} ${day} ${clock} ${zone} ${year}`,
      `${clock} ${zone}`,
      `${zone} ${year}`,
      `${year}-02-${day}${zone}-07`,
      `${year}-02-${day}T${clock}${zone}`,
    ]);
    return { l: pick(random, LAYOUTS), t: text };
  });
}

const INDICES = [
  "0",
  "1",
  "1.0",
  "1.",
  "-0",
  "-0.0",
  "1.00",
  "1.5",
  "+1",
  "1e0",
  "10e-1",
  "2.0",
  "3.0",
  "01",
  "1.0e0",
  "18446744073709551617",
  "0.0",
];

function indices(): OddFamily["cases"] {
  return INDICES.map((i) => ({ i, arr: ["x", "y", ["z", "w"]] }));
}

export function oddFamilies(seed: number): readonly OddFamily[] {
  const random = seeded(seed);
  const matches = [...classes(), ...regexes(random, 12_000)];
  return [
    { name: "glob", call: "glob.match(c.p, c.d, c.t)", cases: globs(random), answeredMin: 6000 },
    { name: "match", call: "regex.match(c.p, c.t)", cases: matches, answeredMin: 6000 },
    { name: "is_valid", call: "regex.is_valid(c.p)", cases: matches, answeredMin: 6000 },
    {
      name: "find",
      call: "regex.find_all_string_submatch_n(c.p, c.t, -1)",
      cases: regexes(random, 4000),
      answeredMin: 2000,
    },
    { name: "split", call: "regex.split(c.p, c.t)", cases: regexes(random, 4000), answeredMin: 2000 },
    { name: "replace", call: "regex.replace(c.t, c.p, c.by)", cases: replacements(random), answeredMin: 3000 },
    { name: "time", call: "time.parse_ns(c.l, c.t)", cases: times(random), answeredMin: 3000 },
    { name: "index", call: "c.arr[to_number(c.i)]", cases: indices(), answeredMin: 16 },
    { name: "nested", call: "c.arr[2][to_number(c.i)]", cases: indices(), answeredMin: 16 },
    { name: "get", call: 'object.get({"a": c.arr}, ["a", to_number(c.i)], "none")', cases: indices(), answeredMin: 16 },
    { name: "walk", call: "count([1 | walk(c)])", cases: indices(), answeredMin: 0 },
    { name: "not_walk", call: "[1 | not walk(c)]", cases: indices(), answeredMin: 0 },
    { name: "pairs", call: "count([1 | walk(c, [_, _])])", cases: indices(), answeredMin: 16 },
  ];
}
