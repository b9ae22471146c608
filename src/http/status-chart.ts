/** Decisions of the last hour: bars for the eye, and the same numbers as tables. */

import type { MinuteCounts } from "../core/ports.ts";
import type { Mode, Outcome } from "../core/types.ts";
import { type Html, html } from "./html.ts";
import { moment } from "./status-times.ts";

const MINUTES = 60;
const MINUTE_MS = 60_000;
const OUTCOMES = ["allow", "compute", "escalate", "deny"] as const satisfies readonly Outcome[];
/** Lines of the table, and parts of a bar from its bottom: what was enforced, and what observe mode let pass as it was proposed. */
const LINES: readonly {
  readonly outcome: Outcome;
  readonly mode: Mode | undefined;
  readonly name: string;
  readonly meaning: string;
}[] = [
  { outcome: "allow", mode: undefined, name: "allow", meaning: "runs as proposed" },
  { outcome: "compute", mode: "enforce", name: "compute", meaning: "runs with arguments of policy's" },
  { outcome: "compute", mode: "observe", name: "would be computed", meaning: "ran as proposed" },
  { outcome: "escalate", mode: "enforce", name: "escalate", meaning: "waits for a human" },
  { outcome: "escalate", mode: "observe", name: "would be escalated", meaning: "ran, and nobody was asked" },
  { outcome: "deny", mode: "enforce", name: "deny", meaning: "does not run" },
  { outcome: "deny", mode: "observe", name: "would be denied", meaning: "ran all the same" },
];
type Line = (typeof LINES)[number];
/** Of the drawing, which is stretched to whatever room there is. */
const HEIGHT = 100;
const BAR = 8;
const STEP = 10;

const WINDOWS = [
  { name: "This minute", minutes: 1 },
  { name: "Last 10 min", minutes: 10 },
  { name: "Last 60 min", minutes: MINUTES },
] as const;

export type Counts = Omit<MinuteCounts, "startMs">;

const totalOf = ({ counts }: Counts) => OUTCOMES.reduce((sum, outcome) => sum + counts[outcome], 0);

function countOf({ counts, observed }: Counts, { outcome, mode }: Line): number {
  if (mode === undefined) return counts[outcome];
  return mode === "observe" ? observed[outcome] : counts[outcome] - observed[outcome];
}

/** "3 deny, 15 would be denied": what there is any of. */
const said = (counts: Counts, lines: readonly Line[]) =>
  lines.filter((line) => countOf(counts, line) > 0).map((line) => `${countOf(counts, line)} ${line.name}`);

export function sumMinutes(minutes: readonly MinuteCounts[]): Counts {
  const sum = {
    counts: { allow: 0, compute: 0, escalate: 0, deny: 0 },
    observed: { allow: 0, compute: 0, escalate: 0, deny: 0 },
  };
  for (const { counts, observed } of minutes)
    for (const outcome of OUTCOMES) {
      sum.counts[outcome] += counts[outcome];
      sum.observed[outcome] += observed[outcome];
    }
  return sum;
}

/** What was stopped, and what would have been: "3 denied, 1 escalated; would be denied: 15". */
export function stoppedNote({ counts, observed }: Counts, mode: Mode): string {
  const deny = counts.deny - observed.deny;
  const escalate = counts.escalate - observed.escalate;
  const isObserving = mode === "observe" || observed.deny + observed.escalate > 0;
  const notes = [
    ...(mode === "enforce" || deny + escalate > 0 ? [`${deny} denied, ${escalate} escalated`] : []),
    ...(isObserving ? [`${observed.deny} would be denied, ${observed.escalate} escalated`] : []),
  ];
  return notes.join("; ");
}

/** @param mode of what nothing has been decided of: which lines stand there with a zero */
export function decisionsSection(minutes: readonly MinuteCounts[], now: Date, mode: Mode): Html {
  const last = Math.floor(now.getTime() / MINUTE_MS);
  const isShown = (minute: MinuteCounts) =>
    totalOf(minute) > 0 && minute.startMs / MINUTE_MS <= last && minute.startMs / MINUTE_MS > last - MINUTES;
  const decided = minutes.filter(isShown);
  return html`<section class="card" aria-labelledby="decisions"><div class="card-head">
<h2 id="decisions">Decisions</h2><p class="quiet">per minute, the last 60 minutes</p></div>
${decided.length === 0 ? NOTHING_DECIDED : chart(decided, last, mode)}
</section>`;
}

