/** Times on the status page: UTC, with how long ago that is for people. */
import { type Html, html } from "./html.ts";

const UNITS = [
  { name: "d", ms: 86_400_000 },
  { name: "h", ms: 3_600_000 },
  { name: "min", ms: 60_000 },
  { name: "s", ms: 1_000 },
] as const;

/** The two largest units. Never negative: a clock that was stepped back reads as no time at all. */
export function duration(ms: number): string {
  const first = UNITS.findIndex((unit) => ms >= unit.ms);
  if (first === -1) return "0 s";
  const { name, ms: unitMs } = UNITS[first]!;
  const next = UNITS[first + 1];
  const rest = next === undefined ? 0 : Math.floor((ms % unitMs) / next.ms);
  const head = `${Math.floor(ms / unitMs)} ${name}`;
  return rest === 0 ? head : `${head} ${rest} ${next!.name}`;
}

export function ago(thenMs: number, now: Date): string {
  const ms = now.getTime() - thenMs;
  return ms < 1_000 ? "just now" : `${duration(ms)} ago`;
}

export function moment(ms: number): Html {
  const iso = `${new Date(ms).toISOString().slice(0, 19)}Z`;
  return html`<time datetime="${iso}">${iso}</time>`;
}

export function momentAndAge(ms: number, now: Date): Html {
  return html`${moment(ms)} <span class="age">${ago(ms, now)}</span>`;
}
