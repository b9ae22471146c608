/** Every command, in the order in which the help lists them. */
import type { ListedCommand } from "./command.ts";

export const COMMANDS: readonly ListedCommand[] = [
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
    name: "ledger verify",
    summary: "Re-derive the whole ledger from disk, and name the first fault",
    load: async () => (await import("./commands/ledger-verify.ts")).ledgerVerifyCommand,
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
