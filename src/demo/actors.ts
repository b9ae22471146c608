/** The scripted agent, its executor and a reviewer: HTTP clients that show what they send and get. */
import type { DemoSidecar } from "./demo-sidecar.ts";
import type { Stage } from "./stage.ts";

type Body = Record<string, unknown>;

export interface ShownDecision {
  readonly outcome: string;
  readonly observed: string | undefined;
  readonly enforced: boolean;
  /** The first reason's. */
  readonly code: string | undefined;
  readonly permit: string | undefined;
  readonly permitId: string | undefined;
  readonly approvalId: string | undefined;
  readonly bindingDigest: string;
  readonly arguments: Body;
  readonly proposal: Body;
}

export interface ShownPermit {
  readonly valid: boolean;
  readonly code: string | undefined;
  readonly observedCode: string | undefined;
}

export interface Executed {
  readonly status: number;
  readonly body: {
    readonly result?: { readonly executed: boolean; readonly message: string; readonly state?: string };
    readonly error?: string;
    readonly approval_id?: string;
    readonly current_state?: string;
    readonly allowed_states?: readonly string[];
  };
}

export class Actors {
  readonly #sidecar: DemoSidecar;
  readonly #stage: Stage;
  #audited = 0;

  constructor(sidecar: DemoSidecar, stage: Stage) {
    this.#sidecar = sidecar;
    this.#stage = stage;
  }

  async propose(proposal: Body): Promise<ShownDecision> {
    const { body } = await this.#agent("POST", "/v1/decisions", proposal);
    const reasons = (body.reasons ?? []) as { code: string; message: string }[];
    const shown: ShownDecision = {
      outcome: String(body.outcome),
      observed: body.observed_outcome as string | undefined,
      enforced: body.enforced === true,
      code: reasons[0]?.code,
      permit: body.permit as string | undefined,
      permitId: body.permit_id as string | undefined,
      approvalId: (body.approval as { id: string } | undefined)?.id,
      bindingDigest: String(body.binding_digest),
      arguments: (body.action as { arguments: Body } | undefined)?.arguments ?? {},
      proposal,
    };
    const action = proposal.action as { name: string; arguments: Body };
    const would = shown.observed === undefined ? "" : ` (would be ${this.#stage.outcome(shown.observed)})`;
    const why = reasons.map((reason) => `${reason.code}: ${reason.message}`).join("; ");
    this.#stage.say(`agent proposes ${action.name} ${JSON.stringify(action.arguments)}`);
    this.#stage.say(`  → ${this.#stage.outcome(shown.outcome)}${would}${why === "" ? "" : `  ${why}`}`);
    if (shown.outcome === "compute") this.#stage.say(`    run instead: ${JSON.stringify(shown.arguments)}`);
    return shown;
  }

