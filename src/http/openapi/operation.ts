/** What one operation of the description says, and what many of them say alike. */
import { type ErrorCode, PERMIT_CODES } from "../../core/errors.ts";
import type { Scope } from "../credential.ts";
import type { SchemaName } from "./components.ts";
import type { ParameterName } from "./parameters.ts";

export type Port = "decision" | "admin";

/** Whose credentials serve: any one of the scopes; without any, nobody is asked. */
type Scopes = readonly Scope[];

export interface Content {
  readonly type: string;
  /** Of text: nothing is said about its inside. */
  readonly schema?: SchemaName;
}

export interface Answer {
  readonly description: string;
  readonly content?: Content;
}

export interface Operation {
  readonly method: "get" | "post";
  readonly path: string;
  readonly id: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  /** By the ports that serve it. */
  readonly scopes: Readonly<Partial<Record<Port, Scopes>>>;
  /** For people with browsers: takes the token as a password, too, and says in HTML what is wrong. */
  readonly isPage?: true;
  readonly parameters?: readonly ParameterName[];
  readonly body?: { readonly schema: SchemaName; readonly isRequired: boolean };
  readonly answers: Readonly<Record<number, Answer>>;
  readonly problems: readonly ErrorCode[];
  /** Where problems have members of their own. */
  readonly problemSchema?: SchemaName;
}

export const TAGS = {
  decisions: "What an agent wants to do, and whether it may",
  permits: "Checked where the action runs, each use once",
  executions: "What became of what was permitted",
  events: "What happened, and where it left what it happened to",
  approvals: "What people decide",
  freezes: "What is stopped, by whom and why",
  observations: "What observe mode let pass, and enforcing would have stopped",
  timelines: "What happened in one trace, or to one entity",
  ledger: "The record of all of it: a Merkle log",
  policy: "Which policy decides",
  operations: "Health, metrics, keys, this description",
  status: "The sidecar at a glance, for people",
  proposals: "The same decisions and permits in the words of proposal gates",
} as const;

export type Tag = keyof typeof TAGS;

export const DECIDE: Operation["scopes"] = { decision: ["decide"], admin: ["decide"] };
export const READ: Operation["scopes"] = { admin: ["operate", "review"] };
export const REVIEW: Operation["scopes"] = { admin: ["review"] };
export const OPERATE: Operation["scopes"] = { admin: ["operate"] };
export const INGEST: Operation["scopes"] = { admin: ["ingest"] };
export const ANYBODY: Operation["scopes"] = { decision: [], admin: [] };

/** A page of some web site meets a port without authentication; whatever else goes wrong. */
export const ANYWHERE = ["forbidden", "internal_error"] as const;
export const CREDENTIAL = [...ANYWHERE, "unauthenticated", "too_many_attempts", "identity_unavailable"] as const;
export const TEXT = [
  "malformed_json",
  "duplicate_key",
  "ill_formed_unicode",
  "inexact_number",
  "depth_exceeded",
  "invalid_request",
  "body_too_large",
] as const;
export const BODY = [...TEXT, "wrong_content_type", "wrong_content_encoding"] as const;
export const STORE = ["store_unavailable", "overloaded", "shutting_down", "integrity_failure"] as const;
export const LEDGER = ["ledger_unavailable", "overloaded", "shutting_down", "integrity_failure"] as const;
export const DECIDING = [...STORE, ...LEDGER, "signing_unavailable"] as const;
export const PERMIT = [...PERMIT_CODES, "policy_not_loaded"] as const;
/** What can be wrong with an event, whoever brings it. */
export const EVENT = [
  "policy_not_loaded",
  "entity_type_unknown",
  "event_type_unknown",
  "event_data_invalid",
  "event_conflict",
] as const;
export const REVIEWING = [
  "approval_not_found",
  "self_approval",
  "role_missing",
  "approval_not_pending",
  "approval_changed",
  "already_reviewed",
] as const;

export const json = (schema: SchemaName): Content => ({ type: "application/json", schema });
export const HTML: Content = { type: "text/html; charset=utf-8" };