const NOTHING_DECIDED = html`<div class="empty"><p><strong>Nothing was decided in the last hour.</strong></p>
<p>An agent asks with <code>POST /v1/decisions</code> on the decision port; from the command line,
<code>holdpoint help decide</code> shows how to try a proposal.</p></div>`;

function chart(minutes: readonly MinuteCounts[], last: number, mode: Mode): Html {
  const highest = Math.max(...minutes.map(totalOf));
  const sum = sumMinutes(minutes);
  const { allow, compute, escalate, deny } = sum.counts;
  const lines = LINES.filter(
    (line) => countOf(sum, line) > 0 || (sum.counts[line.outcome] === 0 && (line.mode ?? mode) === mode),
  );
  const observed = said(
    sum,
    LINES.filter((line) => line.mode === "observe"),
  );
  return html`<figure class="chart">
<p class="scale" aria-hidden="true"><span>${highest}</span><span>0</span></p>
<svg viewBox="0 0 ${MINUTES * STEP} ${HEIGHT}" preserveAspectRatio="none" role="img"
aria-label="Bars, one for each of the last 60 minutes. Allow ${allow}, compute ${compute}, escalate ${escalate}, deny ${deny}; ${observed.length === 0 ? "" : `${observed.join(", ")}; `}at most ${highest} in a minute.">
<line class="grid" x1="0" x2="${MINUTES * STEP}" y1="0" y2="0"/><line class="grid" x1="0" x2="${MINUTES * STEP}" y1="50" y2="50"/>
${minutes.map((minute) => bar(minute, last, highest))}<line class="axis" x1="0" x2="${MINUTES * STEP}" y1="${HEIGHT}" y2="${HEIGHT}"/></svg>
<p class="axis-labels" aria-hidden="true"><span>60 min ago</span><span>30 min</span><span>now</span></p>
</figure>
${windowsTable(minutes, last, lines)}
<details><summary>Every minute, as a table</summary>${minutesTable(minutes, lines)}</details>`;
}

function bar(minute: MinuteCounts, last: number, highest: number): Html {
  const { startMs } = minute;
  const x = (MINUTES - 1 - (last - startMs / MINUTE_MS)) * STEP + 1;
  let top = HEIGHT;
  const parts = LINES.filter((line) => countOf(minute, line) > 0).map((line) => {
    const height = (countOf(minute, line) / highest) * HEIGHT;
    top -= height;
    return html`<rect class="fill-${line.outcome}${line.mode === "observe" ? " observed" : ""}" x="${x}" y="${top.toFixed(2)}" width="${BAR}" height="${height.toFixed(2)}"/>`;
  });
  return html`<g><title>${clock(startMs)}: ${said(minute, LINES).join(", ")}</title>${parts}</g>`;
}

const clock = (ms: number) => new Date(ms).toISOString().slice(11, 16);

function windowsTable(minutes: readonly MinuteCounts[], last: number, lines: readonly Line[]): Html {
  const sums = WINDOWS.map((window) =>
    sumMinutes(minutes.filter(({ startMs }) => startMs / MINUTE_MS > last - window.minutes)),
  );
  return html`<div class="scroll"><table class="numbers"><caption class="hidden">Decisions by outcome</caption>
<thead><tr><th scope="col">Outcome</th>${WINDOWS.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${lines.map(
    (
      line,
    ) => html`<tr><th scope="row"><span class="outcome"><span class="swatch bg-${line.outcome}"></span>${line.name}</span> <span class="quiet">${line.meaning}</span></th>
${sums.map((sum) => html`<td>${countOf(sum, line)}</td>`)}</tr>`,
  )}</tbody>
<tfoot><tr><th scope="row">all</th>${sums.map((sum) => html`<td>${totalOf(sum)}</td>`)}</tr></tfoot></table></div>`;
}

function minutesTable(minutes: readonly MinuteCounts[], lines: readonly Line[]): Html {
  return html`<div class="scroll"><table class="numbers"><caption class="quiet">Minutes in which something was decided, newest first</caption>
<thead><tr><th scope="col">Minute</th>${lines.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${[...minutes]
    .reverse()
    .map(
      (minute) =>
        html`<tr><th scope="row">${moment(minute.startMs)}</th>${lines.map((line) => html`<td>${countOf(minute, line)}</td>`)}</tr>`,
    )}</tbody></table></div>`;
}
