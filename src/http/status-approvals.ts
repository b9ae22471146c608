/** What waits for a reviewer, and what observe mode let pass: each with exactly what it is about. */
import type { Approval } from "../core/ports.ts";
import type { ActorRef, EntityRef, Json, JsonObject, Reason } from "../core/types.ts";
import { type Html, type HtmlValue, html } from "./html.ts";
import { layOutJson } from "./lay-out-json.ts";
import { ago, duration, moment } from "./status-times.ts";

/** Bytes of JSON that are shown at once; longer ones are opened by whoever reads them. */
const OPEN_BYTES_MAX = 2_000;
/** Approvals that stand there in full; those behind them are opened one by one. */
const OPEN_APPROVALS = 3;
/**
 * Characters of JSON as HTML on one page, small ones aside: every viewer asks for the page again and again, and a control
 * character of two bytes is written with some forty.
 */
const PAGE_CHARS_MAX = 1024 * 1024;
/** How much longer JSON may become by being laid out. */
const GROWTH_MAX = 16;

export interface PendingView {
  /** Whether reviewers show a credential; else the command line has to say who they are. */
  readonly isAuthenticated: boolean;
  /** Oldest first. */
  readonly approvals: readonly Approval[];
  readonly total: number;
}

/** Something that could not be read says so in its place; the rest of the page stands. */
export type Part<T> =
  | { readonly kind: "known"; readonly value: T }
  | { readonly kind: "away"; readonly message: string };

/** What is left of the page for long JSON. */
interface Room {
  chars: number;
}

export function pendingSection(pending: Part<PendingView>, now: Date): Html {
  return html`<section class="card" aria-labelledby="pending"><div class="card-head">
<h2 id="pending">Pending approvals${pending.kind === "known" ? html` <span class="count">${pending.value.total}</span>` : undefined}</h2>
<p class="quiet">oldest first</p></div>
${pending.kind === "away" ? away(pending.message) : pendingList(pending.value, now)}
</section>`;
}

function away(message: string): Html {
  return html`<div class="empty bad"><p><strong>Cannot be read at this moment.</strong></p><p>${message}</p>
<p>Nothing can be approved until then, and silence grants nothing. Look at <code>store</code> in the configuration.</p></div>`;
}

function pendingList({ approvals, total, isAuthenticated }: PendingView, now: Date): Html {
  if (approvals.length === 0) {
    return html`<div class="empty"><p><strong>Nobody is waiting for you.</strong></p>
<p>What policy escalates appears here, with its exact arguments. To see one, propose something that a human has to decide:
<code>holdpoint help decide</code>.</p></div>`;
  }
  const room: Room = { chars: PAGE_CHARS_MAX };
  const more = total - approvals.length;
  const asWhom = ({ rule }: Approval) => (isAuthenticated ? "" : ` --as YOUR_NAME --role ${roleWord(rule.roles)}`);
  const article = (approval: Approval, index: number) =>
    approvalArticle(approval, { index, now, room, asWhom: asWhom(approval) });
  return html`${approvals.map((approval, index) => (index < OPEN_APPROVALS ? article(approval, index) : folded(approval, now, article(approval, index))))}
${more <= 0 ? undefined : html`<p class="more"><strong>${more} more</strong> ${more === 1 ? "waits" : "wait"} behind these: <code>holdpoint approvals list --limit 100</code></p>`}`;
}

/** The one that is needed, as far as a shell reads it as it stands. */
function roleWord(roles: readonly string[]): string {
  const [only = ""] = roles.length === 1 ? roles : [];
  return /^[\w.:@-]+$/.test(only) ? only : "ROLE";
}

function folded(approval: Approval, now: Date, article: Html): Html {
  const { subject } = approval;
  return html`<details class="folded"><summary><bdi>${subject.action}</bdi>
<span class="quiet"><bdi>${subject.actor.id}</bdi>, waiting ${duration(now.getTime() - approval.createdAtMs)}</span></summary>${article}</details>`;
}

