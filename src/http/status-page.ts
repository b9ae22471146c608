/** The status page as HTML: a first look at one sidecar. It works without scripts, and shows its viewer's tenant alone. */
import type { Incident, PolicyStatus, RecentActivity } from "../core/ports.ts";
import type { Mode, Tenant } from "../core/types.ts";
import type { AuthWord } from "./authenticate.ts";
import { type Html, html } from "./html.ts";
import type { Operations, Readiness } from "./operation-routes.ts";
import { type ObservedView, observedSection, type Part, type PendingView, pendingSection } from "./status-approvals.ts";
import { decisionsSection, stoppedNote, sumMinutes } from "./status-chart.ts";
import { ago, momentAndAge } from "./status-times.ts";

export const REFRESH_SECONDS = 10;
const INCIDENTS_SHOWN = 20;

export interface StatusView {
  readonly now: Date;
  readonly issuer: string;
  readonly tenant: Tenant;
  readonly modes: ReturnType<Operations["modes"]>;
  readonly authentication: ReturnType<Operations["authentication"]>;
  readonly policy: PolicyStatus;
  readonly readiness: Readiness;
  readonly activity: RecentActivity;
  readonly pending: Part<PendingView>;
  /** Empty where nothing is observed. */
  readonly observed: Part<readonly ObservedView[]>;
  readonly refreshes: boolean;
}

export function statusPage(view: StatusView): string {
  const { issuer, now, refreshes, activity, pending, observed } = view;
  return documentOf({
    title: `${title(view)} · ${issuer}`,
    refreshes,
    body: html`<a class="skip" href="#main">Skip to content</a>
${topBar(view)}
<main id="main">
${hero(view)}
${banners(view)}
<div class="columns">
<div class="column">
${pendingSection(pending, now)}
${decisionsSection(activity.minutes, now, modeFor(view))}
${observedSection(observed, now)}
${incidentsSection(activity.incidents, now)}
</div>
<div class="column side">
${readinessSection(view.readiness)}
${policySection(view.policy, now)}
${authenticationSection(view.authentication)}
${modesSection(view)}
</div>
</div>
</main>
<footer><p>Holdpoint holds an agent's action until policy, and where policy says so a human, has let it pass. This page shows the
tenant <strong>${view.tenant}</strong>. The same as data: <code>/v1/policy</code>, <code>/v1/approvals</code>,
<code>/v1/observations</code>, <code>/readyz</code>, <code>/metrics</code>.</p></footer>`,
  });
}

/** What a tab shows: how many are waiting. */
function title({ pending }: StatusView): string {
  if (pending.kind === "away" || pending.value.total === 0) return "Status";
  return `(${pending.value.total}) Status`;
}

function documentOf(of: { readonly title: string; readonly refreshes: boolean; readonly body: Html }): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
${of.refreshes ? html`<meta http-equiv="refresh" content="${REFRESH_SECONDS}">` : undefined}
<title>${of.title}</title>
<link rel="icon" href="/status.svg" type="image/svg+xml">
<link rel="stylesheet" href="/status.css"></head>
<body>
${of.body}
</body></html>
`.text;
}

const LOGO = html`<img class="logo" src="/status.svg" alt="" width="24" height="24">`;

function topBar({ now, refreshes }: StatusView): Html {
  const stamp = `${now.toISOString().slice(0, 19)}Z`;
  const pace = refreshes
    ? html`every ${REFRESH_SECONDS} s <a class="button" href="/status?refresh=off">Pause</a>`
    : html`paused <a class="button" href="/status">Resume</a>`;
  return html`<header class="top"><p class="brand">${LOGO}<span>Holdpoint</span></p>
