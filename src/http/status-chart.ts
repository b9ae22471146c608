/** Decisions of the last hour: bars for the eye, and the same numbers as tables. */

import type { MinuteCounts } from "../core/ports.ts";
import type { Outcome } from "../core/types.ts";
import { type Html, html } from "./html.ts";
import { moment } from "./status-times.ts";

const MINUTES = 60;
const MINUTE_MS = 60_000;
/** From the bottom of a bar to its top. */
const OUTCOMES = ["allow", "compute", "escalate", "deny"] as const satisfies readonly Outcome[];
const MEANINGS: Readonly<Record<Outcome, string>> = {
  allow: "runs as proposed",
  compute: "runs with arguments of policy's",
  escalate: "waits for a human",
  deny: "does not run",
};
/** Of the drawing, which is stretched to whatever room there is. */
const HEIGHT = 100;
const BAR = 8;
const STEP = 10;

const WINDOWS = [
  { name: "This minute", minutes: 1 },
  { name: "Last 10 min", minutes: 10 },
  { name: "Last 60 min", minutes: MINUTES },
] as const;

type Counts = Readonly<Record<Outcome, number>>;

const totalOf = (counts: Counts) => OUTCOMES.reduce((sum, outcome) => sum + counts[outcome], 0);

export function sumMinutes(minutes: readonly MinuteCounts[]): Counts {
  const sum = { allow: 0, compute: 0, escalate: 0, deny: 0 };
  for (const { counts } of minutes) for (const outcome of OUTCOMES) sum[outcome] += counts[outcome];
  return sum;
}

export function decisionsSection(minutes: readonly MinuteCounts[], now: Date): Html {
  const last = Math.floor(now.getTime() / MINUTE_MS);
  const isShown = ({ startMs, counts }: MinuteCounts) =>
    totalOf(counts) > 0 && startMs / MINUTE_MS <= last && startMs / MINUTE_MS > last - MINUTES;
  const decided = minutes.filter(isShown);
  return html`<section class="card" aria-labelledby="decisions"><div class="card-head">
<h2 id="decisions">Decisions</h2><p class="quiet">per minute, the last 60 minutes</p></div>
${decided.length === 0 ? NOTHING_DECIDED : chart(decided, last)}
</section>`;
}

const NOTHING_DECIDED = html`<div class="empty"><p><strong>Nothing was decided in the last hour.</strong></p>
<p>An agent asks with <code>POST /v1/decisions</code> on the decision port; from the command line,
<code>holdpoint help decide</code> shows how to try a proposal.</p></div>`;

function chart(minutes: readonly MinuteCounts[], last: number): Html {
  const highest = Math.max(...minutes.map(({ counts }) => totalOf(counts)));
  const { allow, compute, escalate, deny } = sumMinutes(minutes);
  return html`<figure class="chart">
<p class="scale" aria-hidden="true"><span>${highest}</span><span>0</span></p>
<svg viewBox="0 0 ${MINUTES * STEP} ${HEIGHT}" preserveAspectRatio="none" role="img"
aria-label="Bars, one for each of the last 60 minutes. Allow ${allow}, compute ${compute}, escalate ${escalate}, deny ${deny}; at most ${highest} in a minute.">
<line class="grid" x1="0" x2="${MINUTES * STEP}" y1="0" y2="0"/><line class="grid" x1="0" x2="${MINUTES * STEP}" y1="50" y2="50"/>
${minutes.map((minute) => bar(minute, last, highest))}<line class="axis" x1="0" x2="${MINUTES * STEP}" y1="${HEIGHT}" y2="${HEIGHT}"/></svg>
<p class="axis-labels" aria-hidden="true"><span>60 min ago</span><span>30 min</span><span>now</span></p>
</figure>
${windowsTable(minutes, last)}
<details><summary>Every minute, as a table</summary>${minutesTable(minutes)}</details>`;
}

function bar({ startMs, counts }: MinuteCounts, last: number, highest: number): Html {
  const x = (MINUTES - 1 - (last - startMs / MINUTE_MS)) * STEP + 1;
  let top = HEIGHT;
  const parts = OUTCOMES.filter((outcome) => counts[outcome] > 0).map((outcome) => {
    const height = (counts[outcome] / highest) * HEIGHT;
    top -= height;
    return html`<rect class="fill-${outcome}" x="${x}" y="${top.toFixed(2)}" width="${BAR}" height="${height.toFixed(2)}"/>`;
  });
  const said = OUTCOMES.filter((outcome) => counts[outcome] > 0).map((outcome) => `${counts[outcome]} ${outcome}`);
  return html`<g><title>${clock(startMs)}: ${said.join(", ")}</title>${parts}</g>`;
}

const clock = (ms: number) => new Date(ms).toISOString().slice(11, 16);

function windowsTable(minutes: readonly MinuteCounts[], last: number): Html {
  const sums = WINDOWS.map((window) =>
    sumMinutes(minutes.filter(({ startMs }) => startMs / MINUTE_MS > last - window.minutes)),
  );
  return html`<div class="scroll"><table class="numbers"><caption class="hidden">Decisions by outcome</caption>
<thead><tr><th scope="col">Outcome</th>${WINDOWS.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${OUTCOMES.map(
    (
      outcome,
    ) => html`<tr><th scope="row"><span class="outcome"><span class="swatch bg-${outcome}"></span>${outcome}</span> <span class="quiet">${MEANINGS[outcome]}</span></th>
${sums.map((sum) => html`<td>${sum[outcome]}</td>`)}</tr>`,
  )}</tbody>
<tfoot><tr><th scope="row">all</th>${sums.map((sum) => html`<td>${totalOf(sum)}</td>`)}</tr></tfoot></table></div>`;
}

function minutesTable(minutes: readonly MinuteCounts[]): Html {
  return html`<div class="scroll"><table class="numbers"><caption class="quiet">Minutes in which something was decided, newest first</caption>
<thead><tr><th scope="col">Minute</th>${OUTCOMES.map((outcome) => html`<th scope="col">${outcome}</th>`)}</tr></thead>
<tbody>${[...minutes]
    .reverse()
    .map(
      ({ startMs, counts }) =>
        html`<tr><th scope="row">${moment(startMs)}</th>${OUTCOMES.map((outcome) => html`<td>${counts[outcome]}</td>`)}</tr>`,
    )}</tbody></table></div>`;
}
