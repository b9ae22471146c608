/** W3C Trace Context, level 2: section 3.2, traceparent. */

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ALL_ZERO = /^0+$/;

/** The trace id of a valid header; undefined means: start a trace of your own (section 4.3). */
export function parseTraceparent(header: string | undefined): string | undefined {
  const match = header === undefined ? null : TRACEPARENT.exec(header);
  if (match === null) return undefined;
  const [, version, traceId, parentId, , rest] = match;
  const isFuture = version !== "00";
  if (version === "ff" || (!isFuture && rest !== undefined)) return undefined;
  return ALL_ZERO.test(traceId!) || ALL_ZERO.test(parentId!) ? undefined : traceId;
}