<p class="stamp"><span class="when">As of <time datetime="${stamp}">${stamp}</time>,</span> ${pace}</p></header>`;
}

const modeFor = ({ modes, tenant }: Pick<StatusView, "modes" | "tenant">): Mode =>
  modes.tenants[tenant]?.mode ?? modes.mode;

/** Actions that are told in the line about the mode; all of them stand below. */
const ACTIONS_SAID = 8;

/** Actions whose own mode is not their tenant's. A tenant that is itself set to enforce enforces every action. */
function exceptions({ modes, tenant }: StatusView): string[] {
  if (modes.tenants[tenant]?.mode === "enforce") return [];
  const mode = modeFor({ modes, tenant });
  return Object.entries(modes.actions)
    .filter(([, own]) => own.mode !== mode)
    .map(([name]) => name);
}

function modeMeaning(view: StatusView): Html {
  const names = exceptions(view);
  const more = names.length - ACTIONS_SAID;
  const said = html`${names
    .slice(0, ACTIONS_SAID)
    .map((name, index) => html`${index === 0 ? "" : ", "}<bdi>${name}</bdi>`)}${more > 0 ? ` and ${more} more` : ""}`;
  if (modeFor(view) === "enforce") {
    return names.length === 0
      ? html`What policy does not allow is stopped`
      : html`What policy does not allow is stopped, but only observed for: ${said}`;
  }
  // Policy may make any action stricter, so that "nothing" alone would promise too much.
  return names.length === 0
    ? html`Nothing is blocked, unless policy itself enforces an action: decisions are recorded`
    : html`observe, but enforced for: ${said}. Nothing else is blocked, unless policy itself enforces it`;
}

function hero(view: StatusView): Html {
  const { issuer, readiness, activity, pending, policy, now } = view;
  const decided = sumMinutes(activity.minutes);
  const { allow, compute, escalate, deny } = decided.counts;
  const mode = modeFor(view);
  const isKnown = pending.kind === "known";
  const waiting = isKnown ? pending.value.total : "?";
  const oldest = isKnown ? pending.value.approvals[0] : undefined;
  return html`<div class="hero"><div class="name"><p class="quiet">Sidecar</p><h1>${issuer}</h1></div>
<p class="mode mode-${mode}"><span class="mode-label">Mode</span> <strong>${mode}</strong> <span>${modeMeaning(view)}</span></p></div>
<ul class="tiles">
${tile({ name: "Pending approvals", value: waiting, note: oldest === undefined ? (isKnown ? "nobody waits" : "cannot be read") : `oldest ${ago(oldest.createdAtMs, now)}`, tone: isKnown && waiting === 0 ? "" : "attention" })}
${tile({ name: "Decisions, last hour", value: allow + compute + escalate + deny, note: stoppedNote(decided, mode), tone: "" })}
${tile({ name: "Ready", value: readiness.isReady ? "Yes" : "No", note: readiness.isReady ? "every check is ok" : "see the checks", tone: readiness.isReady ? "good" : "bad" })}
${tile({ name: "Policy", value: policy.active === undefined ? "None" : shortDigest(policy.active.digest), note: policyNote(view), tone: policy.active === undefined || policy.lastError !== undefined ? "bad" : "" })}
</ul>`;
}

function policyNote(view: StatusView): string {
  const { policy, now } = view;
  const { active, lastError } = policy;
  if (active === undefined) return modeFor(view) === "enforce" ? "denies what is enforced" : "would deny everything";
  return lastError === undefined ? `loaded ${ago(active.loadedAt.getTime(), now)}` : "a newer one was refused";
}

function tile(of: {
  readonly name: string;
  readonly value: string | number;
  readonly note: string;
  readonly tone: string;
}): Html {
  return html`<li class="tile ${of.tone}"><span class="tile-name">${of.name}</span> <strong>${of.value}</strong> <span class="quiet">${of.note}</span></li>`;
}

/** "sha256:" and the first twelve digits. */
const shortDigest = (digest: string) => digest.replace("sha256:", "").slice(0, 12);

function banners({ authentication, policy, now }: StatusView): Html {
  const { admins, callers } = authentication;
  const { active, lastError } = policy;
  return html`${
    admins.includes("none")
      ? html`<div class="banner bad" role="note"><p><strong>Reviewers are not authenticated.</strong> Whoever reaches the admin port can
approve anything under any name. Set <code>admin_auth</code> to <code>api_key</code> or <code>jwt</code>; <code>holdpoint api-key</code> makes a key.</p></div>`
      : undefined
  }${
    callers.includes("none")
      ? html`<div class="banner bad" role="note"><p><strong>Callers are not authenticated.</strong> Whoever reaches the decision port is believed
to be the actor it names. Set <code>auth</code>, or keep the port on a socket that only the agent can reach.</p></div>`
      : undefined
  }${
    lastError === undefined
      ? undefined
      : html`<div class="banner warn" role="note"><p><strong>The newest policy was refused</strong> ${momentAndAge(lastError.at.getTime(), now)}:
<code>${lastError.code}</code> ${lastError.message}</p><p>${active === undefined ? "There is none before it, so everything is denied in enforce mode." : "The one before it still decides."}
Mend the bundle where <code>bundle</code> points: a change is picked up by itself, or on SIGHUP. <code>holdpoint policy verify</code> checks one beforehand.</p></div>`
  }`;
}

function sideSection(name: string, body: Html): Html {
  const id = name.toLowerCase().replaceAll(" ", "-");
  return html`<section class="card" aria-labelledby="${id}"><div class="card-head"><h2 id="${id}">${name}</h2></div>${body}</section>`;
}

function readinessSection({ isReady, checks }: Readiness): Html {
  return sideSection(
    "Readiness",
    html`<ul class="checks">${Object.entries(checks).map(
      ([name, said]) =>
        html`<li class="${said === "ok" ? "good" : "bad"}"><span class="check-name">${name}</span> <span class="check-said">${said}</span></li>`,
    )}</ul>