  /** @param args what the executor is about to run, where it is not what was decided */
  async consume(decision: ShownDecision, args = decision.arguments): Promise<ShownPermit> {
    const { action, actor, entity } = decision.proposal as { action: Body; actor: { id: string }; entity?: Body };
    const { body } = await this.#agent("POST", "/v1/permits/consume", {
      permit: decision.permit,
      action: { name: action.name, arguments: args },
      actor: { id: actor.id },
      ...(entity === undefined ? {} : { entity }),
    });
    const observed = body.observed as { code: string } | undefined;
    const shown = { valid: body.valid === true, code: body.code as string | undefined, observedCode: observed?.code };
    const note = shown.code ?? (observed === undefined ? "" : `would be refused: ${observed.code}`);
    this.#stage.say(`executor shows the permit for ${JSON.stringify(args)}`);
    this.#stage.say(
      `  → ${shown.valid ? this.#stage.colour("green", "VALID") : this.#stage.colour("red", "REFUSED")}  ${note}`,
    );
    return shown;
  }

  async report(decision: ShownDecision, status: string): Promise<{ readonly status: unknown }> {
    const { body } = await this.#agent("POST", "/v1/executions", {
      permit_id: decision.permitId,
      status,
      result: { reference: "re_1" },
    });
    return { status: body.status };
  }

  async review(decision: ShownDecision, verdict: "grant" | "deny", reason: string): Promise<void> {
    const echo = verdict === "grant" ? { binding_digest: decision.bindingDigest } : {};
    const path = `/v1/approvals/${decision.approvalId}/${verdict}`;
    const { body } = await this.#request(this.#sidecar.admin, this.#sidecar.reviewerKey, {
      method: "POST",
      path,
      body: { reason, ...echo },
    });
    const approval = body.approval as { status: string } | undefined;
    this.#stage.say(`reviewer olivia: ${verdict} (“${reason}”) → ${approval?.status ?? JSON.stringify(body)}`);
  }

  async waitFor(decision: ShownDecision): Promise<{ readonly status: unknown }> {
    const { body } = await this.#agent("GET", `/v1/approvals/${decision.approvalId}?wait=30s`);
    return { status: body.status };
  }

  /** A fact, as the shop's payment provider tells it. @returns when, for the timeline */
  async happens(type: string, order: string, data: Body): Promise<string> {
    const since = new Date().toISOString();
    const event = {
      id: `evt_${order}_${type}`,
      source: "stripe",
      type,
      entity: { type: "order", id: order },
      actor: { id: "stripe", type: "service" },
      time: since,
      data,
    };
    const { body } = await this.#request(this.#sidecar.admin, this.#sidecar.producerKey, {
      method: "POST",
      path: "/v1/events",
      body: event,
    });
    this.#stage.say(`stripe tells ${type} of ${order}  → ${String(body.state ?? body.code)}`);
    return since;
  }

  /** The sidecar decides and, where it may, runs it. */
  async execute(order: string, action: string, amount: number, approvalId?: string): Promise<Executed> {
    const answer = await this.#agent("POST", `/v1/entities/${order}/actions/${action}/execute`, {
      entity_type: "order",
      actor: { id: "ops-agent", type: "agent", roles: ["operator"] },
      parameters: { amount, reason: "customer request" },
      ...(approvalId === undefined ? {} : { approval_id: approvalId }),
    });
    const { status, body } = answer as Executed;
    const said = body.result?.message ?? body.error;
    this.#stage.say(`agent executes ${action} ${amount} on ${order}`);
    this.#stage.say(
      `  → ${status === 200 ? this.#stage.colour("green", "EXECUTED") : this.#stage.colour("red", String(status))}  ${said}`,
    );
    return { status, body };
  }

  /** @returns when, for the timeline */
  async reviewed(approvalId: string, verdict: "grant" | "deny", reason: string): Promise<string> {
    const since = new Date().toISOString();
    const path = `/v1/approvals/${approvalId}/${verdict}`;
    const { body } = await this.#request(this.#sidecar.admin, this.#sidecar.reviewerKey, {
      method: "POST",
      path,
      body: { reason },
    });
    const { status } = body.approval as { status: string };
    this.#stage.say(`reviewer olivia: ${verdict} (“${reason}”) → ${status}`);
    return since;
  }

  async timeline(
    order: string,
    since: string,
  ): Promise<{ readonly shown: readonly string[]; readonly isRebuilt: boolean }> {
    const path = `/v1/entities/order/${order}/timeline?since=${since}`;
    const { body } = await this.#request(this.#sidecar.admin, this.#sidecar.reviewerKey, { method: "GET", path });
    const rows = body.rows as { time: string; kind: string; actor: string; summary: string }[];
    for (const { time, kind, actor, summary } of rows) {
      this.#stage.record(`${time.slice(11, 23)} ${kind.padEnd(18)} ${actor.padEnd(10)} ${summary}`);
    }
    const rebuild = body.rebuild as { matches: boolean | null } | null;
    return {
      shown: rows.map(({ kind, actor, summary }) => `${kind} ${actor} ${summary}`),
      isRebuilt: rebuild?.matches === true,
    };
  }

  /** What the ledger took down since the last time. */
  async audit(): Promise<void> {
    const path = `/v1/ledger/entries?start=${this.#audited}`;
    const { body } = await this.#request(this.#sidecar.admin, this.#sidecar.reviewerKey, { method: "GET", path });
    for (const { index, entry } of body.entries as { index: number; entry: Body }[]) {
      this.#stage.record(`${String(index).padStart(3)} ${String(entry.time).slice(11, 23)} ${summary(entry)}`);
    }
    this.#audited = body.next as number;
  }

  #agent(method: string, path: string, body?: Body) {
    return this.#request(this.#sidecar.decisions, this.#sidecar.agentKey, {
      method,
      path,
      ...(body === undefined ? {} : { body }),
    });
  }

  async #request(
    base: string,
    key: string,
    of: { readonly method: string; readonly path: string; readonly body?: Body },
  ): Promise<{ readonly status: number; readonly body: Body }> {
    const headers: Record<string, string> = { authorization: `Bearer ${key}` };
    if (of.body !== undefined) headers["content-type"] = "application/json";
    const init =
      of.body === undefined
        ? { method: of.method, headers }
        : { method: of.method, headers, body: JSON.stringify(of.body) };
    const response = await fetch(base + of.path, init);
    return { status: response.status, body: (await response.json()) as Body };
  }
}

function summary(entry: Body): string {
  const kind = String(entry.kind).padEnd(19);
  if (entry.kind === "decision") {
    const decision = entry.decision as {
      outcome: string;
      observed_outcome?: string;
      action: { name: string };
      reasons: { code: string }[];
    };
    const would = decision.observed_outcome === undefined ? "" : ` (would ${decision.observed_outcome})`;
    return `${kind} ${decision.action.name} ${decision.outcome}${would} ${decision.reasons.map((reason) => reason.code).join(", ")}`;
  }
  const data = entry.data as Body;
  const approval = data.approval as { status: string; action: { name: string } } | undefined;
  const detail =
    approval === undefined
      ? [data.action, data.code ?? data.status ?? data.digest]
      : [approval.action.name, approval.status];
  return `${kind} ${detail.filter((part) => part !== undefined).join(" ")}`;
}
