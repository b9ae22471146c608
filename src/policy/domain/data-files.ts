/** What data files beside a domain set under `holdpoint`: the same contract or type twice is nobody's intention. */

import { toError } from "../../core/errors.ts";
import { readJson } from "../../core/read-json.ts";
import type { Findings, Position } from "./finding.ts";
import { type Located, type LocatedMap, type LocatedMember, locatedAt } from "./located.ts";
import { decoded } from "./read-domain.ts";
import { readLocatedYaml } from "./read-located-yaml.ts";

/** Larger ones are lists of something, and may lie elsewhere. */
export const DATA_BYTES_MAX = 16 << 20;

const START: Position = { line: 1, column: 1 };
export const SECTIONS = ["contracts", "entities", "roles"] as const;
export type Section = (typeof SECTIONS)[number];

/** The members that a data file sets in each section. Empty where it has nothing of ours. */
export function readDataFile(
  bytes: Uint8Array,
  prefix: readonly string[],
  findings: Findings,
): ReadonlyMap<Section, ReadonlyMap<string, LocatedMember>> {
  // Most data is about something else, and is not parsed for it.
  const isOurs = prefix[0] === "holdpoint" || (prefix.length === 0 && Buffer.from(bytes).includes("holdpoint"));
  if (!isOurs) return new Map();
  const root = readValue(bytes, findings);
  if (root === undefined) return new Map();
  return new Map(
    SECTIONS.flatMap((section): [Section, ReadonlyMap<string, LocatedMember>][] => {
      const found = sectionOf(root, prefix, section);
      return found === undefined ? [] : [[section, found]];
    }),
  );
}

function readValue(bytes: Uint8Array, findings: Findings): Located | undefined {
  if (bytes.length > DATA_BYTES_MAX) {
    findings.error(START, `expected at most ${DATA_BYTES_MAX} bytes of data that sets members of holdpoint`);
    return undefined;
  }
  if (findings.file.endsWith(".json")) return readJsonData(bytes, findings);
  const text = decoded(bytes);
  if (text === undefined) findings.error(START, "expected UTF-8");
  return text === undefined ? undefined : readLocatedYaml(text, findings);
}

function readJsonData(bytes: Uint8Array, findings: Findings): Located | undefined {
  try {
    return locatedAt(START, readJson(bytes, { bytesMax: DATA_BYTES_MAX, depthMax: 256 }).value);
  } catch (thrown) {
    findings.error(START, toError(thrown).message);
    return undefined;
  }
}

/** A file in holdpoint/contracts/PING holds what is below that name. */
function sectionOf(
  root: Located,
  prefix: readonly string[],
  section: Section,
): ReadonlyMap<string, LocatedMember> | undefined {
  const path = ["holdpoint", section];
  if (!path.every((step, index) => prefix.length <= index || prefix[index] === step)) return undefined;
  if (prefix.length > path.length)
    return new Map([[prefix[path.length]!, nested(root, prefix.slice(path.length + 1))]]);
  let current: Located | undefined = root;
  for (const step of path.slice(prefix.length))
    current = current?.kind === "map" ? current.members.get(step)?.value : undefined;
  return current?.kind === "map" ? current.members : undefined;
}

function nested(root: Located, prefix: readonly string[]): LocatedMember {
  const value = prefix.reduceRight<Located>(
    (inner, name): LocatedMap => ({
      kind: "map",
      at: inner.at,
      members: new Map([[name, { at: inner.at, value: inner }]]),
    }),
    root,
  );
  return { at: root.at, value };
}