function approvalArticle(
  approval: Approval,
  of: { readonly index: number; readonly now: Date; readonly room: Room; readonly asWhom: string },
): Html {
  const { subject, id, rule } = approval;
  const heading = `approval-${of.index}`;
  const show = `holdpoint approvals show ${id}`;
  return html`<article class="approval" aria-labelledby="${heading}">
<header><h3 id="${heading}"><bdi>${subject.action}</bdi></h3>${riskBadge(subject.risk)}
<p class="quiet">waiting ${duration(of.now.getTime() - approval.createdAtMs)} · ${expiry(approval, of.now)}</p></header>
<dl>
${term("Who", actorText(subject.actor, subject.credentialId !== ""))}
${term("Acts on", subject.entity === null ? html`<span class="quiet">no entity</span>` : entityText(subject.entity))}
${term("Why", reasonsList(subject.reasons))}
${term("Needs", html`${needs(rule)}${reviews(approval)}`)}
${term("Asked at", moment(approval.createdAtMs))}
</dl>
${jsonBlock("Exact arguments", subject.arguments, { room: of.room, show })}
${Object.keys(subject.context).length === 0 ? undefined : jsonBlock("Context", subject.context, { room: of.room, show, isClosed: true })}
${subject.envelope === null ? undefined : envelope(subject.envelope, approval, { room: of.room, show })}
<dl class="wide">
${term("Approval", html`<code>${id}</code>`)}
${term("Binding digest", html`<code class="digest">${approval.bindingDigest}</code>`)}
</dl>
<p class="label">To grant exactly this, from the command line</p>
<pre class="command">holdpoint approvals grant ${id} <span>--digest</span> ${approval.bindingDigest}${of.asWhom}</pre>
<p class="label">To deny it, which is final</p>
<pre class="command">holdpoint approvals deny ${id}${of.asWhom}</pre>
</article>`;
}

const term = (name: string, value: HtmlValue) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;

const GRAVE: ReadonlySet<string> = new Set(["high", "critical"]);

function riskBadge(risk: string): Html | undefined {
  if (risk === "") return undefined;
  return html`<span class="badge ${GRAVE.has(risk) ? "grave" : ""}">risk <bdi>${risk}</bdi></span>`;
}

function expiry(approval: Approval, now: Date): Html {
  const leftMs = approval.expiresAtMs - now.getTime();
  return leftMs <= 0 ? html`<strong>is expiring</strong>` : html`expires in ${duration(leftMs)}`;
}

function actorText(actor: ActorRef, isAuthenticated: boolean): Html {
  return html`${principals(actor).map(
    (principal, index) =>
      html`${index === 0 ? "" : html` <span class="quiet">on behalf of</span> `}${principalText(principal)}`,
  )}${isAuthenticated ? undefined : html` <span class="badge warn">not authenticated</span>`}`;
}

/** Records are read back as they were written: whatever the depth, a page ends. */
function principals(actor: ActorRef): ActorRef[] {
  const all: ActorRef[] = [];
  for (let at: ActorRef | undefined = actor; at !== undefined && all.length < 64; at = at.on_behalf_of) all.push(at);
  return all;
}

function principalText({ id, type, roles = [] }: ActorRef): Html {
  const facts = [...(type === undefined ? [] : [type]), ...(roles.length === 0 ? [] : [`roles: ${roles.join(", ")}`])];
  return html`<strong><bdi>${id}</bdi></strong>${facts.length === 0 ? undefined : html` <span class="quiet">(<bdi>${facts.join("; ")}</bdi>)</span>`}`;
}

function entityText({ type, id }: EntityRef): Html {
  return html`<bdi>${type}</bdi> <strong><bdi>${id}</bdi></strong>`;
}

function reasonsList(reasons: readonly Reason[]): Html {
  if (reasons.length === 0) return html`<span class="quiet">policy gave no reason</span>`;
  return html`<ul class="plain">${reasons.map(
    ({ code, message }) => html`<li><code><bdi>${code}</bdi></code> <bdi>${message}</bdi></li>`,
  )}</ul>`;
}

function needs({ roles, quorum }: Approval["rule"]): Html {
  const who = quorum === 1 ? "one reviewer" : `${quorum} reviewers`;
  if (roles.length === 0) return html`${who}, of any role`;
  return html`${who} with ${roles.length === 1 ? "the role" : "one of the roles"} ${roles.map(
    (role, index) => html`${index === 0 ? "" : ", "}<code><bdi>${role}</bdi></code>`,
  )}`;
}

