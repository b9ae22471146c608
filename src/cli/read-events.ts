/** Events out of a file: one, a list, or one a line. Read as strictly as the sidecar reads, so that none is altered. */
import { isUtf8 } from "node:buffer";
import { InvalidRequestError } from "../core/errors.ts";
import { type Reading, readJson } from "../core/read-json.ts";
import type { Json, JsonObject } from "../core/types.ts";
import { CommandError, EXIT } from "./command.ts";

export interface FileEvent {
  readonly value: Json;
  /** `event 3` of a list, `line 7` of a file with one a line. */
  readonly place: string;
}

interface Source {
  /** What to call it. */
  readonly name: string;
  readonly depthMax: number;
}

/** A list in an object around the event. */
const OUTER_DEPTH = 2;

/** @throws CommandError that names the place */
export function readEvents(bytes: Buffer, source: Source): readonly FileEvent[] {
  // Decoded leniently it would be sent with other characters than it has.
  if (!isUtf8(bytes))
    throw new CommandError("ill_formed_unicode", `${source.name} is not UTF-8`, { exitCode: EXIT.usage });
  const text = bytes.toString("utf8");
  if (text.trim() === "") return [];
  if (isLines(text)) return readLines(text, source);
  const { value } = readText(bytes, source, source.name);
  const list = listIn(value);
  if (list === undefined) return [{ value, place: "the event" }];
  return list.map((one, index) => ({ value: one, place: `event ${index + 1}` }));
}

/** Several objects one below the other: the first line is one, and more follows. */
function isLines(text: string): boolean {
  const [first = "", ...rest] = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (rest.length === 0 || !first.trimStart().startsWith("{")) return false;
  try {
    JSON.parse(first);
    return true;
  } catch {
    return false;
  }
}

function readLines(text: string, source: Source): FileEvent[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    if (line.trim() === "") return [];
    const place = `line ${index + 1}`;
    return [{ value: readText(line, source, `${source.name}, ${place}`).value, place }];
  });
}

/** `{"events": […]}` is what the sidecar takes, too. */
function listIn(value: Json): readonly Json[] | undefined {
  if (Array.isArray(value)) return value as readonly Json[];
  const { events, ...others } = (typeof value === "object" && value !== null ? value : {}) as JsonObject;
  return Array.isArray(events) && Object.keys(others).length === 0 ? (events as readonly Json[]) : undefined;
}

function readText(text: Buffer | string, { depthMax }: Source, where: string): Reading {
  try {
    return readJson(text, { bytesMax: Number.POSITIVE_INFINITY, depthMax: depthMax + OUTER_DEPTH });
  } catch (thrown) {
    if (!(thrown instanceof InvalidRequestError)) throw thrown;
    const at = thrown.pointer === undefined || thrown.pointer === "" ? "" : ` at ${thrown.pointer}`;
    throw new CommandError(thrown.code, `${where}${at}: ${thrown.message}`, { exitCode: EXIT.usage });
  }
}