${isReady ? undefined : html`<p class="quiet">While a check fails, <code>/readyz</code> answers 503 and what needs that part is denied.</p>`}`,
  );
}

function policySection({ active, lastError }: PolicyStatus, now: Date): Html {
  if (active === undefined) {
    return sideSection(
      "Policy",
      html`<div class="empty bad"><p><strong>No policy is loaded.</strong> Everything is denied in enforce mode.</p>
<p>${lastError === undefined ? html`Set <code>bundle</code>; <code>holdpoint policy build</code> makes one.` : html`<code>${lastError.code}</code> ${lastError.message}`}</p></div>`,
    );
  }
  const { digest, revision, entrypoint, loadedAt } = active;
  return sideSection(
    "Policy",
    html`<dl class="facts">
<div><dt>Digest</dt><dd><details class="inline"><summary><code title="${digest}">${shortDigest(digest)}…</code></summary><code class="digest">${digest}</code></details></dd></div>
<div><dt>Revision</dt><dd>${revision === "" ? html`<span class="quiet">none in the bundle</span>` : html`<bdi>${revision}</bdi>`}</dd></div>
<div><dt>Rule</dt><dd><code>${entrypoint}</code></dd></div>
<div><dt>Loaded</dt><dd>${momentAndAge(loadedAt.getTime(), now)}</dd></div>
</dl>`,
  );
}

const AUTH_WORDS: Readonly<Record<AuthWord, string>> = { none: "nobody is asked", api_key: "API key", jwt: "JWT" };

function authenticationSection({ callers, admins, metrics }: StatusView["authentication"]): Html {
  const row = (name: string, words: readonly AuthWord[], openTone: string) =>
    html`<div class="${words.includes("none") ? openTone : "good"}"><dt>${name}</dt><dd>${words.map((word) => AUTH_WORDS[word]).join(" or ")}</dd></div>`;
  return sideSection(
    "Authentication",
    html`<dl class="facts toned">${row("Decision port", callers, "bad")}${row("Admin port", admins, "bad")}${row("Metrics", metrics, "")}</dl>`,
  );
}

/** A tenant that is itself set to enforce enforces every action. */
function modesSection(view: StatusView): Html {
  const { modes, tenant } = view;
  const actions = Object.entries(modes.actions);
  const isStrict = modes.tenants[tenant]?.mode === "enforce";
  const relaxes =
    modes.policy_may_observe && !isStrict ? "may relax an action to observe" : "may only make an action stricter";
  const table = html`<div class="scroll"><table class="rows small"><caption class="hidden">Modes of actions</caption>
