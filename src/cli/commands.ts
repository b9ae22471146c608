/** Every command, in the order in which the help lists them. */
import type { ListedCommand } from "./command.ts";

export const COMMANDS: readonly ListedCommand[] = [
  {
    name: "new",
    summary: "Make a project that runs: policy, domain, tests, settings and a demo",
    load: async () => (await import("./commands/new.ts")).newCommand,
  },
  {
    name: "serve",
    summary: "Serve the decision port and the admin port",
    load: async () => (await import("./commands/serve.ts")).serveCommand,
  },
  {
    name: "decide",
    summary: "Explain what policy decides on one proposal, without a server; records nothing",
    load: async () => (await import("./commands/decide.ts")).decideCommand,
  },
  {
    name: "approvals list",
    summary: "List what waits for a reviewer, and what observe mode would have stopped",
    load: async () => (await import("./commands/approvals-list.ts")).approvalsListCommand,
  },
  {
    name: "approvals show",
    summary: "Show one approval with its exact arguments, digests and reviews",
    load: async () => (await import("./commands/approvals-show.ts")).approvalsShowCommand,
  },
  {
    name: "approvals grant",
    summary: "Grant an approval, exactly as it is read and printed",
    load: async () => (await import("./commands/approvals-review.ts")).approvalsGrantCommand,
  },
  {
    name: "approvals deny",
    summary: "Deny an approval; final for this action in this context",
    load: async () => (await import("./commands/approvals-review.ts")).approvalsDenyCommand,
  },
  {
    name: "approvals cancel",
    summary: "Cancel a pending approval, or revoke a grant that was not used",
    load: async () => (await import("./commands/approvals-review.ts")).approvalsCancelCommand,
  },
  {
    name: "freeze",
    summary: "Stop an actor, an entity, an action, or everything of the tenant",
    load: async () => (await import("./commands/freeze.ts")).freezeCommand,
  },
  {
    name: "unfreeze",
    summary: "Lift a freeze",
    load: async () => (await import("./commands/freeze.ts")).unfreezeCommand,
  },
  {
    name: "freezes list",
    summary: "List what is frozen, by whom and why",
    load: async () => (await import("./commands/freezes-list.ts")).freezesListCommand,
  },
  {
    name: "executions list",
    summary: "List executions that nobody reported: outcome unknown",
    load: async () => (await import("./commands/executions-list.ts")).executionsListCommand,
  },
  {
    name: "executions resolve",
    summary: "Say what became of an execution that nobody reported",
    load: async () => (await import("./commands/executions-resolve.ts")).executionsResolveCommand,
  },
  {
    name: "events send",
    summary: "Send events, which move entities, from a file or a pipe",
    load: async () => (await import("./commands/events-send.ts")).eventsSendCommand,
  },
  {
    name: "entities show",
    summary: "Show where an entity stands, its history, and whether its events say the same",
    load: async () => (await import("./commands/entities-show.ts")).entitiesShowCommand,
  },
  {
    name: "policy build",
    summary: "Compile Rego and data, with the policy library, to a bundle",
    load: async () => (await import("./commands/policy-build.ts")).policyBuildCommand,
  },
  {
    name: "policy inspect",
    summary: "Show what a bundle holds, and whether it loads",
    load: async () => (await import("./commands/policy-inspect.ts")).policyInspectCommand,
  },
  {
    name: "policy test",
    summary: "Run the tests beside the sources with opa test and the policy library",
    load: async () => (await import("./commands/policy-test.ts")).policyTestCommand,
  },
  {
    name: "policy verify",
    summary: "Hold the compiled policy against OPA itself, and against expectations",
    load: async () => (await import("./commands/policy-verify.ts")).policyVerifyCommand,
  },
  {
    name: "domain check",
    summary: "Check domain.yaml files, and name each fault with its line",
    load: async () => (await import("./commands/domain-check.ts")).domainCheckCommand,
  },
  {
    name: "domain compile",
    summary: "Print the bundle data that domain.yaml files become",
    load: async () => (await import("./commands/domain-compile.ts")).domainCompileCommand,
  },
  {
    name: "domain diagram",
    summary: "Draw the states of each entity type, as a Mermaid diagram",
    load: async () => (await import("./commands/domain-diagram.ts")).domainDiagramCommand,
  },
  {
    name: "ledger verify",
    summary: "Re-derive the whole ledger from disk, and name the first fault",
    load: async () => (await import("./commands/ledger-verify.ts")).ledgerVerifyCommand,
  },
  {
    name: "timeline",
    summary: "Print what happened in one trace, or to one entity",
    load: async () => (await import("./commands/timeline.ts")).timelineCommand,
  },
  {
    name: "ledger tail",
    summary: "Print the last entries of the ledger, and follow it",
    load: async () => (await import("./commands/ledger-tail.ts")).ledgerTailCommand,
  },
  {
    name: "config check",
    summary: "Check the configuration, and what it names, without serving",
    load: async () => (await import("./commands/config-check.ts")).configCheckCommand,
  },
  {
    name: "config print",
    summary: "Print the effective value of every setting, and where it came from",
    load: async () => (await import("./commands/config-print.ts")).configPrintCommand,
  },
  {
    name: "keys new",
    summary: "Create the first permit signing key in an empty directory",
    load: async () => (await import("./commands/keys-new.ts")).keysNewCommand,
  },
  {
    name: "keys rotate",
    summary: "Add a permit signing key; the old ones verify until their permits are over",
    load: async () => (await import("./commands/keys-rotate.ts")).keysRotateCommand,
  },
  {
    name: "api-key",
    summary: "Make a random bearer key, with the entry for api_keys",
    load: async () => (await import("./commands/api-key.ts")).apiKeyCommand,
  },
  {
    name: "version",
    summary: "Print the version",
    load: async () => (await import("./commands/version.ts")).versionCommand,
  },
];
