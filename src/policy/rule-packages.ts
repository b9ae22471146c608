/** Which packages of a bundle the decision consults, by the Rego that the bundle was compiled from. */

export interface RulePackages {
  /** `holdpoint.rules.<name>` and deeper. */
  readonly rules: readonly string[];
  /** Compiled in, and referred to by nothing that decides. */
  readonly unconsulted: readonly string[];
}

const RULES = "holdpoint.rules.";

/** @param root package of the entrypoint; where it is not among the texts nothing is said to be unconsulted */
export function rulePackages(rego: readonly string[], root: string): RulePackages {
  const modules = rego.flatMap((text) => {
    const bare = text.replace(/^\s*#.*$/gm, "");
    const name = /^\s*package\s+(\S+)/m.exec(bare)?.[1];
    return name === undefined ? [] : [{ name, references: referencesIn(bare) }];
  });
  const names = [...new Set(modules.map(({ name }) => name))].sort();
  const consulted = new Set(names.filter((name) => name === root));
  const rules = names.filter((name) => name.startsWith(RULES));
  if (consulted.size === 0) return { rules, unconsulted: [] };
  for (const name of consulted) {
    const references = modules.filter((module) => module.name === name).flatMap((module) => module.references);
    // A set that grows is walked to its end, what was added meanwhile included.
    for (const other of names) if (references.some((one) => refersTo(one, other))) consulted.add(other);
  }
  return { rules, unconsulted: names.filter((name) => !consulted.has(name)) };
}

/** Part of a path; null for one that is a variable. */
type Reference = readonly (string | null)[];

function referencesIn(text: string): Reference[] {
  return [...text.matchAll(/\bdata((?:\.\w+|\["[^"\n]*"\]|\[\w+\])+)/g)].map((match) =>
    [...match[1]!.matchAll(/\.(\w+)|\["([^"\n]*)"\]|\[\w+\]/g)].map((part) => part[1] ?? part[2] ?? null),
  );
}

/** `data.a.b.rule` refers to the package a.b, and so does `import data.a`, through which its rules are named. */
function refersTo(reference: Reference, name: string): boolean {
  const parts = name.split(".");
  return parts.slice(0, reference.length).every((part, index) => [part, null].includes(reference[index]!));
}