<thead><tr><th scope="col">Action</th><th scope="col">Mode</th></tr></thead>
<tbody>${actions.map(
    ([name, { mode }]) =>
      html`<tr><th scope="row"><bdi>${name}</bdi></th><td><span class="badge mode-${isStrict ? "enforce" : mode}">${isStrict ? "enforce" : mode}</span></td></tr>`,
  )}</tbody></table></div>`;
  return sideSection(
    "Modes of actions",
    html`${actions.length === 0 ? html`<p class="quiet">Every action has the mode <strong>${modeFor(view)}</strong>. <code>actions</code> in the configuration sets others.</p>` : table}
<p class="quiet">Policy ${relaxes}.</p>`,
  );
}

function incidentsSection(incidents: readonly Incident[], now: Date): Html {
  const shown = incidents.slice(0, INCIDENTS_SHOWN);
  return html`<section class="card" aria-labelledby="errors"><div class="card-head">
<h2 id="errors">Last errors</h2><p class="quiet">since the start, newest first</p></div>
${
  shown.length === 0
    ? html`<div class="empty"><p><strong>No errors since this sidecar started.</strong></p>
<p>Refused policies, failures of store and ledger, and refused credentials appear here; the log has their details.</p></div>`
    : html`<div class="scroll"><table class="rows"><caption class="hidden">Errors, newest first</caption>
<thead><tr><th scope="col">Last</th><th scope="col">Error</th><th scope="col">Times</th></tr></thead>
<tbody>${shown.map((incident) => incidentRow(incident, now))}</tbody></table></div>`
}
</section>`;
}

function incidentRow({ code, message, count, lastMs }: Incident, now: Date): Html {
  return html`<tr><td data-label="Last">${momentAndAge(lastMs, now)}</td>
<th scope="row"><code>${code}</code><br><span class="plain-text">${message}</span></th><td data-label="Times">${count}</td></tr>`;
}

/** What a browser is shown where a problem is answered to a program. */
export function refusedPage(of: {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly traceId: string;
}): string {
  const { heading, body } = refusal(of.status);
  return documentOf({
    title: `${heading} · Holdpoint`,
    refreshes: false,
    body: html`<header class="top"><p class="brand">${LOGO}<span>Holdpoint</span></p></header>
<main class="refused"><div class="card"><p class="quiet">${of.status} · <code>${of.code}</code></p><h1>${heading}</h1>
<p>${of.detail}.</p>${body}
<p class="quiet">Trace <code>${of.traceId}</code></p></div></main>`,
  });
}

function refusal(status: number): { readonly heading: string; readonly body: Html } {
  switch (status) {
    case 401:
      return {
        heading: "Sign in to see this sidecar",
        body: html`<p>Your browser asks for a name and a password: <strong>any name</strong> will do, and the
<strong>password is your API key</strong> (or a JWT, where the sidecar takes them) with the scope <code>review</code> or <code>operate</code>.</p>
<p>No key yet? <code>holdpoint api-key --id YOUR_NAME --scopes review,operate</code> prints one, and the entry for
<code>api_keys</code> in the configuration.</p>
<p><a class="button" href="/status">Try again</a></p>`,
      };
    case 403:
      return {
        heading: "This key is not for this page",
        body: html`<p>It is known, but has neither the scope <code>review</code> nor <code>operate</code>: an agent's key proposes, and does not
look on. Close the browser's window to be asked again, and take another key.</p>`,
      };
    case 429:
      return {
        heading: "Too many refused keys",
        body: html`<p>Wait a few seconds, then <a href="/status">try again</a> with the right one.</p>`,
      };
    default:
      return { heading: "This page cannot be shown", body: html`<p><a href="/status">Try again</a></p>` };
  }
}