function reviews({ reviews: given, rule }: Approval): Html | undefined {
  if (given.length === 0) return undefined;
  const grants = given.filter(({ verdict }) => verdict === "grant");
  return html` <span class="quiet">(${grants.length} of ${rule.quorum} granted: ${grants.map(
    ({ reviewer }, index) => html`${index === 0 ? "" : ", "}<bdi>${reviewer.id}</bdi>`,
  )})</span>`;
}

function envelope(schema: JsonObject, { usesLeft }: Approval, of: BlockOptions): Html {
  return html`<div class="note warn"><p><strong>A grant covers more than these arguments:</strong> whatever the schema below
accepts, ${usesLeft === 1 ? "once" : `${usesLeft} times`}. The arguments above are one example.</p></div>
${jsonBlock("Schema that is granted", schema, of)}`;
}

interface BlockOptions {
  readonly room: Room;
  /** The command that shows the whole of it. */
  readonly show: string;
  /** Opened by whoever wants to see it, even where it is short. */
  readonly isClosed?: boolean;
}

/** Never cut: all of it, all of it behind a click, or a sentence that says where all of it is. */
function jsonBlock(name: string, value: Json, of: BlockOptions): Html {
  const bytes = Buffer.byteLength(JSON.stringify(value));
  const isShort = bytes <= OPEN_BYTES_MAX;
  if (!isShort && bytes > of.room.chars) {
    return html`<div class="note"><p><strong>${name}: ${bytes} bytes, which this page has no room left for.</strong>
All of it: <code>${of.show}</code></p></div>`;
  }
  const block = html`<pre class="json" tabindex="0">${layOutJson(value, bytes * GROWTH_MAX)}</pre>`;
  if (!isShort) of.room.chars -= block.text.length;
  if (isShort && of.isClosed !== true) return html`<p class="label">${name}</p>${block}`;
  return html`<details><summary>${name} <span class="quiet">${bytes} bytes</span></summary>${block}</details>`;
}

/** As the gate lists them; read with care, for it is whatever the ledger holds. */
export interface ObservedView {
  readonly index: number;
  readonly observed_outcome: string;
  readonly decided_at: string;
  readonly decision_id: string;
  readonly action: { readonly name: string; readonly arguments: JsonObject };
  readonly actor: ActorRef;
  readonly entity: EntityRef | null;
  readonly reasons: readonly Reason[];
}

export function observedSection(observed: Part<readonly ObservedView[]>, now: Date): Html | undefined {
  if (observed.kind === "known" && observed.value.length === 0) return undefined;
  return html`<section class="card" aria-labelledby="observed"><div class="card-head">
<h2 id="observed">What observe mode let pass</h2><p class="quiet">and enforce mode would have stopped; newest first</p></div>
${observed.kind === "away" ? html`<div class="empty bad"><p><strong>Cannot be read at this moment.</strong></p><p>${observed.message}</p></div>` : observedTable(observed.value, now)}
</section>`;
}

function observedTable(observed: readonly ObservedView[], now: Date): Html {
  const room: Room = { chars: PAGE_CHARS_MAX };
  return html`<div class="scroll"><table class="rows"><caption class="hidden">Actions that ran although policy would have stopped them</caption>
<thead><tr><th scope="col">When</th><th scope="col">Would be</th><th scope="col">Action</th><th scope="col">Why</th></tr></thead>
<tbody>${observed.map((one) => observedRow(one, now, room))}</tbody></table></div>
<p class="more">All of them: <code>holdpoint approvals list --observed</code></p>`;
}

function observedRow(one: ObservedView, now: Date, room: Room): Html {
  const atMs = Date.parse(one.decided_at);
  return html`<tr><td data-label="When">${moment(atMs)}<br><span class="quiet">${ago(atMs, now)}</span></td>
<td data-label="Would be"><span class="outcome"><span class="swatch bg-${one.observed_outcome}"></span>${one.observed_outcome}</span></td>
<th scope="row"><bdi>${one.action.name}</bdi><br><span class="quiet">${actorText(one.actor, true)}${one.entity === null ? undefined : html` on ${entityText(one.entity)}`}</span>
${jsonBlock("Arguments", one.action.arguments, { room, show: `GET /v1/ledger/entries/${one.index}`, isClosed: true })}</th>
<td data-label="Why">${reasonsList(one.reasons)}</td></tr>`;
}
