/** A domain file as it was written: every name with its place, so that whatever is found later can say where. */
import type { EntityType } from "../../core/domain.ts";
import type { JsonObject } from "../../core/types.ts";
import type { Findings, Position } from "./finding.ts";
import type { Located, LocatedMap } from "./located.ts";

export interface Named {
  readonly name: string;
  readonly at: Position;
}

export interface EntitySource {
  /** As the file has it: `RefundCase`. */
  readonly name: string;
  readonly at: Position;
  /** As proposals have it: `refund_case`. */
  readonly type: EntityType;
  /** What holds states, events, transitions and attributes. */
  readonly node: LocatedMap;
}

export interface ActionSource {
  readonly name: string;
  readonly at: Position;
  readonly entityTypes: readonly string[];
  /** Undefined: whatever the state. */
  readonly allowedStates: { readonly at: Position; readonly states: readonly Named[] } | undefined;
  readonly event: Named | undefined;
  readonly executor: Named | undefined;
  readonly permissions: readonly Named[];
  /** Of whom reviewers must be, by the contract and by its thresholds. */
  readonly approvalRoles: readonly Named[];
  /** As the policy library reads it. */
  readonly contract: JsonObject;
}

export interface RoleSource extends Named {
  readonly permissions: readonly Named[];
}

export interface DomainSource {
  readonly file: string;
  readonly name: string;
  readonly entities: readonly EntitySource[];
  readonly actions: readonly ActionSource[];
  readonly roles: readonly RoleSource[];
  /** Whether sessions are kept although no contract adds to them. */
  readonly keepsSessions: boolean;
  readonly findings: Findings;
  readonly root: Located;
}
